//! `forward`, and what each mode asks of ports and families.

use super::{accepted, refusal, refusals};
use crate::model::Forward;

/// A service with these listeners (4:8), backend addresses (5:1) and other lines (from line 6).
fn service(listen: &[&str], backends: &[&str], lines: &str) -> String {
    let backends: Vec<_> = backends
        .iter()
        .map(|address| format!("{{ address = '{address}' }}"))
        .collect();
    format!(
        "daemon.seed = 's'\n[[service]]\nname = 's'\nlisten = {listen:?}\nbackend = [{}]\n{lines}",
        backends.join(", ")
    )
}

#[track_caller]
fn forward(lines: &str) -> Forward {
    let text = service(&["tcp://203.0.113.80:80"], &["10.0.1.11"], lines);
    let [service] = accepted(&text).model.services.try_into().unwrap();
    service.forward
}

#[test]
fn gue_has_a_port_of_its_own() {
    assert_eq!(forward("forward = 'ipip'"), Forward::Ipip);
    assert_eq!(forward("forward = 'gue'"), Forward::Gue { port: 6080 });
    for port in [1, 65_535] {
        let lines = format!("forward = 'gue'\ngue_port = {port}");
        assert_eq!(forward(&lines), Forward::Gue { port });
    }
    let refused = |lines| refusal(&service(&["tcp://203.0.113.80:80"], &["10.0.1.11"], lines));
    for port in ["0", "65536", "-1"] {
        let lines = format!("forward = 'gue'\ngue_port = {port}");
        let text = service(&["tcp://203.0.113.80:80"], &["10.0.1.11"], &lines);
        assert_eq!(
            refusal(&text),
            format!("s.toml:7:12: service[0].gue_port: {port} is out of range, use 1 to 65535")
        );
    }
    for lines in ["gue_port = 6080", "gue_port = 6080\nforward = 'ipip'"] {
        assert_eq!(
            refused(lines),
            "s.toml:6:12: service[0].gue_port: means something to gue only, \
             remove it or write forward = \"gue\""
        );
    }
    assert_eq!(
        refused("forward = 'geu'\ngue_port = 6080"),
        "s.toml:6:11: service[0].forward: `geu` is unknown, did you mean `gue`?"
    );
}

#[test]
fn the_listeners_port_is_kept_where_packets_are_not_rewritten() {
    for mode in ["dsr", "ipip", "gue"] {
        let lines = format!("forward = '{mode}'");
        for listen in [
            &["tcp://203.0.113.80:0"][..],
            &["udp://203.0.113.80:53", "tcp://203.0.113.80:53"],
            &["tcp://203.0.113.80:80", "tcp://203.0.113.81:80"],
        ] {
            accepted(&service(listen, &["10.0.1.11"], &lines));
        }
        for (listen, backend, alone) in [
            ("tcp://203.0.113.80:80", "10.0.1.11:80", "10.0.1.11"),
            ("tcp://[2001:db8::80]:80", "[fd77:2::11]:80", "fd77:2::11"),
        ] {
            assert_eq!(
                refusal(&service(&[listen], &[backend], &lines)),
                format!(
                    "s.toml:5:24: service[0].backend[0].address: \
                     with {mode} the listener's port is kept: write {alone} without a port"
                )
            );
        }
        let health = format!("{lines}\nhealth = [{{ type = 'tcp' }}]");
        assert_eq!(
            refusal(&service(&["tcp://203.0.113.80:0"], &["10.0.1.11"], &health)),
            "s.toml:7:11: service[0].health[0]: has no port to ask: \
             a service of every port needs a listener with one, too"
        );
        let both = ["tcp://203.0.113.80:0", "tcp://203.0.113.80:80"];
        accepted(&service(&both, &["10.0.1.11"], &health));
    }
    let dns = ["udp://203.0.113.80:53", "tcp://203.0.113.80:53"];
    accepted(&service(&dns, &["10.0.1.11"], ""));
}

#[test]
fn families_are_mixed_in_tunnels_only() {
    let listen = [
        "tcp://[2001:db8::80]:80",
        "tcp://203.0.113.80:81",
        "tcp://[2001:db8::80]:82",
    ];
    let backends = ["fd77:2::11", "10.0.1.11"];
    for mode in ["ipip", "gue"] {
        accepted(&service(&listen, &backends, &format!("forward = '{mode}'")));
    }
    for mode in ["dnat", "dsr"] {
        let text = service(&listen, &backends, &format!("forward = '{mode}'"));
        let why = format!(
            "is IPv4 and tcp://[2001:db8::80]:80 IPv6, which {mode} does not mix: \
             use a service for each, or forward = \"ipip\" or \"gue\""
        );
        assert_eq!(
            refusals(&text),
            [
                format!("s.toml:4:38: service[0].listen[1]: tcp://203.0.113.80:81 {why}"),
                format!("s.toml:5:52: service[0].backend[1].address: 10.0.1.11 {why}"),
            ]
        );
    }
    let text = service(&["tcp://203.0.113.80:80"], &["[fd77:2::11]:80"], "");
    assert_eq!(
        refusal(&text),
        "s.toml:5:24: service[0].backend[0].address: fd77:2::11 is IPv6 and tcp://203.0.113.80:80 \
         IPv4, which dnat does not mix: use a service for each, or forward = \"ipip\" or \"gue\""
    );
}

/// Nothing is measured by a word that nobody knows.
#[test]
fn a_misspelt_mode_is_the_only_mistake_of_what_it_would_allow() {
    let text = service(
        &["tcp://203.0.113.80:0", "tcp://[2001:db8::80]:0"],
        &["10.0.1.11", "fd77:2::11"],
        "forward = 'ipp'",
    );
    assert_eq!(
        refusal(&text),
        "s.toml:6:11: service[0].forward: `ipp` is unknown, did you mean `ipip`?"
    );
}

#[test]
fn only_replies_that_come_back_have_to_be_told_apart() {
    let two = |mode: &str| {
        ["80", "81"].map(|last| {
            format!(
                "[[service]]\nname = 's{last}'\nlisten = ['tcp://[2001:db8::{last}]:80']\n\
                 forward = '{mode}'\nbackend = [{{ address = 'fd77:2::11' }}]\n"
            )
        })
    };
    for mode in ["dsr", "ipip", "gue"] {
        accepted(&two(mode).concat());
    }
    assert_eq!(
        refusal(&two("dnat").concat()),
        "s.toml:10:24: service[1].backend[0].address: [fd77:2::11]:80 is already a backend of dnat \
         service `s80` at s.toml:5:24, its replies could not be told from those of `s81`: \
         use another port"
    );
}
