//! What is refused of the syntax, `[daemon]`, `[limits]` and `[[interface]]`, in the exact words.

use super::{refusal, refusals};

#[test]
fn mistakes_of_syntax_take_one_line() {
    for (text, line) in [
        (
            "[daemon",
            "s.toml:1:8: not TOML: unclosed table, expected `]`",
        ),
        ("a = 1\na = 2", "s.toml:2:1: not TOML: duplicate key"),
        (
            "[daemon]\nseed = \"x",
            "s.toml:2:10: not TOML: invalid basic string, expected `\"`",
        ),
        (
            "# \u{fc}\n\u{fc} = 1",
            "s.toml:2:1: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`",
        ),
    ] {
        assert_eq!(refusal(text), line);
    }
}

#[test]
fn unknown_keys_are_refused_with_what_was_likely_meant() {
    assert_eq!(
        refusals(
            "interfaces = []\n\"odd key\" = 1\n[daemon]\ninstnce = 'a'\nmetrics = '127.0.0.1:9877'\n\
             [limits]\nflows_ipv5 = 1\n[[interface]]\nname = 'e'\nmtu = 1500"
        ),
        [
            "s.toml:1:1: interfaces: unknown key, did you mean `interface`?",
            "s.toml:2:1: \"odd key\": unknown key, known here: `daemon`, `limits`, `interface`, `service`",
            "s.toml:4:1: daemon.instnce: unknown key, did you mean `instance`?",
            "s.toml:5:1: daemon.metrics: unknown key, known here: `instance`, `admin_socket`, `bpffs`, `state_dir`, `on_stop`, `seed`, `tunnel_source_ipv4`, `tunnel_source_ipv6`",
            "s.toml:7:1: limits.flows_ipv5: unknown key, did you mean `flows_ipv4`?",
            "s.toml:10:1: interface[0].mtu: unknown key, known here: `name`, `xdp`, `vlan`",
        ]
    );
}

#[test]
fn wrong_types_are_refused() {
    for (text, line) in [
        (
            "daemon = 3",
            "s.toml:1:10: daemon: expected a table, found an integer",
        ),
        (
            "daemon = ['blue']",
            "s.toml:1:10: daemon: expected a table, found an array",
        ),
        (
            "[[daemon]]\nseed = 's'",
            "s.toml:1:1: daemon[0]: expected a table, found an array: write [ ], not [[ ]]",
        ),
        (
            "[interface]\nname = 'eth0'",
            "s.toml:1:1: interface: expected an array, found a table: write [[ ]], not [ ]",
        ),
        (
            "interface = ['eth0']",
            "s.toml:1:14: interface[0]: expected a table, found a string",
        ),
        (
            "[limits]\nslots = '16'",
            "s.toml:2:9: limits.slots: expected an integer, found a string",
        ),
        (
            "[limits]\nslots = 1.5",
            "s.toml:2:9: limits.slots: expected an integer, found a float",
        ),
        (
            "[limits]\nslots = 99999999999999999999",
            "s.toml:2:9: limits.slots: expected an integer, found one that is out of range",
        ),
        (
            "[daemon]\nstate_dir = 1979-05-27",
            "s.toml:2:13: daemon.state_dir: expected a string, found a date or time",
        ),
        (
            "[daemon]\non_stop = true",
            "s.toml:2:11: daemon.on_stop: expected a string, found a boolean",
        ),
    ] {
        assert_eq!(refusal(text), line);
    }
}

#[test]
fn a_seed_is_never_repeated() {
    let line = refusal("[daemon]\nseed = 31415926");
    assert_eq!(
        line,
        "s.toml:2:8: daemon.seed: expected a string, found an integer"
    );
    let line = refusal("[daemon]\nseed = 'hush\n");
    assert!(!line.contains("hush"), "{line}");
}

#[test]
fn instances_are_safe_in_paths() {
    for (name, quoted) in [("Big", "Big"), ("", ""), ("../x", "../x"), ("a\\n", "a\\n")] {
        assert_eq!(
            refusal(&format!("[daemon]\ninstance = \"{name}\"")),
            format!(
                "s.toml:2:12: daemon.instance: `{quoted}` is not an instance's name, \
                 use 1 to 32 of a-z, 0-9 and -"
            )
        );
    }
    let long = "x".repeat(33);
    assert!(refusal(&format!("[daemon]\ninstance = '{long}'")).contains("is not an instance's"));
}

#[test]
fn paths_are_absolute_and_sockets_fit() {
    assert_eq!(
        refusals("[daemon]\nstate_dir = 'var'\nbpffs = \"/a\\u0000b\"\nadmin_socket = '/run/'"),
        [
            "s.toml:2:13: daemon.state_dir: `var` is not an absolute path, begin with /",
            "s.toml:3:9: daemon.bpffs: holds a NUL, which no path can",
            "s.toml:4:16: daemon.admin_socket: is a folder, name the socket in it",
        ]
    );
    let socket = |length: usize| format!("[daemon]\nadmin_socket = '/{}'", "s".repeat(length - 1));
    super::accepted(&socket(107));
    assert_eq!(
        refusal(&socket(108)),
        "s.toml:2:16: daemon.admin_socket: is 108 bytes long, a socket's path has at most 107: use a shorter one"
    );
}

#[test]
fn other_settings_of_the_daemon_are_words_or_text() {
    for (line, message) in [
        (
            "on_stop = 'kep'",
            "2:11: daemon.on_stop: `kep` is unknown, did you mean `keep`?",
        ),
        (
            "on_stop = 'explode'",
            "2:11: daemon.on_stop: `explode` is unknown, known here: `detach`, `keep`",
        ),
        (
            "seed = ''",
            "2:8: daemon.seed: is empty, write any text that others do not know",
        ),
    ] {
        assert_eq!(
            refusal(&format!("[daemon]\n{line}")),
            format!("s.toml:{message}")
        );
    }
}

#[test]
fn limits_are_neither_zero_nor_absurd() {
    assert_eq!(
        refusals("[limits]\nservices = 0\nbackends = 1048577\nslots = 15"),
        [
            "s.toml:2:12: limits.services: 0 is out of range, use 1 to 65536",
            "s.toml:3:12: limits.backends: 1048577 is out of range, use 1 to 1048576",
            "s.toml:4:9: limits.slots: 15 is out of range, use 16 to 67108864",
        ]
    );
    assert_eq!(
        refusals("[limits]\nservices = 65537\nbackends = -1\nslots = 67108865"),
        [
            "s.toml:2:12: limits.services: 65537 is out of range, use 1 to 65536",
            "s.toml:3:12: limits.backends: -1 is out of range, use 1 to 1048576",
            "s.toml:4:9: limits.slots: 67108865 is out of range, use 16 to 67108864",
        ]
    );
    super::accepted("[limits]\nservices = 65536\nbackends = 1048576\nslots = 67108864");
    super::accepted("[limits]\nservices = 1\nbackends = 1\nslots = 16");
}

#[test]
fn interfaces_could_exist_and_stand_once() {
    assert_eq!(
        refusals(
            "[[interface]]\n[[interface]]\nname = 'a/b'\n[[interface]]\nname = 'sixteen-bytes-ab'\n\
             [[interface]]\nname = ''\n[[interface]]\nname = 'e'\nxdp = 'offload'\n\
             [[interface]]\nname = 'e'\nxdp = 'nativ'"
        ),
        [
            "s.toml:1:1: interface[0].name: missing, name an interface as `ip link` does",
            "s.toml:3:8: interface[1].name: `a/b` cannot be an interface, name it as `ip link` does",
            "s.toml:5:8: interface[2].name: `sixteen-bytes-ab` is too long for an interface, names have at most 15 bytes",
            "s.toml:7:8: interface[3].name: is empty, name an interface as `ip link` does",
            "s.toml:10:7: interface[4].xdp: `offload` is unknown, known here: `auto`, `native`, `generic`",
            "s.toml:12:8: interface[5].name: `e` stands already at s.toml:9:8, name each interface once",
            "s.toml:13:7: interface[5].xdp: `nativ` is unknown, did you mean `native`?",
        ]
    );
    for name in [".", "..", "a:b", "a b", "\u{e9}th0"] {
        let line = refusal(&format!("[[interface]]\nname = '{name}'"));
        assert!(line.contains("cannot be an interface"), "{line}");
    }
}
