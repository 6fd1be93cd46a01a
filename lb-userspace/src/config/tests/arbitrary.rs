//! Whatever stands in the file: an answer, never a panic, and every line of it can be printed.

use proptest::{collection::vec, prelude::*};

use super::corpus::property::holds as answer;
use crate::config::{parse, starter};

/// A valid configuration that has every section.
fn valid() -> String {
    let starter = starter("eth0");
    let starter = starter.replacen(
        "[daemon]",
        "[daemon]\ntunnel_source_ipv4 = \"10.64.0.1/16\"\ntunnel_source_ipv6 = \"fd00::1\"",
        1,
    );
    format!(
        "{starter}weight = 7\n[limits]\nservices = 4\nbackends = 8\nslots = 65536\n\
         [[service]]\nname = \"dns\"\nlisten = [\"udp://[2001:db8::53]:53\"]\n\
         forward = \"gue\"\ngue_port = 6080\nhash = \"source\"\nsource_prefix_ipv4 = 24\n\
         backend = [{{ address = \"fd77:2::11\" }}, {{ address = \"10.0.1.11\" }}]\n"
    )
}

/// What stands in configurations, right and wrong.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "[[service]]",
            "[service]",
            "[daemon]",
            "[limits]",
            "service",
            "health",
            "backend",
            "listen",
            "address",
            "weight",
            "name",
            "seed",
            "=",
            "\"",
            "'",
            "[",
            "]",
            "{",
            "}",
            ",",
            ".",
            "\n",
            "-1",
            "0",
            "99999999999999999999",
            "1.5",
            "true",
            "1979-05-27",
            "[]",
            "[[]]",
            "[{}]",
            "\"tcp://[::1]:1\"",
            "\"tcp://[2001:db8::80]:0\"",
            "\"fd77:2::11:80\"",
            "\"fe80::1%eth0\"",
            "\"10.64.0.1/16\"",
            "\"ipip\"",
            "\"gue\"",
            "\"source\"",
            "tunnel_source_ipv4",
            "tunnel_source_ipv6",
            "source_prefix_ipv6",
            "\"tcp://0:0\"",
            "\"\\u0000\\n\"",
            "\"1h\"",
            "ü",
            "\u{feff}",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..200)) {
        answer(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_fragments_get_an_answer(fragments in vec(fragment(), 0..40)) {
        answer(&fragments.concat());
    }

    #[test]
    fn a_damaged_configuration_gets_an_answer(
        damages in vec((any::<prop::sample::Index>(), 0_usize..12, fragment()), 1..6),
    ) {
        let mut text = valid();
        for (at, length, fragment) in damages {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &fragment);
        }
        answer(&text);
    }

    #[test]
    fn values_of_the_wrong_type_get_an_answer(
        line in any::<prop::sample::Index>(),
        value in fragment(),
    ) {
        let text = valid();
        let keys: Vec<_> = text.lines().filter(|l| l.contains(" = ")).collect();
        let line = keys[line.index(keys.len())];
        let key = line.split(" = ").next().unwrap_or_default();
        answer(&text.replacen(line, &format!("{key} = {value}"), 1));
    }
}

#[test]
fn the_undamaged_configuration_is_valid() {
    parse("s.toml", &valid()).unwrap();
}

#[test]
fn a_flood_of_mistakes_is_cut_short() {
    let text: String = (0..5000).map(|i| format!("key{i} = 1\n")).collect();
    let error = parse("s.toml", &text).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 101);

    let backends: String = (0..5000).map(|_| "{ address = '10.0.0.1' },").collect();
    let text = format!(
        "[[service]]\nname = 'w'\nlisten = ['tcp://203.0.113.1:1']\nbackend = [{backends}]"
    );
    let error = parse("s.toml", &text).unwrap_err().to_string();
    assert_eq!(error.lines().last(), Some("and 4899 more"));
}
