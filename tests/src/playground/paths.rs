//! Names and paths of the playground: fixed, so that users find them.

/// The daemon's instance.
pub(crate) const INSTANCE: &str = "playground";
/// What its hosts' names start with.
pub(crate) const PREFIX: &str = "sluice";
/// Configuration, logs and sockets.
pub(crate) const FOLDER: &str = "/run/sluice/playground";
/// The daemon's admin socket.
pub(crate) const ADMIN_SOCKET: &str = "/run/sluice/playground/admin.sock";
/// Takes `kill`, `stop` and `revive`.
pub(crate) const CONTROL_SOCKET: &str = "/run/sluice/playground/control.sock";
/// The daemon's configuration.
pub(crate) const CONFIG: &str = "/run/sluice/playground/sluice.toml";
/// The daemon's state.
pub(crate) const STATE: &str = "/var/lib/sluice/playground";
/// Held by the one playground there can be; outside of the folder, which comes and goes.
pub(crate) const LOCK: &str = "/run/sluice/playground.lock";
/// The name that stands for the daemon among the backends' names.
pub(crate) const DAEMON: &str = "daemon";
