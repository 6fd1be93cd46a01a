//! `mutants`: whether the comparison with the model finds errors. Each planted error is put into a copy of
//! the tree, built, and must be found within some random packets.
//!
//! The errors are in `tests/mutants.txt`: what one does, a file, a piece of it and what stands there instead.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use xtask::workspace::Workspace;

use super::{PACKAGES, runner, tally::Tally};
use crate::{
    host::{self, Elevation},
    step::seconds,
};

/// Where the errors are.
const LIST: &str = "tests/mutants.txt";

/// The test that must find them.
const TEST: [&str; 2] = ["--test", "bpf_model"];

/// What it is run with: few packets, many configurations, and no time spent on making a case smaller.
const SETTINGS: [(&str, &str); 4] = [
    ("SLUICE_MODEL_SEED", "1"),
    ("SLUICE_MODEL_PACKETS", "150000"),
    ("SLUICE_MODEL_EACH", "500"),
    ("SLUICE_MODEL_PATIENCE", "0"),
];

/// A planted error.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    about: String,
    file: PathBuf,
    find: String,
    replace: String,
}

/// What became of one.
enum Fate {
    /// After so many packets, and in what the difference was.
    Found(String),
    Survived,
    /// It proves nothing: it does not build, or does not load.
    Useless(String),
}

/// Plants the errors whose names have one of `passed_on` in them, or all, one after the other.
pub(super) fn run(
    workspace: &Workspace,
    elevation: Option<Elevation>,
    passed_on: &[String],
) -> Result<Tally> {
    let list = workspace.root().join(LIST);
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let mut mutants = parse(&text)?;
    if !passed_on.is_empty() {
        let is_wanted = |name: &str| passed_on.iter().any(|part| name.contains(part));
        mutants.retain(|mutant| is_wanted(&mutant.name));
    }
    let tree = Tree::copy(workspace)?;
    let mut tally = Tally::default();
    for mutant in &mutants {
        let begin = Instant::now();
        println!("== mutants: {}: {}", mutant.name, mutant.about);
        let fate = tree.with(mutant, || tree.judge(elevation))?;
        let time = seconds(begin.elapsed());
        match fate {
            Fate::Found(how) => {
                tally.passed += 1;
                println!("== mutants: {}: found, {how}; {time}", mutant.name);
            }
            Fate::Survived => {
                tally.failed += 1;
                println!("== mutants: {}: NOT FOUND; {time}", mutant.name);
            }
            Fate::Useless(why) => {
                tally.failed += 1;
                println!("{why}\n== mutants: {}: PROVES NOTHING; {time}", mutant.name);
            }
        }
    }
    Ok(tally)
}

/// A copy of the tree, with a target folder of its own.
struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Copies every file that git knows or would know. Files that are the same stay as they are, so that
    /// what was built of them is up to date.
    fn copy(workspace: &Workspace) -> Result<Self> {
        let root = workspace.root().join("target/mutants");
        let listed = Command::new("git")
            .current_dir(workspace.root())
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .output()
            .context("starting git")?;
        if !listed.status.success() {
            bail!("git ls-files failed ({})", listed.status);
        }
        for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let (from, to) = (workspace.root().join(name), root.join(name));
            match fs::read(&from) {
                Ok(bytes) => write_if_other(&to, &bytes)?,
                // Deleted, and git does not know it yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", from.display()));
                }
            }
        }
        fs::create_dir_all(root.join("target"))?;
        match symlink(workspace.tools(), root.join("target/tools")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).context("linking to the tools")
            }
            _ => Ok(Self { root }),
        }
    }

    /// Plants an error, works, and takes it out again.
    fn with<T>(&self, mutant: &Mutant, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.root.join(&mutant.file);
        let doing = || format!("planting {} in {}", mutant.name, path.display());
        let before = fs::read_to_string(&path).with_context(doing)?;
        if before.matches(&mutant.find).count() != 1 {
            bail!("{}: its piece must stand in the file once", doing());
        }
        fs::write(&path, before.replace(&mutant.find, &mutant.replace)).with_context(doing)?;
        let result = work();
        fs::write(&path, before).with_context(doing)?;
        result
    }

    fn judge(&self, elevation: Option<Elevation>) -> Result<Fate> {
        let mut build = self.cargo();
        let built = build.args(PACKAGES).args(TEST).arg("--no-run");
        let built = built.output().context("starting cargo")?;
        if !built.status.success() {
            return Ok(Fate::Useless(last_lines(&built)));
        }
        let mut test = self.cargo();
        test.args(PACKAGES).args(TEST).envs(SETTINGS);
        if let Some(runner) = runner(elevation.map_or(&[], Elevation::prefix)) {
            test.args(["--config", &runner]);
        }
        test.args(["--", "--nocapture", "the_program_does_as_the_model_says"]);
        let ran = test.output().context("starting cargo")?;
        if ran.status.success() {
            return Ok(Fate::Survived);
        }
        let text = text(&ran);
        Ok(match text.contains("program and model differ") {
            true => Fate::Found(how(&text)),
            false => Fate::Useless(last_lines(&ran)),
        })
    }

    fn cargo(&self) -> Command {
        let mut cargo = host::cargo_in(&self.root);
        cargo.env("CARGO_TARGET_DIR", self.root.join("target"));
        cargo.arg("test");
        cargo
    }
}

/// After how many packets a difference was found, and in what.
fn how(text: &str) -> String {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line.unwrap_or("?").trim_matches([' ', ',']).to_owned()
    };
    format!(
        "in packet {} (setup {}): {}",
        value("packets:"),
        value("setups:"),
        value("differs in")
    )
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn last_lines(output: &Output) -> String {
    let text = text(output);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn write_if_other(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let doing = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(doing)?;
    }
    fs::write(path, bytes).with_context(doing)
}

/// Reads the list: `## NAME`, a line of what it does, `--- FILE`, a piece of the file, `+++`, what stands
/// there instead, up to an empty line. What stands before the first `##` is for readers.
fn parse(text: &str) -> Result<Vec<Mutant>> {
    let blocks = text.split("\n## ").skip(1);
    blocks
        .map(|block| parse_one(block).with_context(|| format!("in {LIST}: {block}")))
        .collect()
}

fn parse_one(block: &str) -> Result<Mutant> {
    let (head, rest) = block.split_once("\n--- ").context("no line `--- FILE`")?;
    let (name, about) = head.split_once('\n').context("no line of what it does")?;
    let (file, rest) = rest.split_once('\n').context("nothing behind the file")?;
    let (find, replace) = rest.split_once("\n+++\n").context("no line `+++`")?;
    Ok(Mutant {
        name: name.to_owned(),
        about: about.to_owned(),
        file: file.into(),
        find: find.to_owned(),
        replace: replace.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_block_by_block() {
        let text = "For readers.\n\n## one\nDoes it.\n--- a/b.rs\n    x = 1;\n    y = 2;\n+++\n    x = 2;\n\n\
                    ## two\nDoes that.\n--- c.rs\nz\n+++\n\n";
        let mutant = |name: &str, about: &str, file: &str, find: &str, replace: &str| Mutant {
            name: name.to_owned(),
            about: about.to_owned(),
            file: file.into(),
            find: find.to_owned(),
            replace: replace.to_owned(),
        };
        assert_eq!(
            parse(text).unwrap(),
            [
                mutant(
                    "one",
                    "Does it.",
                    "a/b.rs",
                    "    x = 1;\n    y = 2;",
                    "    x = 2;"
                ),
                mutant("two", "Does that.", "c.rs", "z", ""),
            ]
        );
        assert!(parse("\n## one\nno file\n").is_err());
    }

    #[test]
    fn every_planted_error_has_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = fs::read_to_string(root.join(LIST)).unwrap();
        for Mutant {
            name, file, find, ..
        } in parse(&text).unwrap()
        {
            let source = fs::read_to_string(root.join(&file)).unwrap();
            assert_eq!(
                source.matches(&find).count(),
                1,
                "{name} in {}",
                file.display()
            );
        }
    }
}
