//! The socket's file: made so that nobody meets it half ready, removed with its owner.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::SocketAddr,
    },
    path::{Path, PathBuf},
    process,
};

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::server::BindError;

/// Owner and group; the file system's group decides who else may command the daemon.
const MODE: u32 = 0o660;
/// Connections that wait to be accepted. Those of 200 silent clients at once fit, so that the next one
/// is not sent away.
const BACKLOG: u32 = 512;

/// A socket's file; dropping it removes it, if it still is the one that was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Listens at `path`. What a dead daemon left there is replaced, a live one is not.
pub(super) async fn listen(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let Draft {
        listener,
        path: draft,
    } = draft(path).await?;
    // Moved to its place: whoever finds it finds it listening, with its mode, and a stale one is
    // replaced in the same step.
    let moved = fs::metadata(&draft).and_then(|made| {
        fs::rename(&draft, path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            device: made.dev(),
            inode: made.ino(),
        })
    });
    match moved {
        Ok(file) => Ok((listener, file)),
        Err(source) => {
            let _ = fs::remove_file(&draft);
            Err(failed(path)(source))
        }
    }
}

/// Whether [`listen`] would do, without leaving a socket: only its folder.
pub(super) async fn check(path: &Path) -> Result<(), BindError> {
    let Draft {
        listener: _,
        path: draft,
    } = draft(path).await?;
    fs::remove_file(draft).map_err(failed(path))
}

/// A socket that listens beside the place where it will be.
struct Draft {
    listener: UnixListener,
    path: PathBuf,
}

async fn draft(path: &Path) -> Result<Draft, BindError> {
    check_length(path).map_err(failed(path))?;
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(failed(path))?;
    }
    refuse_what_is_in_use(path).await?;
    let draft = draft_of(path);
    check_length(&draft).map_err(failed(path))?;
    match make(&draft) {
        Ok(listener) => Ok(Draft {
            listener,
            path: draft,
        }),
        Err(source) => {
            let _ = fs::remove_file(&draft);
            Err(failed(path)(source))
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Failed {
        path: path.clone(),
        source,
    }
}

/// Removes the socket that a dead daemon left at `path`, if there is one; says whether.
pub(super) async fn remove_stale(path: &Path) -> Result<bool, BindError> {
    refuse_what_is_in_use(path).await?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(BindError::Failed {
            path: path.to_owned(),
            source,
        }),
    }
}

async fn refuse_what_is_in_use(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog, too, is somebody's.
        Ok(_) | Err(_) => Err(BindError::InUse(path.to_owned())),
    }
}

/// A name beside `path`, of this process alone.
fn draft_of(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.new", process::id()))
}

fn make(path: &Path) -> io::Result<UnixListener> {
    // A process killed right here may have had this process's number.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixSocket::new_stream()?;
    // The file takes its mode from the socket, less the umask: never open to others, not even
    // before the mode is set for good.
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    socket.bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)
}

/// A socket's path fits into 107 bytes; the kernel's own message does not say so.
fn check_length(path: &Path) -> io::Result<()> {
    SocketAddr::from_pathname(path).map(drop)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Self {
            path,
            device,
            inode,
        } = self;
        let ours = fs::symlink_metadata(&*path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (*device, *inode));
        if ours && let Err(error) = fs::remove_file(&*path) {
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }
}
