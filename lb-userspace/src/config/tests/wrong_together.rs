//! What is refused although each part by itself is right, in the exact words.

use super::{WEB, accepted, refusal, refusals};

/// A second service beside [`WEB`], which differs from it as `change` says.
fn beside(change: impl Fn(&str) -> String) -> String {
    format!("{WEB}{}", change(WEB))
}

#[test]
fn services_have_names_and_listeners_of_their_own() {
    let text = beside(|web| web.replace("8080", "81"));
    assert_eq!(
        refusals(&text),
        [
            "s.toml:11:8: service[1].name: `web` is already a service at s.toml:2:8, use another name",
            "s.toml:12:11: service[1].listen[0]: tcp://203.0.113.80:80 is already a listener of service `web` at s.toml:3:11, use another address or port",
        ]
    );
    let twice = "\"tcp://203.0.113.80:80\", \"tcp://203.0.113.80:80\"";
    assert_eq!(
        refusal(
            &WEB.replace("\"tcp://203.0.113.80:80\"", twice)
                .replace(":8080", "")
        ),
        "s.toml:3:36: service[0].listen[1]: tcp://203.0.113.80:80 is already a listener of service `web` at s.toml:3:11, use another address or port"
    );
}

#[test]
fn backends_of_a_service_differ_in_address_and_name() {
    assert_eq!(
        refusal(&WEB.replace("10.0.1.12", "10.0.1.11")),
        "s.toml:9:11: service[0].backend[1].address: 10.0.1.11:8080 is already a backend of this service at s.toml:7:11, use its weight to give it more"
    );
    // The same place, as the only listener's port is kept.
    let text = WEB
        .replace("10.0.1.11:8080", "10.0.1.11:80")
        .replace("10.0.1.12:8080", "10.0.1.11");
    assert_eq!(
        refusal(&text),
        "s.toml:9:11: service[0].backend[1].address: 10.0.1.11 is already a backend of this service at s.toml:7:11, use its weight to give it more"
    );
    let text = format!("{WEB}name = 'n'\n[[service.backend]]\naddress = '10.0.1.13'\nname = 'n'");
    assert_eq!(
        refusal(&text),
        "s.toml:13:8: service[0].backend[2].name: `n` is already the name of the backend at s.toml:10:8, use another name"
    );
}

#[test]
fn with_several_listeners_their_ports_are_kept() {
    let two = |second| {
        let listen = format!("\"tcp://203.0.113.80:80\", \"{second}\"");
        WEB.replace("\"tcp://203.0.113.80:80\"", &listen)
    };
    assert_eq!(
        refusals(&two("tcp://203.0.113.80:443")),
        [
            "s.toml:7:11: service[0].backend[0].address: with several listeners each one's port is kept: write 10.0.1.11 without a port, or a service for each listener",
            "s.toml:9:11: service[0].backend[1].address: with several listeners each one's port is kept: write 10.0.1.12 without a port, or a service for each listener",
        ]
    );
    accepted(&two("tcp://203.0.113.80:443").replace(":8080", ""));
    assert_eq!(
        refusal(&two("tcp://203.0.113.81:80").replace(":8080", "")),
        "s.toml:3:36: service[0].listen[1]: tcp://203.0.113.81:80 has the port of tcp://203.0.113.80:80: replies of the backends could not be told apart, use another port, or a service of its own with other backend ports"
    );
}

#[test]
fn a_reply_tells_which_vip_it_belongs_to() {
    let other = |web: &str| {
        web.replace("web", "api")
            .replace("203.0.113.80", "203.0.113.81")
    };
    assert_eq!(
        refusals(&beside(other)),
        [
            "s.toml:16:11: service[1].backend[0].address: 10.0.1.11:8080 is already a backend of dnat service `web` at s.toml:7:11, its replies could not be told from those of `api`: use another port",
            "s.toml:18:11: service[1].backend[1].address: 10.0.1.12:8080 is already a backend of dnat service `web` at s.toml:9:11, its replies could not be told from those of `api`: use another port",
        ]
    );
    accepted(&beside(|web| other(web).replace("8080", "8081")));

    // Ports that are kept count as well.
    let kept = |web: &str| {
        other(web)
            .replace(":80\"", ":8080\"")
            .replace("1:8080\"\n[", "1\"\n[")
    };
    assert_eq!(
        refusals(&beside(kept)),
        [
            "s.toml:16:11: service[1].backend[0].address: 10.0.1.11:8080 is already a backend of dnat service `web` at s.toml:7:11, its replies could not be told from those of `api`: use another port",
            "s.toml:18:11: service[1].backend[1].address: 10.0.1.12:8080 is already a backend of dnat service `web` at s.toml:9:11, its replies could not be told from those of `api`: use another port",
        ]
    );
}

#[test]
fn a_vip_is_no_backend_of_any_service() {
    let text = beside(|web| {
        web.replace("web", "api")
            .replace("203.0.113.80:80", "203.0.113.81:80")
            .replace("10.0.1.11", "203.0.113.80")
            .replace("10.0.1.12", "203.0.113.81")
    });
    assert_eq!(
        refusals(&text),
        [
            "s.toml:16:11: service[1].backend[0].address: 203.0.113.80 is a VIP of service `web`, use the backend's own address",
            "s.toml:18:11: service[1].backend[1].address: 203.0.113.81 is a VIP of service `api`, use the backend's own address",
        ]
    );
}

#[test]
fn services_fit_the_limits() {
    let two = beside(|web| {
        web.replace("web", "api")
            .replace("203.0.113.80", "203.0.113.81")
            .replace("8080", "81")
    });
    assert_eq!(
        refusals(&format!(
            "[limits]\nservices = 1\nbackends = 3\nslots = 32761\n{two}"
        )),
        [
            "s.toml:2:12: limits.services: all services together have 2 services, it allows 1: raise it",
            "s.toml:3:12: limits.backends: all services together have 4 backends, it allows 3: raise it",
            "s.toml:4:9: limits.slots: all services together have 32762 slots, it allows 32761: raise it",
        ]
    );
    accepted(&format!(
        "[limits]\nservices = 2\nbackends = 4\nslots = 32762\n{two}"
    ));
    assert_eq!(
        refusal(&WEB.replace("\"web\"", "\"web\"\ntable_size = 2097169")),
        "s.toml: limits.slots: all services together have 2097169 slots, it allows 2097152: raise it"
    );
}

#[test]
fn listeners_fit_the_limits() {
    let listen: Vec<_> = (1..=9)
        .map(|p| format!("\"tcp://203.0.113.80:{p}\""))
        .collect();
    let text = WEB
        .replace("\"tcp://203.0.113.80:80\"", &listen.join(", "))
        .replace(":8080", "");
    assert_eq!(
        refusal(&format!("limits.services = 1\n{text}")),
        "s.toml:1:19: limits.services: all services together have 9 listeners, it allows 8: raise it"
    );
}
