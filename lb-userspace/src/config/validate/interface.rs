//! `[[interface]]`.

use super::words::Words;
use crate::{
    config::{
        error::quote,
        raw::RawInterface,
        report::{Placed, Report},
    },
    model::{Interface, XdpMode},
};

/// `IFNAMSIZ` is 16, with a NUL.
const MAX_BYTES: usize = 15;

const XDP: Words<XdpMode> = Words {
    known: &[
        ("auto", XdpMode::Auto),
        ("native", XdpMode::Native),
        ("generic", XdpMode::Generic),
    ],
    later: &[],
};

/// A name that the kernel could give an interface: `dev_valid_name` in net/core/dev.c, less what
/// is not printable ASCII.
///
/// # Errors
/// Why `text` is none, for people.
pub fn interface_name(text: &str) -> Result<String, String> {
    let quoted = quote(text);
    if text.is_empty() {
        Err("is empty, name an interface as `ip link` does".to_owned())
    } else if text.len() > MAX_BYTES {
        Err(format!(
            "{quoted} is too long for an interface, names have at most {MAX_BYTES} bytes"
        ))
    } else if text == "."
        || text == ".."
        || !text.bytes().all(|b| b.is_ascii_graphic())
        || text.contains(['/', ':'])
    {
        Err(format!(
            "{quoted} cannot be an interface, name it as `ip link` does"
        ))
    } else {
        Ok(text.to_owned())
    }
}

/// All `[[interface]]`.
pub(super) fn interfaces(
    raws: Vec<Placed<RawInterface>>,
    report: &mut Report<'_>,
) -> Vec<Interface> {
    let mut names: Vec<Placed<String>> = Vec::new();
    let mut interfaces = Vec::new();
    for Placed { value: raw, spot } in raws {
        let RawInterface { name, xdp, vlan } = raw;
        let mut mode = XdpMode::default();
        if let Some(word) = xdp.map(|raw| spot.file.place(raw)) {
            mode = XDP.read(&word, report).unwrap_or(mode);
        }
        let Some(name) = name.map(|raw| spot.file.place(raw)) else {
            report.missing(
                &spot,
                "name",
                "missing, name an interface as `ip link` does",
            );
            continue;
        };
        if let Err(message) = interface_name(&name.value) {
            report.error(name.spot, message);
            continue;
        }
        if let Some(first) = names.iter().find(|other| other.value == name.value) {
            let message = format!(
                "`{}` stands already at {}, name each interface once",
                name.value,
                report.locate(&first.spot)
            );
            report.error(name.spot, message);
            continue;
        }
        interfaces.push(Interface {
            name: name.value.clone(),
            xdp: mode,
            vlan: vlan.is_some_and(toml::Spanned::into_inner),
        });
        names.push(name);
    }
    interfaces
}
