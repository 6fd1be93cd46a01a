//! What a server counts, in memory that its starter reads too: killed or stopped, the figures stay.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use memmap2::{MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The shared page's content. All zeroes at first.
#[repr(C)]
struct Page {
    connections: AtomicU64,
    requests: AtomicU64,
    datagrams: AtomicU64,
    ready: AtomicU32,
}

/// The counters of one server, over all of its lives.
#[derive(Debug)]
pub struct Counts {
    file: File,
    map: MmapRaw,
}

impl Counts {
    /// New ones, all zero.
    pub fn new() -> Result<Self> {
        let fd = memfd_create(c"sluice-counts", MFdFlags::MFD_CLOEXEC).context("memfd_create")?;
        let file = File::from(fd);
        file.set_len(size_of::<Page>() as u64)?;
        Self::map(file)
    }

    /// Those of another process, by its [`Self::path`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Self::map(file.with_context(|| format!("opening {}", path.display()))?)
    }

    /// Where another process finds them, as long as this one lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// TCP connections accepted, health checks too.
    pub fn connections(&self) -> u64 {
        self.page().connections.load(Ordering::Relaxed)
    }

    /// HTTP requests answered.
    pub fn requests(&self) -> u64 {
        self.page().requests.load(Ordering::Relaxed)
    }

    /// UDP questions answered.
    pub fn datagrams(&self) -> u64 {
        self.page().datagrams.load(Ordering::Relaxed)
    }

    /// The process that listens, or listened last.
    pub fn listener(&self) -> Option<u32> {
        let pid = self.page().ready.load(Ordering::Acquire);
        (pid != 0).then_some(pid)
    }

    /// Counts a connection.
    pub fn add_connection(&self) {
        self.page().connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request.
    pub fn add_request(&self) {
        self.page().requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a UDP question.
    pub fn add_datagram(&self) {
        self.page().datagrams.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that this process listens now.
    pub fn set_listening(&self) {
        self.page()
            .ready
            .store(std::process::id(), Ordering::Release);
    }

    fn map(file: File) -> Result<Self> {
        let map = MmapOptions::new()
            .len(size_of::<Page>())
            .map_raw(&file)
            .context("mmap")?;
        Ok(Self { file, map })
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping is page-aligned, at least as long as a Page, lives as long as self,
        // and every process that maps it touches it through these atomics alone.
        unsafe { &*self.map.as_ptr().cast::<Page>() }
    }
}
