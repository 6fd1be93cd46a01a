//! `[[service.health]]`: what it means, and what is refused in which words.

use super::{WEB, accepted, refusal, refusals};
use crate::model::{HttpProbe, Probe};

/// [`WEB`] with other lines in its health check, from line 5 on.
fn health(lines: &str) -> String {
    WEB.replacen("type = \"tcp\"", lines, 1)
}

#[track_caller]
fn http(lines: &str) -> HttpProbe {
    let [service] = accepted(&health(lines)).model.services.try_into().unwrap();
    match service.health.unwrap().probe {
        Probe::Http(http) => http,
        Probe::Tcp => panic!("not HTTP"),
    }
}

#[test]
fn an_http_check_asks_for_the_root_and_expects_200() {
    assert_eq!(
        http("type = 'http'"),
        HttpProbe {
            path: "/".to_owned(),
            host: None,
            expect_status: vec![200],
        }
    );
}

#[test]
fn an_http_check_asks_what_it_is_told_to() {
    assert_eq!(
        http(
            "type = 'http'\npath = '/healthz?deep=%20'\nhost = 'www.example.com:8080'\n\
             expect_status = [599, 200]"
        ),
        HttpProbe {
            path: "/healthz?deep=%20".to_owned(),
            host: Some("www.example.com:8080".to_owned()),
            expect_status: vec![599, 200],
        }
    );
}

#[test]
fn an_http_check_asks_what_can_be_asked() {
    let long = "x".repeat(1024);
    let slash_long = format!("path = '/{long}'");
    let quoted_long = format!("`/{}...`", &long[..79]);
    for (line, message) in [
        ("path = 'healthz'", "path: `healthz` is not a path, begin with /".to_owned()),
        ("path = ''", "path: `` is not a path, begin with /".to_owned()),
        (
            "path = '/a b'",
            "path: `/a b` holds what a request cannot, write %20 for a space and leave out what follows #".to_owned(),
        ),
        (
            "path = \"/a\\r\\nx: y\"",
            "path: `/a\\r\\nx: y` holds what a request cannot, write %20 for a space and leave out what follows #".to_owned(),
        ),
        (
            slash_long.as_str(),
            format!("path: {quoted_long} is too long a path, use at most 1024 bytes"),
        ),
        (
            "host = 'a/b'",
            "host: `a/b` is not a host, write a name such as www.example.com, or leave it out".to_owned(),
        ),
        (
            "host = ''",
            "host: `` is not a host, write a name such as www.example.com, or leave it out".to_owned(),
        ),
        (
            "expect_status = []",
            "expect_status: is empty, write the status codes that pass such as [200, 204]".to_owned(),
        ),
        (
            "expect_status = 200",
            "expect_status: expected an array, found an integer".to_owned(),
        ),
        (
            "expect_status = ['2xx']",
            "expect_status[0]: expected an integer, found a string".to_owned(),
        ),
    ] {
        let line = refusal(&health(&format!("type = 'http'\n{line}")));
        let (place, found) = line.split_once(": service[0].health[0].").unwrap();
        assert!(place.starts_with("s.toml:6:"), "{line}");
        assert_eq!(found, message);
    }
    assert_eq!(
        refusals(&health(
            "type = 'http'\nexpect_status = [200, 100, 600, 204, 200]"
        )),
        [
            "s.toml:6:23: service[0].health[0].expect_status[1]: 100 is out of range, use 200 to 599",
            "s.toml:6:28: service[0].health[0].expect_status[2]: 600 is out of range, use 200 to 599",
            "s.toml:6:38: service[0].health[0].expect_status[4]: 200 stands twice, write each status once",
        ]
    );
}

#[test]
fn a_tcp_check_has_no_use_for_what_http_asks() {
    let message = "means something to HTTP only, remove it or write type = \"http\"";
    assert_eq!(
        refusals(&health(
            "type = 'tcp'\npath = '/'\nhost = 'x'\nexpect_status = [200]"
        )),
        [
            format!("s.toml:6:8: service[0].health[0].path: {message}"),
            format!("s.toml:7:8: service[0].health[0].host: {message}"),
            format!("s.toml:8:17: service[0].health[0].expect_status: {message}"),
        ]
    );
}

#[test]
fn health_checks_are_what_exists_by_now_and_can_end() {
    for (lines, message) in [
        (
            "type = 'https'",
            "5:8: service[0].health[0].type: `https` is not supported yet, use `tcp`, `http`",
        ),
        (
            "type = 'tpc'",
            "5:8: service[0].health[0].type: `tpc` is unknown, did you mean `tcp`?",
        ),
        (
            "type = 'http'\nmethod = 'HEAD'",
            "6:1: service[0].health[0].method: unknown key, known here: `type`, `path`, `host`, `expect_status`, `interval`, `timeout`, `rise`, `fall`",
        ),
        (
            "type = 'tcp'\ninterval = 1",
            "6:12: service[0].health[0].interval: expected a duration in quotes such as \"1s\", found an integer",
        ),
        (
            "type = 'tcp'\ninterval = '1'",
            "6:12: service[0].health[0].interval: `1` is not a duration, write a number and its unit such as 500ms, 1s or 2m",
        ),
        (
            "type = 'tcp'\ninterval = '2h'",
            "6:12: service[0].health[0].interval: `2h` is out of range, use 1ms to 1h",
        ),
        (
            "type = 'tcp'\ntimeout = '0s'",
            "6:11: service[0].health[0].timeout: `0s` is out of range, use 1ms to 1h",
        ),
        (
            "type = 'tcp'\ntimeout = '2s'",
            "6:11: service[0].health[0].timeout: the timeout of 2s is longer than the interval of 1s, shorten it or check less often",
        ),
        (
            "type = 'tcp'\ninterval = '100ms'",
            "6:12: service[0].health[0].interval: the timeout of 500ms is longer than the interval of 100ms, shorten it or check less often",
        ),
        (
            "type = 'tcp'\nrise = 0",
            "6:8: service[0].health[0].rise: 0 is out of range, use 1 to 1000",
        ),
        (
            "type = 'tcp'\nfall = 0",
            "6:8: service[0].health[0].fall: 0 is out of range, use 1 to 1000",
        ),
        (
            "type = 'tcp'\n[[service.health]]\ntype = 'tcp'",
            "6:1: service[0].health[1]: more than one health check a service is not supported yet, keep one",
        ),
    ] {
        assert_eq!(refusal(&health(lines)), format!("s.toml:{message}"));
    }
    assert_eq!(
        refusal(&WEB.replacen("[[service.health]]", "[service.health]", 1)),
        "s.toml:4:1: service[0].health: expected an array, found a table: write [[ ]], not [ ]"
    );
}
