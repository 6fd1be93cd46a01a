//! Reads the files that make up a configuration. Knows where they lie, not what they say.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{document, error::Error};

/// Longer than any configuration within the limits; a device named by mistake has no end.
const MAX_BYTES: u64 = 256 << 20;

/// A file's path and text.
pub(super) struct FileText {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// The file at `path`, then `conf.d/*.toml` beside it in lexical order.
pub(super) fn read(path: &Path) -> Result<Vec<FileText>, Error> {
    let mut files = vec![read_one(path.to_owned())?];
    let folder = path.with_file_name("conf.d");
    for drop_in in drop_ins(&folder).map_err(|source| Error::Read {
        path: folder.clone(),
        source,
    })? {
        files.push(read_one(drop_in)?);
    }
    Ok(files)
}

/// Editors leave hidden files behind: those are none of ours.
fn drop_ins(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        if !hidden && path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(paths)
}

fn read_one(path: PathBuf) -> Result<FileText, Error> {
    let bytes = match read_bytes(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(Error::Read { path, source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(FileText { path, text }),
        Err(e) => Err(Error::Invalid {
            findings: vec![document::not_utf8(
                &path.display().to_string(),
                e.as_bytes(),
                e.utf8_error().valid_up_to(),
            )],
            left_out: 0,
        }),
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "more than 256 MiB cannot be a configuration",
        ));
    }
    Ok(bytes)
}
