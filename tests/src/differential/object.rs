//! The program's object, loaded once more beside the daemon's own: on the same maps, for programs that the
//! daemon attaches only where they are needed, and for objects that are wrong on purpose.

use std::{borrow::Cow, env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapError, MapInfo},
    programs::Xdp,
};
use lb_common::abi::{
    lookup::Rows,
    names,
    settings::{Settings, TRACE_ALL, feature},
};

use super::setup::ProgramSetup;

/// As the daemon has it built in.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice.bpf.o"));

/// Names another object, which then takes the place of everything that is loaded.
const OTHER: &str = "SLUICE_MODEL_OBJECT";

/// Records of a trace that nobody reads.
const TRACE_RATE: u32 = 1000;

/// A program of the object, loaded.
pub(super) struct Loaded {
    ebpf: Ebpf,
    name: &'static str,
}

/// Whether another object takes the place of the daemon's.
pub(super) fn is_other() -> bool {
    env::var_os(OTHER).is_some()
}

/// How many rows the look-up tables have that are pinned in `maps`.
fn rows(maps: &Path) -> Result<Rows> {
    let rows = |name: &str| Ok::<_, MapError>(MapInfo::from_pin(maps.join(name))?.max_entries());
    Ok(Rows {
        vips_ipv4: rows(names::VIPS_IPV4)?,
        vips_ipv6: rows(names::VIPS_IPV6)?,
        replies_ipv4: rows(names::REPLIES_IPV4)?,
        replies_ipv6: rows(names::REPLIES_IPV6)?,
    })
}

impl Loaded {
    /// Loads a program on the maps that are pinned in `maps`.
    pub(super) fn new(maps: &Path, settings: &Settings, which: ProgramSetup) -> Result<Self> {
        let (name, is_traced) = match which {
            ProgramSetup::Plain => (names::PROGRAM, false),
            ProgramSetup::Frags => (names::FRAGS_PROGRAM, false),
            ProgramSetup::Traced => (names::TRACED_PROGRAM, true),
            ProgramSetup::TracedFrags => (names::TRACED_FRAGS_PROGRAM, true),
        };
        let mut settings = *settings;
        if is_traced {
            settings.trace_service = TRACE_ALL;
            settings.trace_rate = TRACE_RATE;
        }
        let object = match env::var_os(OTHER) {
            Some(path) => Cow::Owned(fs::read(path).with_context(|| OTHER.to_owned())?),
            None => Cow::Borrowed(OBJECT),
        };
        let rows = rows(maps)?;
        let mut loader = EbpfLoader::new();
        loader.override_global(names::ROWS, &rows, true);
        loader.override_global(names::SETTINGS, &settings, true);
        for map in names::PINNED_MAPS {
            loader.map_pin_path(map, maps.join(map));
        }
        let ebpf = loader.load(&object).context("the program's object")?;
        let mut loaded = Self { ebpf, name };
        loaded.program()?.load().with_context(|| name.to_owned())?;
        Ok(loaded)
    }

    /// Loads a copy that writes no map.
    pub(super) fn dry(maps: &Path, settings: &Settings) -> Result<Self> {
        let settings = Settings {
            features: settings.features | feature::DRY_RUN,
            ..*settings
        };
        Self::new(maps, &settings, ProgramSetup::Plain)
    }

    /// The program.
    pub(super) fn program(&mut self) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(self.name).context("the program")?;
        Ok(program.try_into()?)
    }
}
