//! The pins of an instance: `<bpffs>/sluice/<instance>/{abi,maps,progs,links}`, and the same below
//! `<bpffs>/sluice-decap` for the backends' side of tunnels.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{Error, error::Doing as _, host, sys};

/// The folder of an instance's maps.
const MAPS: &str = "maps";

/// The folder of its links.
const LINKS: &str = "links";

/// Whose instances there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The load balancer's.
    Balancer,
    /// Those of the backends' side of tunnels.
    Decap,
}

/// The folder of one instance, locked by this process.
///
/// The lock is on the folder itself: what it guards is what it stands on.
#[derive(Debug)]
pub(super) struct Pins {
    instance: String,
    root: PathBuf,
    _lock: Flock<File>,
}

impl Kind {
    /// The folder with a folder for each instance.
    pub(super) fn folder(self, bpffs: &Path) -> PathBuf {
        bpffs.join(match self {
            Self::Balancer => "sluice",
            Self::Decap => "sluice-decap",
        })
    }
}

impl Pins {
    /// Makes the folders where they are missing, and locks the instance.
    ///
    /// # Errors
    /// [`Error::NoBpffs`], [`Error::InstanceBusy`], or the file system's.
    pub(super) fn lock(kind: Kind, bpffs: &Path, instance: &str) -> Result<Self, Error> {
        host::check_bpffs(bpffs)?;
        let root = kind.folder(bpffs).join(instance);
        loop {
            create(&root)?;
            let folder = File::open(&root).doing(|| format!("opening {}", root.display()))?;
            let lock = match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, nix::Error::EWOULDBLOCK)) => {
                    return Err(Error::InstanceBusy {
                        instance: instance.to_owned(),
                    });
                }
                Err((_, error)) => {
                    return Err(error).doing(|| format!("locking {}", root.display()));
                }
            };
            // A daemon that was just leaving may have removed the folder between the two steps.
            if same_file(&lock, &root) {
                for folder in [MAPS, "progs", LINKS] {
                    create(&root.join(folder))?;
                }
                return Ok(Self {
                    instance: instance.to_owned(),
                    root,
                    _lock: lock,
                });
            }
        }
    }

    /// The instance's name.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// The pin of the map with the ABI version.
    pub(super) fn abi(&self) -> PathBuf {
        self.root.join("abi")
    }

    /// The pin of a map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.root.join(MAPS).join(name)
    }

    /// The pin of the program.
    pub(super) fn program(&self) -> PathBuf {
        self.root.join("progs").join("xdp")
    }

    /// The pin of an interface's link.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.root.join(LINKS).join(encode(interface))
    }

    /// The interfaces that have a link pinned.
    pub(super) fn linked(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(LINKS)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| Some(decode(entry.ok()?.file_name().to_str()?)))
            .collect();
        names.sort();
        names
    }

    /// Removes every pin and the folders. Links go first: with its last reference gone, a program is
    /// detached before the maps that it works on disappear.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn remove(self) -> Result<(), Error> {
        // At once: a link whose last pin goes is detached some time after that.
        for interface in self.linked() {
            sys::detach_link(&self.link(&interface));
        }
        for folder in [LINKS, "progs", MAPS] {
            remove_folder(&self.root.join(folder))?;
        }
        remove_file(&self.abi())?;
        remove_folder(&self.root)?;
        // The parent is shared by all instances; it goes with the last one.
        if let Some(parent) = self.root.parent() {
            let _others_remain = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// Removes what a daemon left that died before it had finished making the maps.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn clear(&self) -> Result<(), Error> {
        for folder in [LINKS, "progs", MAPS] {
            empty_folder(&self.root.join(folder))?;
        }
        remove_file(&self.abi())
    }
}

/// The pin of a map of an instance that is another process's.
pub(super) fn map_of(kind: Kind, bpffs: &Path, instance: &str, name: &str) -> PathBuf {
    kind.folder(bpffs).join(instance).join(MAPS).join(name)
}

/// The instance that has a link pinned which holds the program with this id.
pub(super) fn owner_of(kind: Kind, bpffs: &Path, program: u32) -> Option<String> {
    let instances = fs::read_dir(kind.folder(bpffs)).ok()?.flatten();
    let mut owners = instances.filter(|instance| {
        let links = fs::read_dir(instance.path().join(LINKS));
        let mut links = links.into_iter().flatten().flatten();
        links.any(|link| sys::link_program(&link.path()) == Some(program))
    });
    owners.next()?.file_name().into_string().ok()
}

/// Replaces the pin at `path` by a new one, made by `pin`, so that there always is one.
pub(super) fn replace(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push("_new");
    let new = PathBuf::from(new);
    remove_file(&new)?;
    pin(&new)?;
    fs::rename(&new, path).doing(|| format!("renaming {}", new.display()))
}

/// Removes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", path.display())),
    }
}

/// A BPF file system has no names with dots; interfaces have none with colons.
fn encode(interface: &str) -> String {
    interface.replace('.', ":")
}

fn decode(file: &str) -> String {
    file.replace(':', ".")
}

fn create(folder: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .doing(|| format!("creating {}", folder.display()))
}

fn empty_folder(folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).doing(|| format!("reading {}", folder.display())),
        Ok(entries) => entries
            .flatten()
            .try_for_each(|entry| remove_file(&entry.path())),
    }
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    empty_folder(folder)?;
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", folder.display())),
    }
}

fn same_file(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    match (open.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
