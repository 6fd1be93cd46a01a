//! The socket's file.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener as BlockingListener,
    },
};

use super::*;
use crate::admin::{BindError, ClientError, Version, check};

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("admin.sock");
    (folder, socket)
}

#[tokio::test]
async fn owner_and_group_may_use_it_and_nobody_else() {
    let (_folder, socket) = folder();
    let _bound = bind(&socket).await.unwrap();
    let found = fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
}

#[tokio::test]
async fn its_folders_are_made() {
    let (folder, _) = folder();
    let socket = folder.path().join("a/b/admin.sock");
    let _bound = bind(&socket).await.unwrap();
    assert!(socket.exists());
}

#[tokio::test]
async fn it_leaves_with_the_daemon_and_nothing_stays_beside_it() {
    let (folder, socket) = folder();
    let bound = bind(&socket).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (commands, _received) = mpsc::channel(1);
    in_time(bound.serve(commands, async {})).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn whether_it_can_be_made_is_found_out_without_making_it() {
    let (folder, socket) = folder();
    check(&socket).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // What a dead daemon left stays until it is replaced, what a live one listens at always.
    drop(BlockingListener::bind(&socket).unwrap());
    check(&socket).await.unwrap();
    assert!(socket.exists());
    let bound = bind(&socket).await.unwrap();
    let refused = check(&socket).await.unwrap_err();
    assert!(matches!(refused, BindError::InUse(_)), "{refused}");
    drop(bound);
    let below = folder.path().join("file/admin.sock");
    fs::write(folder.path().join("file"), "").unwrap();
    let refused = check(&below).await.unwrap_err();
    assert!(matches!(refused, BindError::Failed { .. }), "{refused}");
}

#[tokio::test]
async fn one_that_a_dead_daemon_left_is_replaced() {
    let (_folder, socket) = folder();
    drop(BlockingListener::bind(&socket).unwrap());
    assert!(matches!(
        Client::new(&socket).status().await,
        Err(ClientError::Unreachable { .. })
    ));
    let _bound = bind(&socket).await.unwrap();
    UnixStream::connect(&socket).await.unwrap();
}

#[tokio::test]
async fn one_of_a_live_daemon_is_not() {
    let (_folder, socket) = folder();
    let _bound = bind(&socket).await.unwrap();
    let error = bind(&socket).await.unwrap_err();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    UnixStream::connect(&socket).await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let (_folder, socket) = folder();
    fs::write(&socket, "precious").unwrap();
    let error = bind(&socket).await.unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn the_socket_of_a_successor_is_left_alone() {
    let (_folder, socket) = folder();
    let bound = bind(&socket).await.unwrap();
    fs::remove_file(&socket).unwrap();
    let _successor = BlockingListener::bind(&socket).unwrap();
    drop(bound);
    assert!(socket.exists());
}

#[tokio::test]
async fn a_path_that_is_too_long_says_so() {
    let (folder, _) = folder();
    let error = bind(folder.path().join("x".repeat(120))).await.unwrap_err();
    assert!(matches!(error, BindError::Failed { .. }));
    assert!(error.to_string().contains("SUN_LEN"), "{error}");
}

#[tokio::test]
async fn a_client_waits_where_too_many_wait_already() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("full.sock");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    let second = UnixStream::connect(&path).await;
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    let client = Client::new(&path);
    let (version, ()) = tokio::join!(in_time(client.version()), async {
        let _first = listener.accept().await.unwrap();
        let (mut stream, _) = in_time(listener.accept()).await.unwrap();
        let _request = in_time(stream.read(&mut [0; 1024])).await.unwrap();
        let body = serde_json::to_string(&Version::current()).unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    assert_eq!(version.unwrap(), Version::current());
}
