//! What is refused of a `[[service]]` by itself, in the exact words.

use super::{WEB, refusal, refusals};

/// [`WEB`] with a part of it written differently.
#[track_caller]
fn web(part: &str, instead: &str) -> String {
    assert!(WEB.contains(part), "{part}");
    WEB.replacen(part, instead, 1)
}

#[test]
fn what_a_service_needs_is_asked_for() {
    assert_eq!(
        refusals("[[service]]\n[[service.health]]\n[[service.backend]]"),
        [
            "s.toml:1:1: service[0].name: missing, give the service a name",
            "s.toml:1:1: service[0].listen: missing, write it as in listen = [\"tcp://203.0.113.80:80\"]",
            "s.toml:2:1: service[0].health[0].type: missing, write type = \"tcp\" or type = \"http\"",
            "s.toml:3:1: service[0].backend[0].address: missing, write it as in 10.0.1.11:8080",
        ]
    );
    assert_eq!(
        refusal(&web("\"tcp://203.0.113.80:80\"", "")),
        "s.toml:3:10: service[0].listen: is empty, write at least one address"
    );
}

#[test]
fn all_mistakes_of_a_service_are_found_in_one_run() {
    assert_eq!(
        refusals(
            "service = [1, { name = 3 }, \
             { name = 'a', listen = [1, 'x', true, 'tcp://0.0.0.0:1'], colour = 'red', \
             backend = [{ address = 7, wieght = 1, weight = 999 }] }]"
        ),
        [
            "s.toml:1:12: service[0]: expected a table, found an integer",
            "s.toml:1:15: service[1].listen: missing, write it as in listen = [\"tcp://203.0.113.80:80\"]",
            "s.toml:1:24: service[1].name: expected a string, found an integer",
            "s.toml:1:53: service[2].listen[0]: expected a string, found an integer",
            "s.toml:1:56: service[2].listen[1]: `x` names no protocol, write tcp://ADDRESS:PORT or udp://ADDRESS:PORT",
            "s.toml:1:61: service[2].listen[2]: expected a string, found a boolean",
            "s.toml:1:67: service[2].listen[3]: 0.0.0.0 is the unspecified address, use an address that clients can be routed to",
            "s.toml:1:87: service[2].colour: unknown key, known here: `name`, `listen`, `forward`, `gue_port`, `scheduler`, `table_size`, `hash`, `source_prefix_ipv4`, `source_prefix_ipv6`, `tracking`, `transition_window`, `flow_idle`, `on_death`, `drain_timeout`, `slow_start`, `health`, `backend`",
            "s.toml:1:126: service[2].backend[0].address: expected a string, found an integer",
            "s.toml:1:129: service[2].backend[0].wieght: unknown key, did you mean `weight`?",
            "s.toml:1:150: service[2].backend[0].weight: 999 is out of range, use 0 to 256",
        ]
    );
}

#[test]
fn names_fit_commands_and_metrics() {
    let long = "x".repeat(65);
    for (name, why) in [
        (
            "a/b",
            "`a/b` is not a name, use letters, digits and . _ - : [ ]".to_owned(),
        ),
        ("", "is empty, write a name".to_owned()),
        (
            &long,
            format!("`{long}` is too long a name, use at most 64 characters"),
        ),
    ] {
        assert_eq!(
            refusal(&web("web", name)),
            format!("s.toml:2:8: service[0].name: {why}")
        );
        assert_eq!(
            refusal(&format!("{WEB}name = '{name}'")),
            format!("s.toml:10:8: service[0].backend[1].name: {why}")
        );
    }
}

#[test]
fn listeners_are_addresses_that_clients_can_reach() {
    let unreachable = "use an address that clients can be routed to";
    for (listener, why) in [
        (
            "203.0.113.80:80",
            "`203.0.113.80:80` names no protocol, write tcp://ADDRESS:PORT or udp://ADDRESS:PORT",
        ),
        (
            "http://203.0.113.80",
            "protocol `http` is unknown, use tcp:// or udp://",
        ),
        (
            "tcp://203.0.113.80",
            "`tcp://203.0.113.80` has no port, write it as in tcp://203.0.113.80:80",
        ),
        (
            "tcp://203.0.113.80:0",
            "port 0, every port, does not go with dnat: name one, or use dsr, ipip or gue",
        ),
        (
            "tcp://www.example.com:80",
            "`www.example.com:80` is not an address, names are not resolved: write the address",
        ),
        (
            "tcp://",
            "`` is not an address and port, write it as in 192.0.2.1:80 or [2001:db8::1]:80",
        ),
        (
            "tcp://203.0.113.80:65536",
            "`203.0.113.80:65536` is not an address and port, write it as in 192.0.2.1:80 or [2001:db8::1]:80",
        ),
        (
            "tcp://224.0.0.1:80",
            &format!("224.0.0.1 is a multicast address, {unreachable}"),
        ),
        (
            "tcp://255.255.255.255:80",
            &format!("255.255.255.255 is the broadcast address, {unreachable}"),
        ),
        (
            "tcp://0.0.0.0:80",
            &format!("0.0.0.0 is the unspecified address, {unreachable}"),
        ),
        (
            "tcp://0.1.2.3:80",
            &format!(
                "0.1.2.3 is in 0.0.0.0/8, which is never a destination (RFC 1122, section 3.2.1.3), {unreachable}"
            ),
        ),
        (
            "tcp://127.0.0.1:80",
            &format!("127.0.0.1 is a loopback address, {unreachable}"),
        ),
        (
            "tcp://169.254.1.1:80",
            &format!("169.254.1.1 is link-local, {unreachable}"),
        ),
    ] {
        assert_eq!(
            refusal(&web("tcp://203.0.113.80:80", listener)),
            format!("s.toml:3:11: service[0].listen[0]: {why}")
        );
    }
}

#[test]
fn backends_are_addresses_that_packets_can_go_to() {
    for (address, why) in [
        (
            "10.0.1.11:0",
            "port 0 is no backend's: name its port, or none to keep the listener's",
        ),
        (
            "web-1",
            "`web-1` is not an address, names are not resolved: write the address",
        ),
        (
            "tcp://10.0.1.1:80",
            "`tcp://10.0.1.1:80` is not a backend's address, write `10.0.1.1:80` alone",
        ),
        (
            "127.0.0.1:80",
            "127.0.0.1 is a loopback address, use an address of the backend",
        ),
        (
            "224.0.0.1",
            "224.0.0.1 is a multicast address, use an address of the backend",
        ),
        (
            "10\\n",
            "`10\\n` is not an address and port, write it as in 192.0.2.1:80 or [2001:db8::1]:80",
        ),
        (
            "203.0.113.80:8080",
            "203.0.113.80 is a VIP of service `web`, use the backend's own address",
        ),
    ] {
        assert_eq!(
            refusal(&web("10.0.1.11:8080", address)),
            format!("s.toml:7:11: service[0].backend[0].address: {why}")
        );
    }
}

#[test]
fn weights_are_small_numbers() {
    for (weight, why) in [
        ("257", "257 is out of range, use 0 to 256"),
        ("-1", "-1 is out of range, use 0 to 256"),
        ("'heavy'", "expected an integer, found a string"),
    ] {
        assert_eq!(
            refusal(&format!("{WEB}weight = {weight}")),
            format!("s.toml:10:10: service[0].backend[1].weight: {why}")
        );
    }
    assert_eq!(
        refusal(&format!("{WEB}backup = true")),
        "s.toml:10:1: service[0].backend[1].backup: unknown key, known here: `name`, `address`, `weight`"
    );
}

#[test]
fn settings_of_a_service_are_what_exists_by_now() {
    for (line, message) in [
        (
            "forward = 'nat'",
            "3:11: service[0].forward: `nat` is not supported yet, use `dnat`, `dsr`, `ipip`, `gue`",
        ),
        (
            "forward = 'dant'",
            "3:11: service[0].forward: `dant` is unknown, did you mean `dnat`?",
        ),
        (
            "scheduler = 'random'",
            "3:13: service[0].scheduler: `random` is not supported yet, use `maglev`",
        ),
        (
            "vip_assign = 'lo'",
            "3:1: service[0].vip_assign: unknown key, known here: `name`, `listen`, `forward`, `gue_port`, `scheduler`, `table_size`, `hash`, `source_prefix_ipv4`, `source_prefix_ipv6`, `tracking`, `transition_window`, `flow_idle`, `on_death`, `drain_timeout`, `slow_start`, `health`, `backend`",
        ),
        (
            "table_size = 16380",
            "3:14: service[0].table_size: 16380 is not a prime, use 16369 or 16381",
        ),
        (
            "table_size = 1",
            "3:14: service[0].table_size: 1 is out of range, use 2 to 67108864",
        ),
    ] {
        let text = web("name = \"web\"", &format!("name = \"web\"\n{line}"));
        assert_eq!(refusal(&text), format!("s.toml:{message}"));
    }
}

#[test]
fn a_table_has_a_slot_for_every_backend() {
    let three = format!("{WEB}[[service.backend]]\naddress = '10.0.1.13'");
    assert_eq!(
        refusal(&three.replace("\"web\"", "\"web\"\ntable_size = 2")),
        "s.toml:3:14: service[0].table_size: 2 slots do not go round for 3 backends, use a prime of at least 96"
    );
}
