//! `tunnel_source_ipv4` and `tunnel_source_ipv6`.

use super::{accepted, refusal, refusals};

/// The sources, as they are written again.
fn sources(ipv4: &str, ipv6: &str) -> [String; 2] {
    let text = format!("[daemon]\ntunnel_source_ipv4 = '{ipv4}'\ntunnel_source_ipv6 = '{ipv6}'\n");
    let daemon = accepted(&text).model.daemon;
    let [ipv4, ipv6] = [
        daemon
            .tunnel_source_ipv4
            .map(|s| format!("{}/{}", s.address, s.prefix)),
        daemon
            .tunnel_source_ipv6
            .map(|s| format!("{}/{}", s.address, s.prefix)),
    ];
    [ipv4.unwrap(), ipv6.unwrap()]
}

#[test]
fn a_source_is_one_address_unless_a_prefix_says_how_many() {
    assert_eq!(
        sources("10.64.0.1", "fd00:64::1"),
        ["10.64.0.1/32", "fd00:64::1/128"]
    );
    assert_eq!(
        sources("10.64.0.1/16", "fd00:64::1/64"),
        ["10.64.0.1/16", "fd00:64::1/64"]
    );
    assert_eq!(
        sources("10.64.0.1/8", "fd00:64::1/8"),
        ["10.64.0.1/8", "fd00:64::1/8"]
    );
}

#[test]
fn a_source_is_an_address_of_its_family() {
    let from = "use an address that backends may get packets from";
    let no_ipv4 = "is not an IPv4 address, write it as in 10.64.0.1/16";
    let no_ipv6 = "is not an IPv6 address, write it as in fd00:64::1/64";
    for (key, text, why) in [
        (
            "ipv4",
            "fd00:64::1/64",
            format!("`fd00:64::1/64` {no_ipv4}"),
        ),
        ("ipv4", "10.64.0.1:80", format!("`10.64.0.1:80` {no_ipv4}")),
        ("ipv4", "lb-1", format!("`lb-1` {no_ipv4}")),
        ("ipv4", "", format!("`` {no_ipv4}")),
        ("ipv6", "10.64.0.1/16", format!("`10.64.0.1/16` {no_ipv6}")),
        ("ipv6", "[fd00:64::1]", format!("`[fd00:64::1]` {no_ipv6}")),
        ("ipv6", "fe80::1%eth0", format!("`fe80::1%eth0` {no_ipv6}")),
        (
            "ipv4",
            "0.0.0.0",
            format!("0.0.0.0 is the unspecified address, {from}"),
        ),
        (
            "ipv4",
            "127.0.0.1/8",
            format!("127.0.0.1 is a loopback address, {from}"),
        ),
        (
            "ipv4",
            "239.0.0.1",
            format!("239.0.0.1 is a multicast address, {from}"),
        ),
        (
            "ipv6",
            "::",
            format!(":: is the unspecified address, {from}"),
        ),
        ("ipv6", "::1", format!("::1 is a loopback address, {from}")),
        (
            "ipv6",
            "ff05::1/64",
            format!("ff05::1 is a multicast address, {from}"),
        ),
        (
            "ipv6",
            "::ffff:10.64.0.1",
            format!("::ffff:10.64.0.1 is an IPv4-mapped address, {from}"),
        ),
        (
            "ipv6",
            "fe80::1",
            format!(
                "fe80::1 is link-local: it means nothing without a zone, and zones are not \
                 supported, {from}"
            ),
        ),
        (
            "ipv4",
            "10.64.0.1/33",
            "the prefix length of `10.64.0.1/33` is out of range, use /8 to /32".to_owned(),
        ),
        (
            "ipv4",
            "10.64.0.1/7",
            "the prefix length of `10.64.0.1/7` is out of range, use /8 to /32".to_owned(),
        ),
        (
            "ipv4",
            "10.64.0.1/",
            "the prefix length of `10.64.0.1/` is out of range, use /8 to /32".to_owned(),
        ),
        (
            "ipv6",
            "fd00:64::1/129",
            "the prefix length of `fd00:64::1/129` is out of range, use /8 to /128".to_owned(),
        ),
        (
            "ipv6",
            "fd00:64::1/300",
            "the prefix length of `fd00:64::1/300` is out of range, use /8 to /128".to_owned(),
        ),
    ] {
        assert_eq!(
            refusal(&format!("[daemon]\ntunnel_source_{key} = '{text}'")),
            format!("s.toml:2:22: daemon.tunnel_source_{key}: {why}")
        );
    }
}

fn tunnels(source: &str, forward: &str, vip: &str, backend: &str) -> String {
    format!(
        "[daemon]\nseed = 's'\ntunnel_source_{source}\n[[service]]\nname = 'web'\n\
         listen = ['tcp://{vip}:80']\nforward = '{forward}'\n\
         backend = [{{ address = '{backend}' }}]\n"
    )
}

#[test]
fn no_packet_comes_to_a_backend_from_one_of_its_own_addresses() {
    let why = "and no host takes packets that come from its own address: \
               use a source that nobody else has";
    let vip = "203.0.113.80";
    let text = tunnels("ipv4 = '10.0.1.1/24'", "ipip", vip, "10.0.1.11");
    assert_eq!(
        refusal(&text),
        format!(
            "s.toml:8:24: service[0].backend[0].address: \
             10.0.1.11 is in tunnel_source_ipv4 = \"10.0.1.1/24\", {why}"
        )
    );
    // The address stays as it is written.
    for forward in ["gue", "dsr"] {
        accepted(&tunnels("ipv4 = '10.0.1.1/24'", forward, vip, "10.0.1.11"));
    }
    let text = tunnels("ipv4 = '10.0.1.11/24'", "gue", vip, "10.0.1.11");
    assert_eq!(
        refusal(&text),
        format!(
            "s.toml:8:24: service[0].backend[0].address: \
             10.0.1.11 is in tunnel_source_ipv4 = \"10.0.1.11/32\", {why}"
        )
    );
    let text = tunnels("ipv4 = '203.0.113.2/24'", "ipip", vip, "10.0.1.11");
    assert_eq!(
        refusal(&text),
        format!(
            "s.toml:6:11: service[0].listen[0]: \
             203.0.113.80 is in tunnel_source_ipv4 = \"203.0.113.2/24\", {why}"
        )
    );
    // No outer header is IPv4.
    accepted(&tunnels(
        "ipv4 = '203.0.113.2/24'",
        "ipip",
        vip,
        "fd77:2::11",
    ));
}

#[test]
fn the_hash_has_the_last_32_bits_at_most() {
    let text = |backend| tunnels("ipv6 = 'fd77:2::1/48'", "ipip", "203.0.113.80", backend);
    accepted(&text("[fd77:2::1:0:11]"));
    assert_eq!(
        refusals(&text("[fd77:2::ffff:11]")),
        [
            "s.toml:8:24: service[0].backend[0].address: fd77:2::ffff:11 is in tunnel_source_ipv6 = \
             \"fd77:2::1/96\", and no host takes packets that come from its own address: \
             use a source that nobody else has"
        ]
    );
}
