//! `overrides.json` below `state_dir`: written whole and moved into place, so that a crash leaves
//! the old one or the new one.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Change, Target};
use crate::model::{Admin, Override};

/// Below `state_dir`.
const NAME: &str = "overrides.json";

/// What files begin with that were not yet moved into place.
const UNFINISHED: &str = ".overrides-";

/// Raised when an older daemon could no longer read the file.
const SCHEMA: u32 = 1;

/// Longer than any that a daemon wrote: a backend takes some hundred bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Why what the operator said is not known, or was not noted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and cannot be read.
    #[error(
        "cannot read what was said of backends in {}: {source}; make it readable, or remove it to \
         go back to the configuration",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No daemon wrote this.
    #[error(
        "{} is damaged: {why}; mend it, or remove it to go back to the configuration",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A later release wrote it.
    #[error(
        "{} is of a later release (schema {schema}, this one knows {SCHEMA}); start that one, or \
         remove the file to go back to the configuration",
        path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: u32,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}; nothing has changed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file's first look: enough to tell whose it is.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    overrides: Vec<Entry>,
}

/// What is said of one backend.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: String,
    backend: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

/// [`Admin`], as far as it is said.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Draining,
    Disabled,
}

/// What is kept in `folder`.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<Target, Override>, Error> {
    let path = folder.join(NAME);
    let mut bytes = Vec::new();
    let whole = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    match whole {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(Error::Read { path, source }),
    }
    match parse(&bytes) {
        Ok(said) => Ok(said),
        Err(Wrong::Later(schema)) => Err(Error::Later { path, schema }),
        Err(Wrong::Damaged(why)) => Err(Error::Damaged { path, why }),
    }
}

/// Keeps `said` in `folder`, which is made if need be. It is on disk when this returns.
pub(super) fn write(folder: &Path, said: &BTreeMap<Target, Override>) -> Result<(), Error> {
    let path = folder.join(NAME);
    text(said)
        .and_then(|text| replace(folder, &path, &text))
        .map_err(|source| Error::Write { path, source })
}

fn replace(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)?;
    remove_unfinished(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is in the folder, which is written on its own. What is in place by now is in
    // force, so this failure is no refusal.
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        log::warn!(
            "{} may not outlive a power failure: writing its folder: {error}",
            path.display()
        );
    }
    Ok(())
}

/// What a daemon left that died while it wrote. There is one daemon an instance, so nobody else
/// writes now.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn text(said: &BTreeMap<Target, Override>) -> io::Result<Vec<u8>> {
    let entry = |(target, said): (&Target, &Override)| {
        let Override { admin, weight } = *said;
        Entry {
            service: target.service.to_string(),
            backend: target.backend.to_string(),
            admin: match admin {
                Admin::Enabled => None,
                Admin::Draining => Some(Word::Draining),
                Admin::Disabled => Some(Word::Disabled),
            },
            weight,
        }
    };
    let document = Document {
        schema: SCHEMA,
        overrides: said.iter().map(entry).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

enum Wrong {
    Later(u32),
    Damaged(String),
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<Target, Override>, Wrong> {
    let damaged = |error: serde_json::Error| Wrong::Damaged(error.to_string());
    let Schema { schema } = serde_json::from_slice(bytes).map_err(damaged)?;
    if schema != SCHEMA {
        return Err(match schema {
            0 => Wrong::Damaged("schema 0 never was".to_owned()),
            later => Wrong::Later(later),
        });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(damaged)?;
    let mut said = BTreeMap::new();
    for entry in document.overrides {
        let Entry {
            service,
            backend,
            admin,
            weight,
        } = entry;
        let target = Target {
            service: service.into(),
            backend: backend.into(),
        };
        if weight.is_some_and(|weight| weight > Change::MAX_WEIGHT) {
            let why = format!("{target} has a weight above {}", Change::MAX_WEIGHT);
            return Err(Wrong::Damaged(why));
        }
        let admin = match admin {
            None => Admin::Enabled,
            Some(Word::Draining) => Admin::Draining,
            Some(Word::Disabled) => Admin::Disabled,
        };
        let twice = format!("{target} stands twice");
        if said.insert(target, Override { admin, weight }).is_some() {
            return Err(Wrong::Damaged(twice));
        }
    }
    Ok(said)
}
