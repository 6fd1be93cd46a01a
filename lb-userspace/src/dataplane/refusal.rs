//! Why the kernel's verifier refuses a program, in one line out of its log.
//!
//! The log names every instruction that was looked at, then the reason, then figures. It can be a
//! megabyte long, so the error has the reason and the rest is for `RUST_LOG=debug`.

use aya::programs::ProgramError;

use super::Error;

/// Lines of the reason that are shown: what is wrong, and where a register is to blame, how.
const SHOWN: usize = 2;

/// What the verifier's figures begin with.
const FIGURES: [&str; 4] = [
    "verification time ",
    "stack depth ",
    "processed ",
    "insns processed ",
];

/// An error of loading the program `name`; the verifier's log goes to the daemon's.
pub(super) fn explain(name: &'static str, error: ProgramError) -> Error {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return Error::Program(error);
    };
    let log = verifier_log.to_string();
    let Some(reason) = reason(&log) else {
        return Error::Refused {
            program: name,
            source: io_error,
        };
    };
    for line in log.lines() {
        log::debug!("verifier, program {name}: {line}");
    }
    Error::Unverified {
        program: name,
        reason,
        source: io_error,
    }
}

/// What the log says after the last instruction; `None` where it says nothing.
fn reason(log: &str) -> Option<String> {
    let lines: Vec<_> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_figure(line))
        .collect();
    let after = lines.iter().rposition(|line| is_walk(line));
    let rest = lines.get(after.map_or(0, |last| last + 1)..)?;
    let shown = match rest {
        // It ends with an instruction: better than nothing.
        [] => lines.last().into_iter().copied().collect(),
        _ => rest[..rest.len().min(SHOWN)].join("; "),
    };
    (!shown.is_empty()).then_some(shown)
}

fn is_figure(line: &str) -> bool {
    FIGURES.iter().any(|begin| line.starts_with(begin))
}

/// An instruction (`12: (79) r1 = ...`), a line of source (`; let ...`), or where a branch came from.
fn is_walk(line: &str) -> bool {
    let number = line.split_once(": ").map_or("", |(number, _)| number);
    let instruction = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    instruction || line.starts_with(';') || line.starts_with("from ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya_obj::VerifierLog;

    use super::*;

    /// Of Linux 6.18, for a read past a missing bounds check.
    const OUT_OF_BOUNDS: &str = "\
0: R1=ctx() R10=fp0
; let end = ctx.data_end(); @ cursor.rs:41
0: (61) r2 = *(u32 *)(r1 +4)          ; R1=ctx() R2=pkt_end()
1: (61) r1 = *(u32 *)(r1 +0)          ; R1=pkt(r=0)
2: (71) r0 = *(u8 *)(r1 +12)
invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)
R1 offset is outside of the packet
verification time 1508 usec
stack depth 0
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

    fn refused(log: &str) -> Error {
        let error = ProgramError::LoadError {
            io_error: io::Error::from_raw_os_error(libc::EACCES),
            verifier_log: VerifierLog::new(log.to_owned()),
        };
        explain("sluice", error)
    }

    #[test]
    fn the_reason_stands_between_instructions_and_figures() {
        assert_eq!(
            reason(OUT_OF_BOUNDS).as_deref(),
            Some(
                "invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0); R1 offset is outside of \
                 the packet"
            )
        );
        let large = "17: (b7) r0 = 1\nBPF program is too large. Processed 1000001 insn\n\
                     processed 1000001 insns (limit 1000000)\n";
        assert_eq!(
            reason(large).as_deref(),
            Some("BPF program is too large. Processed 1000001 insn")
        );
    }

    #[test]
    fn a_long_reason_is_cut_to_its_beginning() {
        let log = "4: (05) goto pc-3\ninfinite loop detected at insn 2\ncur state: R0=0\nold state: R0=0\n";
        assert_eq!(
            reason(log).as_deref(),
            Some("infinite loop detected at insn 2; cur state: R0=0")
        );
    }

    #[test]
    fn a_log_without_a_reason_gives_what_it_has() {
        assert_eq!(
            reason("unknown opcode 8d\n").as_deref(),
            Some("unknown opcode 8d")
        );
        assert_eq!(reason("0: (95) exit\n").as_deref(), Some("0: (95) exit"));
        for silent in ["", "\n \n", "processed 0 insns\nstack depth 0\n"] {
            assert_eq!(reason(silent), None, "{silent:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_with_program_reason_and_what_to_do() {
        let line = refused(OUT_OF_BOUNDS).to_string();
        assert_eq!(
            line,
            "the kernel's verifier refuses program sluice: invalid access to packet, off=12 size=1, \
             R1(id=0,off=12,r=0); R1 offset is outside of the packet (Permission denied (os error \
             13)); with RUST_LOG=debug the daemon logs all that it said"
        );
        let line = refused("").to_string();
        assert_eq!(
            line,
            "the kernel refuses program sluice: Permission denied (os error 13)"
        );
    }

    #[test]
    fn another_error_stays_what_it_is() {
        let error = explain("sluice", ProgramError::NotLoaded);
        assert!(matches!(error, Error::Program(ProgramError::NotLoaded)));
    }
}
