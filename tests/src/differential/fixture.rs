//! Setups and packets in files: what once showed a difference is looked at first, ever after.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{setup::Setup, site::Side};

/// A setup and its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it shows, or how it was found.
    pub about: String,
    /// The configuration and its state.
    pub setup: Setup,
    /// The packets, in their order.
    pub packets: Vec<PacketFile>,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketFile {
    /// The name of the interface that it comes in by.
    pub side: String,
    /// Its bytes in hexadecimal; spaces do not count.
    pub frame: String,
}

/// Names another folder for what is found.
const OTHER: &str = "SLUICE_MODEL_FOUND";

/// Where they are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/model")
}

/// Every fixture, with its file's name, in order.
pub fn all() -> Result<Vec<(String, Fixture)>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .with_context(|| format!("reading {}", folder().display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<(String, Fixture)> {
    let doing = || format!("reading {}", path.display());
    let text = fs::read_to_string(path).with_context(doing)?;
    let fixture = serde_json::from_str(&text).with_context(doing)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), fixture))
}

impl Fixture {
    /// Writes it into the folder, or into another.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        let folder = env::var_os(OTHER).map_or_else(folder, PathBuf::from);
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl PacketFile {
    /// A packet as it stands in a file.
    pub fn new(side: Side, frame: &[u8]) -> Self {
        Self {
            side: side.name().to_owned(),
            frame: frame.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Where it comes in, and its bytes.
    pub fn read(&self) -> Result<(Side, Vec<u8>)> {
        let side = Side::named(&self.side).with_context(|| format!("no side {}", self.side))?;
        let digits: Vec<u8> = self.frame.bytes().filter(|b| *b != b' ').collect();
        if !digits.len().is_multiple_of(2) {
            bail!("a frame of half a byte");
        }
        let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
        let frame: Result<Vec<u8>> = digits.chunks(2).map(byte).collect();
        Ok((side, frame.context("a frame that is not hexadecimal")?))
    }
}
