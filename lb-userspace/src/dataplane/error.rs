//! What can go wrong between the daemon and the kernel, each as one line that says how to mend it.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::{MapError, xdp::XdpMapError},
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

/// An error of the data plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel lacks what the program needs.
    #[error("kernel {found} is too old: Sluice needs Linux 6.1 or later")]
    KernelTooOld {
        /// As `uname -r` prints it.
        found: String,
    },
    /// Capabilities are missing.
    #[error(
        "no privilege: missing {missing}; run as root, or grant it (for example with systemd's \
         AmbientCapabilities=)"
    )]
    NoPrivilege {
        /// Names of the missing capabilities, each with what it is for.
        missing: String,
    },
    /// The BPF file system is not there.
    #[error("{path} is not a BPF file system; mount one: mount -t bpf bpf {path}", path = path.display())]
    NoBpffs {
        /// The configured `bpffs`.
        path: PathBuf,
    },
    /// Another daemon of the instance runs.
    #[error(
        "a daemon controls instance `{instance}` already; stop it first, or use another instance"
    )]
    InstanceBusy {
        /// The instance.
        instance: String,
    },
    /// Another process takes tunnels off under the same name.
    #[error(
        "`sluice decap` runs as instance `{instance}` already; stop it first, or use another --instance"
    )]
    DecapBusy {
        /// The instance.
        instance: String,
    },
    /// Another instance takes tunnels off on the interface.
    #[error(
        "interface {name} belongs to `sluice decap` of instance `{instance}` already; stop that one, or \
         where it was killed: sluice --instance {instance} decap --detach"
    )]
    InterfaceTaken {
        /// The interface.
        name: String,
        /// The instance.
        instance: String,
    },
    /// The pinned maps were made by another version.
    #[error(
        "the maps of instance `{instance}` have ABI version {found}, this is version {expected}; \
         `sluice --instance {instance} detach` removes them (connections are lost)"
    )]
    OtherAbi {
        /// The instance.
        instance: String,
        /// The version found.
        found: u32,
        /// This daemon's version.
        expected: u32,
    },
    /// The limits differ from those of the pinned maps.
    #[error(
        "map {map} of instance `{instance}` has {found} entries, the configured limits ask for \
         {expected}; sizes are fixed while pinned: keep the limits, or `sluice --instance \
         {instance} detach` first (connections are lost)"
    )]
    OtherLimits {
        /// The instance.
        instance: String,
        /// The map.
        map: &'static str,
        /// Entries found.
        found: u32,
        /// Entries asked for.
        expected: u32,
    },
    /// The pinned maps are not as this version makes them.
    #[error(
        "map {map} of instance `{instance}` has another layout; `sluice --instance {instance} \
         detach` removes it (connections are lost)"
    )]
    OtherLayout {
        /// The instance.
        instance: String,
        /// The map.
        map: &'static str,
    },
    /// Another XDP program is attached.
    #[error(
        "interface {name} carries another XDP program; remove it first (ip link show {name}; ip \
         link set {name} xdp off)"
    )]
    InterfaceBusy {
        /// The interface.
        name: String,
    },
    /// The driver has no native XDP, and only that was allowed.
    #[error(
        "the driver of interface {name} has no native XDP; use xdp = \"auto\" or \"generic\" (on a command \
         line: --xdp-mode)"
    )]
    NoNative {
        /// The interface.
        name: String,
    },
    /// The interface cannot be attached to.
    #[error("attaching to interface {name}: {source}")]
    Attach {
        /// The interface.
        name: String,
        /// Why.
        source: Box<ProgramError>,
    },
    /// More interfaces than ports.
    #[error("more than {limit} interfaces")]
    TooManyPorts {
        /// The most there may be.
        limit: u32,
    },
    /// Interfaces whose indices share a row.
    #[error(
        "interface {name}: five interfaces have indices that are equal modulo {rows}; recreate one"
    )]
    IngressRowFull {
        /// The interface that found no place.
        name: String,
        /// Rows of the table.
        rows: u32,
    },
    /// The object or the kernel lacks something that this daemon expects.
    #[error("the XDP object has no {0}; the daemon and the object are of different builds")]
    Missing(&'static str),
    /// Somebody traces already.
    #[error("somebody else is tracing; one trace at a time")]
    TraceBusy,
    /// The file system refuses.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// The program does not load.
    #[error("loading the XDP program: {0}")]
    Load(#[from] Box<EbpfError>),
    /// The verifier does not let the program in.
    #[error(
        "the kernel's verifier refuses program {program}: {reason} ({source}); with RUST_LOG=debug the \
         daemon logs all that it said"
    )]
    Unverified {
        /// Its name in the object.
        program: &'static str,
        /// The verifier's own words.
        reason: String,
        /// What the system call returned.
        source: io::Error,
    },
    /// The kernel does not let the program in, and its verifier has said nothing.
    #[error("the kernel refuses program {program}: {source}")]
    Refused {
        /// Its name in the object.
        program: &'static str,
        /// What the system call returned.
        source: io::Error,
    },
    /// A map refuses.
    #[error("map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// The device map refuses.
    #[error("map DEVICES: {0}")]
    Devices(Box<XdpMapError>),
    /// The program refuses.
    #[error("the XDP program: {0}")]
    Program(#[from] ProgramError),
    /// A pin refuses.
    #[error("pinning: {0}")]
    Pin(#[from] PinError),
    /// A link refuses.
    #[error("the XDP link: {0}")]
    Link(#[from] LinkError),
    /// What the maps hold is not what this daemon could have written.
    #[error("the pinned maps contradict themselves: {0}; `sluice detach` removes them")]
    Contradiction(String),
}

/// Adds what was tried to an [`io::Error`].
pub(super) trait Doing<T> {
    /// `doing` stands before the colon.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, io::Error> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            doing: doing(),
            source,
        })
    }
}

impl<T> Doing<T> for Result<T, nix::Error> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(io::Error::from).doing(doing)
    }
}
