use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::config;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn model(text: &str) -> Model {
    config::parse("s.toml", text).unwrap().model
}

const WEB: &str = r#"
[[service]]
name = "web"
listen = ["tcp://203.0.113.80:80"]
backend = [
    { name = "web-1", address = "10.0.1.11:8080" },
    { address = "10.0.1.12:8080" },
]
"#;

/// What a folder says, and its file.
fn kept(folder: &TempDir) -> (Overrides, PathBuf) {
    let overrides = Overrides::load(folder.path()).unwrap();
    (overrides, folder.path().join("overrides.json"))
}

#[test]
fn what_is_said_outlives_who_heard_it() {
    let folder = TempDir::new().unwrap();
    let (mut overrides, path) = kept(&folder);
    assert!(
        !path.exists(),
        "nothing is written before something is said"
    );
    let web_1 = target("web/web-1");
    assert!(overrides.change(&web_1, Change::Drain).unwrap());
    assert!(overrides.change(&web_1, Change::Weight(7)).unwrap());
    assert!(
        overrides
            .change(&target("web/10.0.1.12:8080"), Change::Disable)
            .unwrap()
    );
    let (again, _) = kept(&folder);
    assert_eq!(
        again.get(&web_1),
        Override {
            admin: Admin::Draining,
            weight: Some(7)
        }
    );
    assert_eq!(again.said, overrides.said);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    insta::assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
    {
      "schema": 1,
      "overrides": [
        {
          "service": "web",
          "backend": "10.0.1.12:8080",
          "admin": "disabled"
        },
        {
          "service": "web",
          "backend": "web-1",
          "admin": "draining",
          "weight": 7
        }
      ]
    }
    "#);
}

#[test]
fn each_change_touches_what_it_names() {
    let folder = TempDir::new().unwrap();
    let (mut overrides, _) = kept(&folder);
    let web = target("web/web-1");
    let mut step = |change, admin, weight, changed| {
        assert_eq!(
            overrides.change(&web, change).unwrap(),
            changed,
            "{change:?}"
        );
        assert_eq!(
            overrides.get(&web),
            Override { admin, weight },
            "{change:?}"
        );
    };
    step(Change::Undrain, Admin::Enabled, None, false);
    step(Change::Drain, Admin::Draining, None, true);
    step(Change::Drain, Admin::Draining, None, false);
    step(Change::Weight(0), Admin::Draining, Some(0), true);
    step(Change::Undrain, Admin::Enabled, Some(0), true);
    step(Change::Disable, Admin::Disabled, Some(0), true);
    step(Change::Undrain, Admin::Disabled, Some(0), false);
    step(Change::Enable, Admin::Enabled, Some(0), true);
    step(Change::ResetWeight, Admin::Enabled, None, true);
    step(Change::Drain, Admin::Draining, None, true);
    step(Change::Weight(3), Admin::Draining, Some(3), true);
    step(Change::Reset, Admin::Enabled, None, true);
    assert!(overrides.said.is_empty(), "nothing is left of it");
}

#[test]
fn names_find_their_backends_and_those_of_the_gone_are_kept() {
    let folder = TempDir::new().unwrap();
    let (mut overrides, _) = kept(&folder);
    for name in ["web/web-1", "web/web-9", "mail/web-1"] {
        overrides.change(&target(name), Change::Drain).unwrap();
    }
    let model = model(WEB);
    let resolved = overrides.resolve(&model);
    let service = &model.services[0];
    assert_eq!(resolved.len(), 1);
    assert_eq!(
        resolved[&service.key(&service.backends[0])].admin,
        Admin::Draining
    );
    let absent: Vec<_> = overrides.absent(&model).map(ToString::to_string).collect();
    assert_eq!(absent, ["mail/web-1", "web/web-9"]);
    // It follows the name to another address.
    let moved = self::model(&WEB.replace("10.0.1.11", "10.0.1.99"));
    let key = moved.services[0].key(&moved.services[0].backends[0]);
    assert!(overrides.resolve(&moved).contains_key(&key));
}

#[test]
fn a_damaged_file_is_refused_in_one_line_that_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overrides.json");
    for (text, why) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"overrides":[]}"#, "missing field `schema`"),
        (r#"{"schema":0,"overrides":[]}"#, "schema 0 never was"),
        (
            r#"{"schema":1,"overrides":[{}]}"#,
            "missing field `service`",
        ),
        (
            r#"{"schema":1,"overrides":[{"service":"a","backend":"b","admin":"asleep"}]}"#,
            "unknown variant `asleep`",
        ),
        (
            r#"{"schema":1,"overrides":[{"service":"a","backend":"b","weight":257}]}"#,
            "a/b has a weight above 256",
        ),
        (
            r#"{"schema":1,"overrides":[{"service":"a","backend":"b"},{"service":"a","backend":"b"}]}"#,
            "a/b stands twice",
        ),
        (r#"{"schema":2,"new":1}"#, "is of a later release (schema 2"),
    ] {
        fs::write(&path, text).unwrap();
        let line = Overrides::load(folder.path()).unwrap_err().to_string();
        assert!(line.contains(why), "{why}: {line}");
        assert!(line.contains(&*path.to_string_lossy()), "{line}");
        assert!(line.ends_with("to go back to the configuration"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let line = Overrides::load(folder.path()).unwrap_err().to_string();
    assert!(line.contains("cannot read"), "{line}");
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let in_the_way = folder.path().join("state");
    fs::write(&in_the_way, "a file").unwrap();
    let mut overrides = Overrides {
        folder: in_the_way,
        said: BTreeMap::new(),
    };
    let web = target("web/web-1");
    let line = overrides
        .change(&web, Change::Drain)
        .unwrap_err()
        .to_string();
    assert!(line.starts_with("cannot write"), "{line}");
    assert!(line.ends_with("nothing has changed"), "{line}");
    assert_eq!(overrides.get(&web), Override::default());
}

#[test]
fn what_a_crash_left_unfinished_is_removed() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".overrides-x1y2z3"), "half of").unwrap();
    fs::write(folder.path().join("other"), "not ours").unwrap();
    let (mut overrides, _) = kept(&folder);
    overrides
        .change(&target("web/web-1"), Change::Drain)
        .unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["other", "overrides.json"]);
}

#[test]
fn a_target_is_two_names() {
    let both = target("web/[fd00::1]:80");
    assert_eq!((&*both.service, &*both.backend), ("web", "[fd00::1]:80"));
    assert_eq!(both.to_string(), "web/[fd00::1]:80");
    for wrong in ["", "web", "web/", "/b1"] {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
}
