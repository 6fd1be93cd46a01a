//! `sluice-report`: what the program costs with each set of features, and what the maps cost, on this
//! kernel. Started as root by `cargo xtask report`; prints and writes no file.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use testbed::{baseline::Baseline, costs};

mod table;

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    /// What to print
    #[arg(long, value_enum, default_value_t = Form::Table)]
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables, and how the figures compare with the baseline
    Table,
    /// Everything as JSON
    Json,
    /// What a file of tests/baseline holds
    Baseline,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let costs = costs::measure()?;
    match args.form {
        Form::Table => print!("{}", table::render(&costs, Baseline::find()?.as_ref())),
        Form::Json => println!("{}", json(&costs)?),
        Form::Baseline => println!("{}", json(&Baseline::of(&costs))?),
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context("writing JSON")
}
