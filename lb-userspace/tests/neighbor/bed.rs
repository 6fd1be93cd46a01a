//! Two namespaces on two veth pairs, and a thread inside the near one.
//!
//! near 10.99.1.1/24, fd99:1::1/64 -- far .2; near2 10.99.2.1/24 -- far2 .2

use std::{
    env,
    fs::{self, File},
    future::Future,
    io::Write,
    path::Path,
    process::{self, Command, Stdio},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    unistd::geteuid,
};

/// The interfaces of the near namespace.
pub(crate) const NEAR: &str = "near";
/// The second of them.
pub(crate) const NEAR_2: &str = "near2";
/// The near side of the first pair.
pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// The far side of the first pair.
pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// The far side of the second pair.
pub(crate) const FAR_MAC_2: [u8; 6] = [2, 0, 0, 0, 2, 2];
/// What [`Bed::change_far_mac`] makes of [`FAR_MAC`].
pub(crate) const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// The namespaces; they go when it is dropped.
pub(crate) struct Bed {
    near: String,
    far: String,
}

impl Bed {
    /// Runs `test` on a thread inside the near namespace.
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Self>) -> F + Send + 'static) {
        if !geteuid().is_root() {
            assert!(
                env::var_os("SLUICE_ALLOW_SKIP").is_some_and(|value| value == "1"),
                "network namespaces need root (SLUICE_ALLOW_SKIP=1 skips these tests)"
            );
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let bed = Self::new();
        let thread = thread::spawn(move || {
            let namespace = File::open(format!("/run/netns/{}", bed.near)).expect("the namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
            // Kept here too, for tests that do not hold on to theirs.
            let bed = Rc::new(bed);
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(test(Rc::clone(&bed)));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bed = Self {
            near: format!("slt-{}-nb{number}n", process::id()),
            far: format!("slt-{}-nb{number}f", process::id()),
        };
        for namespace in [&bed.near, &bed.far] {
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        bed.pair(1, NEAR, "far");
        bed.pair(2, NEAR_2, "far2");
        // Tells the neighbours of a changed MAC address, as a failover does.
        bed.set(&bed.far, "net/ipv4/conf/all/arp_notify", "1");
        bed
    }

    fn pair(&self, number: u8, near: &str, far: &str) {
        self.near(&format!(
            "link add {near} address 02:00:00:00:0{number}:01 type veth \
             peer {far} address 02:00:00:00:0{number}:02 netns {}",
            self.far
        ));
        for (namespace, name, host) in [(&self.near, near, 1), (&self.far, far, 2)] {
            let ip = |arguments: &str| ip(&format!("-n {namespace} {arguments}"));
            ip(&format!("addr add 10.99.{number}.{host}/24 dev {name}"));
            ip(&format!("link set {name} up"));
            ip(&format!(
                "addr add fd99:{number}::{host}/64 dev {name} nodad"
            ));
        }
        // What waits for seconds by default. The interval of managed probes (5 s) is not among it:
        // it belongs to the whole host.
        for family in ["ipv4", "ipv6"] {
            let folder = format!("net/{family}/neigh/{near}");
            self.set(&self.near, &format!("{folder}/retrans_time_ms"), "100");
            self.set(
                &self.near,
                &format!("{folder}/base_reachable_time_ms"),
                "500",
            );
            self.set(&self.near, &format!("{folder}/delay_first_probe_time"), "1");
        }
    }

    /// Runs `ip` in the near namespace and returns what it printed.
    pub(crate) fn near(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.near))
    }

    /// Runs `ip` in the far namespace.
    pub(crate) fn far(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.far))
    }

    /// Gives the far side of the first pair the address [`OTHER_MAC`].
    pub(crate) fn change_far_mac(&self) {
        self.far("link set far address 02:00:00:00:00:99");
    }

    /// Adds `count` permanent neighbours that nobody watches.
    pub(crate) fn flood_near_with_neighbours(&self, count: u32) {
        let mut child = Command::new("ip")
            .args(["-n", &self.near, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("running ip");
        let mut stdin = child.stdin.take().expect("its input");
        for number in 0..count {
            let (high, low) = (number >> 8, number & 0xff);
            writeln!(
                stdin,
                "neigh replace 10.{}.{}.{low} lladdr 02:00:00:00:00:50 dev near nud permanent",
                150 + (high >> 8),
                high & 0xff,
            )
            .expect("writing to ip");
        }
        drop(stdin);
        assert!(child.wait().expect("waiting for ip").success());
    }

    /// Writes a file below `/proc/sys`, whose `net` shows the caller's namespace.
    fn set(&self, namespace: &str, key: &str, value: &str) {
        let status = Command::new("ip")
            .args(["netns", "exec", namespace, "sh", "-c"])
            .arg(format!("echo {value} > /proc/sys/{key}"))
            .status()
            .expect("running ip");
        assert!(status.success(), "setting {key} in {namespace}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            let done = Command::new("ip")
                .args(["netns", "del", namespace])
                .status();
            if !done.is_ok_and(|status| status.success()) {
                eprintln!("{namespace} is left behind");
            }
        }
    }
}

/// Removes what killed runs left.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, rest)) = name.strip_prefix("slt-").and_then(|n| n.split_once('-')) else {
            continue;
        };
        if rest.starts_with("nb") && !Path::new("/proc").join(pid).exists() {
            // Another run may sweep at the same time.
            Command::new("ip")
                .args(["netns", "del", &name])
                .status()
                .ok();
        }
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("running ip");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
