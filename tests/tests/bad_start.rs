//! What cannot start says why in one line, and leaves nothing attached or behind.

use std::{
    fs,
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    process::Command,
};

use anyhow::Result;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use testbed::{
    config::{Backend, Config, Interface, Service},
    daemon::{Daemon, Ended},
    netlink,
    ordinary::Ordinary,
    programs,
    site::{self, Site},
    sweep,
    topology::{Topology, VIP},
    xdp,
};

/// A start that must fail with `code` and say one line with all of `words`.
fn refuses(daemon: &Daemon, code: i32, words: &[&str]) -> Result<Ended> {
    let ended = daemon.run_to_end(|_| {})?;
    assert_refused(&ended, code, words)?;
    Ok(ended)
}

fn assert_refused(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    assert_eq!(ended.code(), Some(code), "{}", ended.output);
    let line = ended.only_line()?;
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    Ok(())
}

fn assert_nothing_left(topology: &Topology, daemon: &Daemon) -> Result<()> {
    assert_eq!(site::programs(topology)?, [None, None]);
    assert!(
        !daemon.pins().exists(),
        "{:?}",
        sweep::files_below(&daemon.pins())
    );
    assert!(!daemon.socket().exists());
    Ok(())
}

fn prepare(change: impl FnOnce(&mut Config)) -> Result<Option<(Daemon, Topology)>> {
    let network = Topology::builder().backends(1);
    let Some((topology, config)) = Site::prepare(&network, change)? else {
        return Ok(None);
    };
    Ok(Some((Daemon::prepare(&topology.lb, config)?, topology)))
}

#[test]
fn a_second_daemon_of_the_instance_is_refused_and_the_first_goes_on() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    let programs = site.programs()?;
    let instance = site.daemon.config().daemon.instance.clone();
    refuses(&site.daemon, 1, &[&instance])?;
    let after = site.daemon.status()?;
    assert_eq!((after.pid, after.slots()), (before.pid, before.slots()));
    assert_eq!(site.programs()?, programs);
    site.get_many(10)?;
    Ok(())
}

#[test]
fn an_interface_that_does_not_exist_is_refused() -> Result<()> {
    let with_nowhere = |config: &mut Config| config.interfaces.push(Interface::new("nowhere0"));
    let Some((daemon, topology)) = prepare(with_nowhere)? else {
        return Ok(());
    };
    refuses(&daemon, 1, &["nowhere0"])?;
    assert_nothing_left(&topology, &daemon)
}

#[test]
fn somebody_elses_program_is_left_alone() -> Result<()> {
    let Some((daemon, topology)) = prepare(|_| {})? else {
        return Ok(());
    };
    let program = xdp::load_passing_program()?;
    // The last interface: what was attached before it must go again.
    topology
        .lb
        .run(|| netlink::attach_xdp("back", program.as_fd()))?;
    let before = site::programs(&topology)?;
    assert!(before[0].is_none() && before[1].is_some(), "{before:?}");

    refuses(&daemon, 1, &["back"])?;
    assert_eq!(site::programs(&topology)?, before);
    assert!(!daemon.pins().exists() && !daemon.socket().exists());
    Ok(())
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() -> Result<()> {
    let Some((daemon, topology)) = prepare(|config| config.web().backends[0].weight = 257)? else {
        return Ok(());
    };
    let path = daemon.config_path();
    let text = fs::read_to_string(&path)?;
    let line = 1 + text
        .lines()
        .position(|line| line == "weight = 257")
        .expect("a weight");
    let place = format!("{}:{line}", path.display());
    refuses(&daemon, 78, &[&place, "weight"])?;
    assert_nothing_left(&topology, &daemon)
}

/// `web` with one backend, and `shop` with `backends` others; tables of 67 slots.
fn two_small_services(config: &mut Config, backends: u8) {
    config.web().table_size = 67;
    let others = (1..=backends).map(|n| format!("10.77.2.{}:80", 100 + n));
    config.services.push(Service {
        table_size: 67,
        backends: others
            .map(|address| Backend::new(&address, &address))
            .collect(),
        ..Service::new("shop", &format!("tcp://{}:8080", VIP.ip()))
    });
}

#[test]
fn limits_that_are_smaller_than_the_file_needs_are_refused_with_their_place() -> Result<()> {
    type Change = fn(&mut Config);
    let cases: [(Change, [&str; 3]); 3] = [
        (
            |config| config.limits.services = Some(1),
            [
                "services = 1",
                "limits.services",
                "together have 2 services",
            ],
        ),
        (
            |config| config.limits.backends = Some(1),
            [
                "backends = 1",
                "limits.backends",
                "together have 2 backends",
            ],
        ),
        (
            |config| config.limits.slots = Some(133),
            ["slots = 133", "limits.slots", "together have 134 slots"],
        ),
    ];
    for (change, [written, field, told]) in cases {
        let small = |config: &mut Config| {
            two_small_services(config, 1);
            change(config);
        };
        let Some((daemon, topology)) = prepare(small)? else {
            return Ok(());
        };
        let text = fs::read_to_string(daemon.config_path())?;
        let line = text.lines().position(|line| line == written);
        let line = 1 + line.expect("a limit");
        let place = format!("{}:{line}", daemon.config_path().display());
        refuses(&daemon, 78, &[&place, field, told, "raise it"])?;
        assert_nothing_left(&topology, &daemon)?;
    }
    Ok(())
}

#[test]
fn limits_without_room_for_rounding_are_refused_with_the_service() -> Result<()> {
    type Change = fn(&mut Config);
    let cases: [(Change, [&str; 2]); 2] = [
        // The first service takes 8 entries for its one backend.
        (
            |config| config.limits.backends = Some(9),
            ["no room for 2 backends", "limits.backends = 9"],
        ),
        // The second table begins at the next multiple of 16.
        (
            |config| config.limits.slots = Some(134),
            ["no room for 67 slots", "limits.slots = 134"],
        ),
    ];
    for (change, [room, limit]) in cases {
        let small = |config: &mut Config| {
            two_small_services(config, 2);
            change(config);
        };
        let Some((daemon, topology)) = prepare(small)? else {
            return Ok(());
        };
        refuses(&daemon, 78, &["service shop", room, limit, "raise limits."])?;
        assert_nothing_left(&topology, &daemon)?;
    }
    Ok(())
}

#[test]
fn a_configuration_that_is_not_there_is_refused() -> Result<()> {
    let Some((daemon, topology)) = prepare(|_| {})? else {
        return Ok(());
    };
    let path = daemon.config_path();
    fs::remove_file(&path)?;
    let ended = daemon.run_to_end(|_| {})?;
    let line = ended.only_line()?;
    assert!(
        matches!(ended.code(), Some(1 | 78)),
        "{:?}: {line}",
        ended.status
    );
    assert!(line.contains(&*path.to_string_lossy()), "{line}");
    assert_nothing_left(&topology, &daemon)
}

#[test]
fn a_folder_that_is_no_bpf_file_system_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    for bpffs in [folder.path().to_owned(), folder.path().join("nowhere")] {
        let Some((daemon, topology)) = prepare(|config| config.daemon.bpffs = bpffs)? else {
            return Ok(());
        };
        refuses(
            &daemon,
            1,
            &[&path, "not a BPF file system", "mount -t bpf"],
        )?;
        assert_nothing_left(&topology, &daemon)?;
    }
    assert_eq!(sweep::files_below(folder.path()).len(), 0);
    Ok(())
}

#[test]
fn a_read_only_bpf_file_system_is_refused() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let owner = Ordinary::with(&[])?;
    owner.freeze_bpffs()?;
    let Some((daemon, topology)) = prepare(|config| config.daemon.bpffs = owner.bpffs())? else {
        return Ok(());
    };
    let place = owner.bpffs().join("sluice");
    refuses(
        &daemon,
        1,
        &[&place.to_string_lossy(), "Read-only file system"],
    )?;
    assert_nothing_left(&topology, &daemon)
}

#[test]
fn an_admin_socket_that_cannot_be_made_is_refused() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    for socket in [
        file.path().join("below/a/file.sock"),
        file.path().to_owned(),
    ] {
        let words = socket.to_string_lossy().into_owned();
        let Some((daemon, topology)) = prepare(|config| config.daemon.admin_socket = socket)?
        else {
            return Ok(());
        };
        refuses(&daemon, 1, &[&words])?;
        assert_eq!(site::programs(&topology)?, [None, None]);
        assert!(!daemon.pins().exists());
    }
    assert!(file.path().is_file(), "it was not the daemon's to remove");
    Ok(())
}

#[test]
fn an_unprivileged_user_is_refused() -> Result<()> {
    let Some((daemon, topology)) = prepare(|_| {})? else {
        return Ok(());
    };
    // Where the user may read: the target folder may be under somebody's home.
    let folder = tempfile::Builder::new()
        .prefix(&sweep::unique_name())
        .tempdir()?;
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable.clone())?;
    let program = folder.path().join("sluice");
    fs::copy(programs::sluice()?, &program)?;
    fs::set_permissions(&program, readable)?;
    let config = folder.path().join("sluice.toml");
    fs::copy(daemon.config_path(), &config)?;

    let ended = daemon.run_to_end(|command| {
        *command = topology.lb.command(&program);
        command.arg("run").arg("--config").arg(&config);
        become_nobody(command);
    })?;
    assert_refused(&ended, 1, &[])?;
    assert_nothing_left(&topology, &daemon)
}

/// After entering the host, which takes privilege.
fn become_nobody(command: &mut Command) {
    const NOBODY: u32 = 65_534;
    // SAFETY: the three calls are plain system calls here: nothing but this thread exists after
    // the fork, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            setgroups(&[])?;
            setgid(Gid::from_raw(NOBODY))?;
            setuid(Uid::from_raw(NOBODY))?;
            Ok(())
        });
    }
}
