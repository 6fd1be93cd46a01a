//! Files on disk: the main one and `conf.d`.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::config::{Error, load};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn service(name: &str, last: u8) -> String {
    format!(
        "[[service]]\nname = '{name}'\nlisten = ['tcp://203.0.113.{last}:80']\n\
         backend = [{{ address = '10.0.0.{last}' }}]\n"
    )
}

/// The error with the folder's name left out.
fn refusal(folder: &TempDir) -> String {
    let error = load(&folder.path().join("sluice.toml")).unwrap_err();
    let prefix = format!("{}/", folder.path().display());
    error.to_string().replace(&prefix, "")
}

#[test]
fn drop_ins_follow_the_main_file_in_lexical_order() {
    let folder = folder(&[
        ("sluice.toml", &service("main", 1)),
        ("conf.d/20-b.toml", &service("b", 3)),
        ("conf.d/10-a.toml", &service("a", 2)),
        ("conf.d/.30-editor.toml", "not = 'ours'"),
        ("conf.d/README", "nor this"),
    ]);
    let loaded = load(&folder.path().join("sluice.toml")).unwrap();
    let names: Vec<_> = loaded.model.services.iter().map(|s| &*s.name).collect();
    assert_eq!(names, ["main", "a", "b"]);
    let files: Vec<_> = loaded
        .files
        .iter()
        .map(|f| f.strip_prefix(folder.path()).unwrap())
        .collect();
    let expected = ["sluice.toml", "conf.d/10-a.toml", "conf.d/20-b.toml"].map(Path::new);
    assert_eq!(files, expected);
}

#[test]
fn drop_ins_hold_services_only() {
    let folder = folder(&[
        ("sluice.toml", ""),
        ("conf.d/a.toml", "[daemon]\nseed = 's'\n"),
    ]);
    assert_eq!(
        refusal(&folder),
        "conf.d/a.toml:1:2: daemon: unknown key, known here: `service`"
    );
}

#[test]
fn services_of_different_files_are_checked_against_each_other() {
    let folder = folder(&[
        ("sluice.toml", &service("web", 1)),
        ("conf.d/a.toml", &service("web", 1)),
        ("conf.d/b.toml", "[[service]]\nname = 'c'\nlisten = []\n"),
    ]);
    assert_eq!(
        refusal(&folder).lines().collect::<Vec<_>>(),
        [
            "conf.d/a.toml:2:8: service[0].name: `web` is already a service at sluice.toml:2:8, use another name",
            "conf.d/a.toml:3:11: service[0].listen[0]: tcp://203.0.113.1:80 is already a listener of service `web` at sluice.toml:3:11, use another address or port",
            "conf.d/a.toml:4:24: service[0].backend[0].address: 10.0.0.1:80 is already a backend of dnat service `web` at sluice.toml:4:24, its replies could not be told from those of `web`: use another port",
            "conf.d/b.toml:3:10: service[0].listen: is empty, write at least one address",
        ]
    );
}

#[test]
fn every_file_with_broken_syntax_is_named() {
    let folder = folder(&[("sluice.toml", "a = "), ("conf.d/a.toml", "\n\n[[service")]);
    let lines = refusal(&folder);
    let places: Vec<_> = lines.lines().filter_map(|l| l.split(": ").next()).collect();
    assert_eq!(places, ["sluice.toml:1:5", "conf.d/a.toml:3:10"]);
}

#[test]
fn a_missing_file_cannot_be_read() {
    let folder = folder(&[]);
    let error = load(&folder.path().join("sluice.toml")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    assert_eq!(
        refusal(&folder),
        "cannot read sluice.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let folder = folder(&[]);
    let path = folder.path().join("sluice.toml");
    fs::write(path, b"[daemon]\nseed = '\xc3\xbc\xff'\n").unwrap();
    assert_eq!(
        refusal(&folder),
        "sluice.toml:2:10: not UTF-8: save the file as UTF-8"
    );
}
