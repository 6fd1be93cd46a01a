//! IPv6 addresses of listeners and backends: how they are written, and which ones are refused.

use super::{accepted, refusal, warnings};

/// A service of IPv6. The listener stands at 4:11, the backend at 5:24.
fn service(listener: &str, backend: &str) -> String {
    format!(
        "daemon.seed = 's'\n[[service]]\nname = 'web'\nlisten = [\"{listener}\"]\n\
         backend = [{{ address = \"{backend}\" }}]\n"
    )
}

const LISTENER: &str = "tcp://[2001:db8::80]:80";
const BACKEND: &str = "[fd77:2::11]:8080";

#[test]
fn addresses_with_a_port_stand_in_brackets_and_others_may() {
    for (backend, address, port, name) in [
        (BACKEND, "fd77:2::11", Some(8080), BACKEND),
        ("fd77:2::11", "fd77:2::11", None, "fd77:2::11"),
        ("[fd77:2::11]", "fd77:2::11", None, "fd77:2::11"),
        ("FD77:2:0::11", "fd77:2::11", None, "fd77:2::11"),
        (
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8",
            None,
            "1:2:3:4:5:6:7:8",
        ),
        ("fd77::1:abcd", "fd77::1:abcd", None, "fd77::1:abcd"),
        ("fd77::1:99999", "", None, ""),
    ] {
        if address.is_empty() {
            assert!(refusal(&service(LISTENER, backend)).contains("is not an IPv6 address"));
            continue;
        }
        let [service] = accepted(&service(LISTENER, backend))
            .model
            .services
            .try_into()
            .unwrap();
        let [backend] = service.backends.try_into().unwrap();
        assert_eq!(backend.address.to_string(), address);
        assert_eq!((backend.port, &*backend.name), (port, name));
    }
    for listener in [LISTENER, "udp://[2001:db8:0::80]:53", "tcp://[fec0::1]:80"] {
        assert_eq!(warnings(&service(listener, BACKEND)), [""; 0]);
    }
}

#[test]
fn what_could_be_two_addresses_is_none() {
    for (backend, why) in [
        (
            "fd77:2::11:8080",
            "write [fd77:2::11]:8080 or [fd77:2::11:8080]",
        ),
        ("fd77::1:2", "write [fd77::1]:2 or [fd77::1:2]"),
    ] {
        assert_eq!(
            refusal(&service(LISTENER, backend)),
            format!("s.toml:5:24: service[0].backend[0].address: `{backend}` is ambiguous, {why}")
        );
    }
    accepted(&service(LISTENER, "[fd77:2::11:8080]"));
    assert_eq!(
        refusal(&service("tcp://2001:db8::80:80", BACKEND)),
        "s.toml:4:11: service[0].listen[0]: `2001:db8::80:80` is ambiguous, \
         write [2001:db8::80]:80 or [2001:db8::80:80]"
    );
}

#[test]
fn listeners_are_addresses_that_clients_can_reach() {
    let unreachable = "use an address that clients can be routed to";
    let malformed = "is not an IPv6 address and port, write it as in [2001:db8::1]:80";
    for (address, why) in [
        (
            "[::]:80",
            format!(":: is the unspecified address, {unreachable}"),
        ),
        (
            "[::1]:80",
            format!("::1 is a loopback address, {unreachable}"),
        ),
        (
            "[ff02::1]:80",
            format!("ff02::1 is a multicast address, {unreachable}"),
        ),
        (
            "[ff0e::80]:80",
            format!("ff0e::80 is a multicast address, {unreachable}"),
        ),
        (
            "[fe80::80]:80",
            format!("fe80::80 is link-local, {unreachable}"),
        ),
        (
            "[febf::80]:80",
            format!("febf::80 is link-local, {unreachable}"),
        ),
        (
            "[fe80::80%eth0]:80",
            "`[fe80::80%eth0]:80` names a zone, which only a link-local address needs: \
             use an address that can be routed to"
                .to_owned(),
        ),
        (
            "[2001:db8::80%2]:80",
            "`[2001:db8::80%2]:80` names a zone, which only a link-local address needs: \
             use an address that can be routed to"
                .to_owned(),
        ),
        (
            "[::ffff:192.0.2.1]:80",
            "`[::ffff:192.0.2.1]:80` is an IPv4-mapped address, write 192.0.2.1".to_owned(),
        ),
        (
            "[::192.0.2.1]:80",
            format!(
                "::c000:201 is an IPv4-compatible address, which nothing routes (RFC 4291, \
                 section 2.5.5.1), {unreachable}"
            ),
        ),
        (
            "[2001:db8::80]",
            "`tcp://[2001:db8::80]` has no port, write it as in tcp://[2001:db8::80]:80".to_owned(),
        ),
        (
            "2001:db8::abcd",
            "`tcp://2001:db8::abcd` has no port, write it as in tcp://[2001:db8::abcd]:80"
                .to_owned(),
        ),
        (
            "[2001:db8::80]:0",
            "port 0, every port, does not go with dnat: name one, or use dsr, ipip or gue"
                .to_owned(),
        ),
        (
            "[2001:db8::80]80",
            format!("`[2001:db8::80]80` {malformed}"),
        ),
        ("[2001:db8::80]:", format!("`[2001:db8::80]:` {malformed}")),
        (
            "[2001:db8::80]:+80",
            format!("`[2001:db8::80]:+80` {malformed}"),
        ),
        (
            "[2001:db8::80]:65536",
            format!("`[2001:db8::80]:65536` {malformed}"),
        ),
        ("[2001:db8::80", format!("`[2001:db8::80` {malformed}")),
        (
            "[2001:db8::8::0]:80",
            format!("`[2001:db8::8::0]:80` {malformed}"),
        ),
        ("[192.0.2.1]:80", format!("`[192.0.2.1]:80` {malformed}")),
        ("[]:80", format!("`[]:80` {malformed}")),
    ] {
        assert_eq!(
            refusal(&service(&format!("tcp://{address}"), BACKEND)),
            format!("s.toml:4:11: service[0].listen[0]: {why}")
        );
    }
}

#[test]
fn backends_are_addresses_that_packets_can_go_to() {
    for (address, why) in [
        (
            "[fd77:2::11]:0",
            "port 0 is no backend's: name its port, or none to keep the listener's",
        ),
        (
            "::ffff:10.0.1.11",
            "`::ffff:10.0.1.11` is an IPv4-mapped address, write 10.0.1.11",
        ),
        (
            "fe80::11",
            "fe80::11 is link-local: it means nothing without a zone, and zones are not supported, \
             use an address of the backend",
        ),
        (
            "fe80::11%eth0",
            "`fe80::11%eth0` names a zone, which only a link-local address needs: \
             use an address that can be routed to",
        ),
        (
            "::1",
            "::1 is a loopback address, use an address of the backend",
        ),
        (
            "[ff05::2]:80",
            "ff05::2 is a multicast address, use an address of the backend",
        ),
        (
            "tcp://[fd77:2::11]:80",
            "`tcp://[fd77:2::11]:80` is not a backend's address, write `[fd77:2::11]:80` alone",
        ),
        (
            "[2001:db8::80]:8080",
            "2001:db8::80 is a VIP of service `web`, use the backend's own address",
        ),
    ] {
        assert_eq!(
            refusal(&service(LISTENER, address)),
            format!("s.toml:5:24: service[0].backend[0].address: {why}")
        );
    }
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    let text = service(
        "tcp://[2001:db8::80]:80\", \"tcp://[2001:DB8:0::0:80]:80",
        "fd77:2::11\" }, { address = \"[FD77:2:0::11]",
    );
    let refused = refusal(&text);
    let lines: Vec<_> = refused.lines().collect();
    assert_eq!(
        lines,
        [
            "s.toml:4:38: service[0].listen[1]: tcp://[2001:db8::80]:80 is already a listener of service `web` at s.toml:4:11, use another address or port",
            "s.toml:5:52: service[0].backend[1].address: fd77:2::11 is already a backend of this service at s.toml:5:24, use its weight to give it more",
        ]
    );
}
