//! `sluice trace`: from the request to the swap and back.

use tokio::sync::mpsc;

use super::state::Controller;
use crate::{
    admin::{Refusal, TraceLine, TraceOptions},
    dataplane,
};

/// Lines that may wait between the kernel and a slow client; more are lost.
const LINES: usize = 1024;

impl Controller {
    /// Puts the tracing program in place; its lines go to the returned receiver until that is
    /// dropped.
    pub(super) fn start_trace(
        &mut self,
        options: TraceOptions,
    ) -> Result<mpsc::Receiver<TraceLine>, Refusal> {
        // The limit is the server's: it drops the receiver after the last line.
        let TraceOptions { service, limit: _ } = options;
        let service = service
            .map(|name| {
                self.model
                    .services
                    .iter()
                    .find(|service| *service.name == *name)
                    .and_then(|service| self.image.service_id(service))
                    .ok_or_else(|| Refusal::bad_request(format!("there is no service `{name}`")))
            })
            .transpose()?;
        let (lines, for_client) = mpsc::channel(LINES);
        let records = self
            .dataplane
            .start_trace(service, lines)
            .map_err(|error| match error {
                dataplane::Error::TraceBusy => Refusal::conflict(error.to_string()),
                error => Refusal::unavailable(error.to_string()),
            })?;
        log::info!("tracing started");

        let ended = self.trace_end.clone();
        tokio::spawn(async move {
            // Ends when the client's receiver is dropped: it went away, or has had its limit.
            if let Err(error) = records.forward().await {
                log::error!("reading the trace: {error}");
            }
            let _controller_gone = ended.send(()).await;
        });
        Ok(for_client)
    }

    /// The last line was sent, or nobody listens any more.
    pub(super) fn on_trace_ended(&mut self) {
        match self.dataplane.stop_trace() {
            Ok(()) => log::info!("tracing ended"),
            Err(error) => log::error!("ending the trace: {error}"),
        }
    }
}
