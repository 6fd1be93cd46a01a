//! The server: every request is answered with a name, and counted.

use std::{convert::Infallible, sync::Arc};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::counts::Counts;

/// Serves until dropped. Keep-alive, unless the client asks for `Connection: close`.
pub async fn serve(listener: TcpListener, name: &str, counts: Arc<Counts>) {
    let body = Bytes::from(format!("{name}\n"));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the peer has gone already: the next one may do.
            tokio::task::yield_now().await;
            continue;
        };
        counts.add_connection();
        let (body, counts) = (body.clone(), Arc::clone(&counts));
        let service = service_fn(move |_: Request<Incoming>| {
            counts.add_request();
            let response = Response::new(Full::new(body.clone()));
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(async move {
            // A health check connects and leaves, a client may vanish: neither is our error.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
