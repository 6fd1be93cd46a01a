//! Configuration: text to a typed model, and all validation.
//!
//! Text becomes a tree with spans (`document`), the tree becomes raw types that know only shapes
//! (`decode`, `raw`), and `validate` turns those into a [`Model`] that cannot be wrong. Each stage
//! reports all it finds to one `report`, so a run names every mistake with its file, line, column
//! and field. Nothing in here looks at the machine: whether an interface exists or a backend
//! answers is for others to find out.
//!
//! **Invariant:** outside of this module nobody checks a configured value again.

mod decode;
mod document;
mod error;
mod files;
mod raw;
mod report;
mod starter;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(crate) use decode::nearest;
pub(crate) use error::quote;
pub use error::{Error, Finding, Position, Warning};
pub use starter::starter;
pub(crate) use validate::{DEFAULT_GUE_PORT, why_no_unicast};
pub use validate::{admin_socket, instance_name, interface_name, state_dir};

use crate::model::{Interface, Limits, Model};
use document::Document;
use files::FileText;
use raw::{RawConfig, RawDropIn};
use report::{FileId, Report};

/// A configuration that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it means.
    pub model: Model,
    /// What works but is likely not meant, one line each.
    pub warnings: Vec<Warning>,
    /// The files it came from: the main one, then those of `conf.d` in lexical order.
    pub files: Vec<PathBuf>,
}

/// Reads the file at `path`, and the services of `conf.d/*.toml` beside it in lexical order.
///
/// # Errors
/// [`Error::Read`] where a file cannot be read, [`Error::Invalid`] with all that is wrong.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let files = files::read(path)?;
    let names: Vec<_> = files.iter().map(|f| f.path.display().to_string()).collect();
    let mut documents = Vec::with_capacity(files.len());
    let mut broken = Vec::new();
    for (name, FileText { path: _, text }) in names.iter().zip(&files) {
        match Document::parse(name, text) {
            Ok(document) => documents.push(document),
            Err(finding) => broken.push(finding),
        }
    }
    if broken.is_empty() {
        let (model, warnings) = interpret(&documents)?;
        let files = files.into_iter().map(|f| f.path).collect();
        Ok(Loaded {
            model,
            warnings,
            files,
        })
    } else {
        Err(Error::Invalid {
            findings: broken,
            left_out: 0,
        })
    }
}

/// Reads one configuration from text; `file` only appears in messages.
///
/// # Errors
/// [`Error::Invalid`] with all that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Loaded, Error> {
    let document = Document::parse(file, text).map_err(|finding| Error::Invalid {
        findings: vec![finding],
        left_out: 0,
    })?;
    let (model, warnings) = interpret(&[document])?;
    Ok(Loaded {
        model,
        warnings,
        files: vec![PathBuf::from(file)],
    })
}

/// The model of a daemon that runs without a file: no service, so every packet passes.
///
/// # Errors
/// [`Error::Invalid`] where the instance's or an interface's name cannot be one, or an interface
/// stands twice.
pub fn without_file(instance: &str, interfaces: Vec<Interface>) -> Result<Model, Error> {
    let wrong = |field: &str, message: String| Error::Invalid {
        findings: vec![Finding::new("command line", None, field, &message)],
        left_out: 0,
    };
    instance_name(instance).map_err(|e| wrong("--instance", e))?;
    for (i, interface) in interfaces.iter().enumerate() {
        let name = &interface.name;
        interface_name(name).map_err(|e| wrong("--interface", e))?;
        if interfaces.iter().take(i).any(|other| other.name == *name) {
            return Err(wrong(
                "--interface",
                format!("`{name}` stands twice: name each interface once"),
            ));
        }
    }
    Ok(Model {
        daemon: validate::default_daemon(instance),
        limits: Limits::default(),
        interfaces,
        services: Vec::new(),
    })
}

/// The main file first, then the drop-ins.
fn interpret(documents: &[Document<'_>]) -> Result<(Model, Vec<Warning>), Error> {
    let mut report = Report::new(documents);
    let mut main = RawConfig::default();
    let mut services = Vec::new();
    for (i, document) in documents.iter().enumerate() {
        let file = FileId(i);
        let found = if i == 0 {
            main = decode::decode(document, file, &mut report);
            std::mem::take(&mut main.service)
        } else {
            decode::decode::<RawDropIn>(document, file, &mut report).service
        };
        services.extend(found.into_iter().map(|raw| file.section(raw)));
    }
    let model = validate::model(main, services, &mut report);
    let warnings = report.finish()?;
    Ok((model, warnings))
}
