//! `sluice run`: the daemon.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};

use super::{DEFAULT_CONFIG, Exit, Global, logging, output};
use crate::{
    config,
    controller::{self, Options},
    model,
};

/// How long tasks that cannot be interrupted may take after the controller's end.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration [default: /etc/sluice/sluice.toml, or none if --interface is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Attach to this interface, whatever the configuration says; may be repeated
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// How to attach, whatever the configuration says
    #[arg(long, value_enum, value_name = "MODE")]
    xdp_mode: Option<XdpMode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum XdpMode {
    /// Native, generic where the driver cannot
    Auto,
    /// In the driver, or not at all
    Native,
    /// In the kernel's stack: slow, works everywhere
    Generic,
}

pub(super) fn run(args: Run, global: Global) -> anyhow::Result<Exit> {
    logging::start();
    let options = options(args, global);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sluice")
        .build()
        .context("starting the runtime")?;
    let starter = starter(&options);
    let ready = || {
        // Nobody may be reading; the daemon runs all the same.
        if let Some(text) = starter
            && let Err(error) = output::print(text.trim_end())
        {
            log::debug!("printing a configuration to begin with: {error}");
        }
    };
    let outcome = runtime.block_on(controller::run(options, ready));
    runtime.shutdown_timeout(GRACE);
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.is_config() => {
            output::complain(error);
            Ok(Exit::InvalidConfig)
        }
        Err(error) => Err(with_a_way_out(error)),
    }
}

/// Who has no configuration yet is told how to begin.
fn with_a_way_out(error: controller::Error) -> anyhow::Error {
    match &error {
        controller::Error::Config(config::Error::Read { path, source })
            if path == Path::new(DEFAULT_CONFIG) && source.kind() == ErrorKind::NotFound =>
        {
            anyhow!(
                "{error}; name another with --config, or begin without: `sluice run --interface NAME` \
                 prints one"
            )
        }
        _ => error.into(),
    }
}

fn options(args: Run, global: Global) -> Options {
    let Run {
        config,
        interfaces,
        xdp_mode,
    } = args;
    let Global {
        instance,
        socket,
        output: _,
    } = global;
    Options {
        config: config.or_else(|| interfaces.is_empty().then(|| DEFAULT_CONFIG.into())),
        interfaces,
        xdp_mode: xdp_mode.map(Into::into),
        instance,
        socket,
    }
}

/// Without a configuration: one to begin with.
fn starter(options: &Options) -> Option<String> {
    let first = options.interfaces.first()?;
    options.config.is_none().then(|| config::starter(first))
}

impl From<XdpMode> for model::XdpMode {
    fn from(mode: XdpMode) -> Self {
        match mode {
            XdpMode::Auto => Self::Auto,
            XdpMode::Native => Self::Native,
            XdpMode::Generic => Self::Generic,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::{Cli, Command},
        *,
    };

    fn parsed(line: &str) -> Options {
        let Cli { global, command } = Cli::parse_from(line.split_whitespace());
        match command {
            Command::Run(args) => options(args, global),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_default_file_is_read_unless_an_interface_or_a_file_is_named() {
        let config = |line| parsed(line).config;
        assert_eq!(config("sluice run"), Some(DEFAULT_CONFIG.into()));
        assert_eq!(config("sluice run --interface eth0"), None);
        assert_eq!(
            config("sluice run --interface eth0 --config a.toml"),
            Some("a.toml".into())
        );
    }

    #[test]
    fn a_configuration_to_begin_with_is_there_for_who_has_none() {
        let text = starter(&parsed("sluice run --interface eth7")).unwrap();
        assert!(text.contains("name = \"eth7\""), "{text}");
        assert_eq!(
            starter(&parsed("sluice run --interface e --config f")),
            None
        );
        assert_eq!(starter(&parsed("sluice run")), None);
    }

    #[test]
    fn who_has_no_configuration_is_told_how_to_begin() {
        let said = |path: &str, kind: ErrorKind| {
            let (path, source) = (path.into(), kind.into());
            let error = config::Error::Read { path, source };
            with_a_way_out(error.into()).to_string()
        };
        let line = said(DEFAULT_CONFIG, ErrorKind::NotFound);
        for word in [DEFAULT_CONFIG, "--config", "`sluice run --interface NAME`"] {
            assert!(line.contains(word), "{word} in {line}");
        }
        for line in [
            said(DEFAULT_CONFIG, ErrorKind::PermissionDenied),
            said("other.toml", ErrorKind::NotFound),
        ] {
            assert!(!line.contains("--config"), "{line}");
        }
    }

    #[test]
    fn everything_on_the_line_arrives() {
        assert_eq!(
            parsed(
                "sluice --instance a run --config f --interface x --interface y --xdp-mode native --socket /s"
            ),
            Options {
                config: Some("f".into()),
                interfaces: vec!["x".to_owned(), "y".to_owned()],
                xdp_mode: Some(model::XdpMode::Native),
                instance: Some("a".to_owned()),
                socket: Some("/s".into()),
            }
        );
    }
}
