//! What `sluice decap` does not start with: it says why, and leaves nothing attached or behind.

use std::os::fd::AsFd;

use anyhow::Result;
use testbed::{
    decap::Decap,
    netlink, sweep,
    tunnel_end::{INTERFACE, TunnelEnd, arguments},
    xdp,
};

/// A start that must fail with one line that has all of `words`, and change nothing.
fn refuses(end: &TunnelEnd, decap: &Decap, words: &[&str]) -> Result<()> {
    let before = end.program()?;
    let ended = decap.run_to_end()?;
    assert_eq!(ended.code(), Some(1), "{}", ended.output);
    let line = ended.only_line()?;
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    assert_eq!(end.program()?, before);
    Ok(())
}

#[test]
fn wrong_usage_says_what_is_wrong() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    for (line, words) in [
        (
            "--interface eth0",
            &["--from ADDRESS", "anyone could put packets"][..],
        ),
        ("--from 10.77.2.1", &["--interface <NAME>"]),
        (
            "--interface eth0 --from 10.77.2.1/33",
            &["`10.77.2.1/33` is no prefix", "from 0 to 32"],
        ),
        (
            "--interface eth0 --from balancer",
            &["`balancer` is no address", "10.0.0.0/24"],
        ),
        (
            "--interface eth0 --from ::/0",
            &["every address", "name the load balancers alone"],
        ),
        (
            "--interface eth0 --from ::ffff:10.77.2.1",
            &["IPv4-mapped", "write 10.77.2.1"],
        ),
        (
            "--interface eth0 --from 10.77.2.1 --gue-port 0",
            &["'0' for '--gue-port <PORT>'", "1..=65535"],
        ),
        (
            "--interface eth0 --from 10.77.2.1 --gue-port 65536",
            &["'65536' for '--gue-port <PORT>'"],
        ),
        (
            "--interface an-interface-of-20-b --from 10.77.2.1",
            &["too long for an interface"],
        ),
    ] {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let decap = Decap::prepare(&end.backend, &arguments)?;
        let ended = decap.run_to_end()?;
        assert_eq!(ended.code(), Some(2), "{line}: {}", ended.output);
        for word in words {
            assert!(ended.output.contains(word), "{line}: {}", ended.output);
        }
        assert_eq!(end.program()?, None, "{line}");
        assert!(!decap.pins().exists(), "{line}");
    }
    Ok(())
}

#[test]
fn an_interface_that_does_not_exist_is_refused() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let decap = Decap::prepare(&end.backend, &arguments(&["--interface", "nowhere0"]))?;
    refuses(&end, &decap, &["nowhere0 does not exist", INTERFACE])?;
    assert!(!decap.pins().exists());
    Ok(())
}

#[test]
fn a_second_one_of_the_instance_is_refused_and_the_first_goes_on() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut first = end.decap()?;
    first.restart()?;
    let output = first.cli(&arguments(&[]))?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = format!(
        "sluice: `sluice decap` runs as instance `{}` already;",
        first.instance()
    );
    assert!(
        said.starts_with(&line) && said.lines().count() == 1,
        "{said}"
    );
    assert!(end.program()?.is_some());
    assert_eq!(first.counter("decapsulated", "ipip_ipv4")?, 0);
    Ok(())
}

#[test]
fn a_second_one_on_the_interface_is_refused_and_the_first_goes_on() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut first = end.decap()?;
    first.restart()?;
    let second = end.decap()?;
    refuses(
        &end,
        &second,
        &[INTERFACE, first.instance(), "decap --detach"],
    )?;
    assert!(!second.pins().exists() && first.pins().exists());
    Ok(())
}

#[test]
fn somebody_elses_program_is_left_alone() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    end.balancer.join("eth1", &end.backend, "eth1")?;
    let program = xdp::load_passing_program()?;
    // The last interface: what was attached before it must go again.
    end.backend
        .run(|| netlink::attach_xdp("eth1", program.as_fd()))?;
    let decap = Decap::prepare(&end.backend, &arguments(&["--interface", "eth1"]))?;
    refuses(&end, &decap, &["eth1 carries another XDP program"])?;
    assert_eq!(end.program()?, None);
    assert!(end.backend.link("eth1")?.xdp.is_some());
    assert!(!decap.pins().exists());
    Ok(())
}

#[test]
fn a_driver_without_native_xdp_is_refused_where_nothing_else_will_do() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    end.backend.bridge("bridge")?;
    let on_bridge = |mode| {
        let more = ["--interface", "bridge", "--xdp-mode", mode];
        Decap::prepare(&end.backend, &arguments(&more))
    };
    let decap = on_bridge("native")?;
    refuses(
        &end,
        &decap,
        &["the driver of interface bridge has no native XDP"],
    )?;
    assert_eq!(end.program()?, None);
    assert!(!decap.pins().exists());

    let mut decap = on_bridge("auto")?;
    decap.restart()?;
    let log = decap.log();
    assert!(
        log.contains("interface bridge: the driver has no native XDP"),
        "{log}"
    );
    let bridge = end.backend.link("bridge")?.xdp;
    assert!(bridge.is_some_and(|program| !program.native));
    assert!(end.program()?.is_some_and(|(_, native)| native));
    Ok(())
}

#[test]
fn a_folder_that_is_no_bpf_file_system_is_refused() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let decap = end.decap()?;
    for more in [&arguments(&[])[..], &["--counters"], &["--detach"]] {
        let output = testbed::cli::Cli::inside(decap.instance(), &end.backend)
            .run(&[&["decap", "--bpffs", &path], more].concat())?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{more:?}: {said}");
        assert!(
            said.contains("not a BPF file system") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(end.program()?, None);
    assert_eq!(sweep::files_below(folder.path()).len(), 0);
    Ok(())
}

#[test]
fn counters_are_those_of_a_running_instance() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    let mut decap = end.decap()?;
    let nobody = decap.cli(&["--counters"])?;
    let said = String::from_utf8(nobody.stderr)?;
    assert_eq!(nobody.status.code(), Some(1), "{said}");
    let line = format!("no `sluice decap` of instance `{}` runs", decap.instance());
    assert!(said.contains(&line) && said.lines().count() == 1, "{said}");

    decap.restart()?;
    let table = String::from_utf8(decap.cli(&["--counters"])?.stdout)?;
    assert!(table.starts_with("FATE "), "{table}");
    let rows: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        rows.contains(&vec!["decapsulated", "gue_ipv6", "0"]),
        "{table}"
    );
    assert!(
        rows.contains(&vec!["dropped", "inner_malformed", "0"]),
        "{table}"
    );
    assert_eq!(decap.counter("passed", "fragment")?, 0);
    Ok(())
}
