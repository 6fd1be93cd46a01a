//! `[daemon]`, and the names and paths that follow from an instance.

use std::path::PathBuf;

use super::{
    tunnel,
    words::{Words, path},
};
use crate::{
    config::{
        error::quote,
        raw::RawDaemon,
        report::{Placed, Report},
    },
    model::{Daemon, OnStop},
};

const DEFAULT_INSTANCE: &str = "default";
const DEFAULT_BPFFS: &str = "/sys/fs/bpf";
const MAX_INSTANCE: usize = 32;
/// `sockaddr_un` holds 108 bytes, the last of which is a NUL: unix(7).
const MAX_SOCKET_PATH: usize = 107;

const ON_STOP: Words<OnStop> = Words {
    known: &[("detach", OnStop::Detach), ("keep", OnStop::Keep)],
    later: &[],
};

/// Where an instance's admin API listens unless the configuration says otherwise.
pub fn admin_socket(instance: &str) -> PathBuf {
    PathBuf::from(format!("/run/sluice/{instance}/admin.sock"))
}

/// Where an instance keeps its state unless the configuration says otherwise.
pub fn state_dir(instance: &str) -> PathBuf {
    PathBuf::from(format!("/var/lib/sluice/{instance}"))
}

/// The name of an instance, as it stands in paths: `[a-z0-9-]{1,32}`.
///
/// # Errors
/// Why `text` is none, for people.
pub fn instance_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=MAX_INSTANCE).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not an instance's name, use 1 to {MAX_INSTANCE} of a-z, 0-9 and -",
            quote(text)
        ))
    }
}

/// `[daemon]` of a configuration that has none.
pub(in crate::config) fn default_daemon(instance: &str) -> Daemon {
    Daemon {
        instance: instance.to_owned(),
        admin_socket: admin_socket(instance),
        bpffs: PathBuf::from(DEFAULT_BPFFS),
        state_dir: state_dir(instance),
        on_stop: OnStop::Detach,
        seed: None,
        tunnel_source_ipv4: None,
        tunnel_source_ipv6: None,
    }
}

/// `[daemon]`.
pub(super) fn daemon(raw: Option<Placed<RawDaemon>>, report: &mut Report<'_>) -> Daemon {
    const NO_SEED: &str = "missing: without a secret of your own anyone can aim at one backend; \
                           all load balancers of a set share one";
    let Some(Placed { value: raw, spot }) = raw else {
        report.warn_absent("daemon.seed", NO_SEED);
        return default_daemon(DEFAULT_INSTANCE);
    };
    let RawDaemon {
        instance,
        admin_socket,
        bpffs,
        state_dir,
        on_stop,
        seed,
        tunnel_source_ipv4,
        tunnel_source_ipv6,
    } = raw;
    let file = spot.file;

    let mut daemon = default_daemon(DEFAULT_INSTANCE);
    if let Some(text) = instance.map(|raw| file.place(raw)) {
        match instance_name(&text.value) {
            Ok(name) => daemon = default_daemon(&name),
            Err(message) => report.error(text.spot, message),
        }
    }
    if let Some(text) = admin_socket.map(|raw| file.place(raw)) {
        daemon.admin_socket = socket_path(&text, report);
    }
    if let Some(text) = bpffs.map(|raw| file.place(raw)) {
        daemon.bpffs = path(&text, report);
    }
    if let Some(text) = state_dir.map(|raw| file.place(raw)) {
        daemon.state_dir = path(&text, report);
    }
    if let Some(word) = on_stop.map(|raw| file.place(raw)) {
        daemon.on_stop = ON_STOP.read(&word, report).unwrap_or(daemon.on_stop);
    }
    match seed.map(|raw| file.place(raw)) {
        None => report.warn(&spot, "seed", NO_SEED),
        Some(text) if text.value.is_empty() => {
            report.error(
                text.spot,
                "is empty, write any text that others do not know",
            );
        }
        Some(text) => daemon.seed = Some(text.value),
    }
    daemon.tunnel_source_ipv4 =
        tunnel_source_ipv4.and_then(|raw| tunnel::source(&file.place(raw), report));
    daemon.tunnel_source_ipv6 =
        tunnel_source_ipv6.and_then(|raw| tunnel::source(&file.place(raw), report));
    daemon
}

fn socket_path(text: &Placed<String>, report: &mut Report<'_>) -> PathBuf {
    let bytes = text.value.len();
    if bytes > MAX_SOCKET_PATH {
        report.error(
            text.spot.clone(),
            format!(
                "is {bytes} bytes long, a socket's path has at most {MAX_SOCKET_PATH}: \
                 use a shorter one"
            ),
        );
    } else if text.value.ends_with('/') {
        report.error(text.spot.clone(), "is a folder, name the socket in it");
    }
    path(text, report)
}
