//! Checks run without and with a patch, and what that proves. Shared by the proof
//! room and by the one-shot heal.

use selfheal_domain::agent::CheckCommand;
use selfheal_domain::patch::{Patch, is_test_path};
use selfheal_domain::tools::{
    CommandOutput, Ended, ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess,
};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};

/// How much of a command's output goes into evidence, in bytes.
const EVIDENCE_TAIL: usize = 4 * 1024;

/// How evidence begins for a check that the patch neither broke nor fixed.
const RED_AS_BEFORE: &str = "fails with and without the patch";

/// How evidence begins for a check that the patch fixed.
const TURNED_GREEN: &str = "fails without the patch, passes with it";

/// Name of a check's evidence in a proof; tells checks apart that run the same
/// command in different directories.
pub(crate) fn proof_name(check: &CheckCommand) -> String {
    format!("check: {}", place(check))
}

/// A check's command, and where it runs.
pub(crate) fn place(check: &CheckCommand) -> String {
    if check.directory.is_empty() {
        check.command.clone()
    } else {
        format!("{} (in {})", check.command, check.directory)
    }
}

/// The check fails without the patch and passes with it.
pub(crate) fn turned_green(check: &CheckEvidence) -> bool {
    check.result == VerificationResult::Pass && check.detail.starts_with(TURNED_GREEN)
}

/// What a proof lacks in which nothing turned green: without a check that fails on
/// the base and passes on the patch, there is no evidence that the patch heals.
pub fn missing_reproduction(checks: &[CheckEvidence]) -> Option<CheckEvidence> {
    (!checks.iter().any(turned_green)).then(|| CheckEvidence {
        name: "reproduction".to_owned(),
        result: VerificationResult::Inconclusive,
        detail: "no check fails without the patch and passes with it".to_owned(),
        seconds: 0.0,
    })
}

/// The patch without its changes to tests: tests are witnesses, so a patch is
/// judged by the tests as they stood before it (invariant 7).
pub fn without_tests(patch: &Patch) -> Patch {
    let mut files = patch.files.clone();
    files.retain(|file| !is_test_path(&file.path));
    Patch::of(files)
}

/// What a check is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// It shows the bug: must fail without the patch and pass with it.
    Reproduction,
    /// It must not get worse.
    Regression,
}

/// Runs one check without (`before`) and with (`after`) the patch.
///
/// # Errors
/// Only [`ToolError::Cancelled`]; every other failure is inconclusive evidence.
pub fn compare(
    check: &CheckCommand,
    witness: Witness,
    before: &dyn Tools,
    after: &dyn Tools,
) -> Result<CheckEvidence, ToolError> {
    let name = proof_name(check);
    let inconclusive = |error: &ToolError| CheckEvidence {
        name: name.clone(),
        result: VerificationResult::Inconclusive,
        detail: crate::healer::chain(error),
        seconds: 0.0,
    };
    let (old, new) = match (run_check(check, before), run_check(check, after)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(ToolError::Cancelled), _) | (_, Err(ToolError::Cancelled)) => {
            return Err(ToolError::Cancelled);
        }
        (Err(error), _) | (_, Err(error)) => return Ok(inconclusive(&error)),
    };
    if [old.ended, new.ended].contains(&Ended::Cancelled) {
        return Err(ToolError::Cancelled);
    }
    let reproduces = witness == Witness::Reproduction;
    let (result, sentence) = match (old.ended.success(), new.ended.success()) {
        (false, true) => (VerificationResult::Pass, TURNED_GREEN),
        (true, true) if reproduces => (
            VerificationResult::Inconclusive,
            "passes without the patch as well, so it proves nothing",
        ),
        (true, true) => (
            VerificationResult::Pass,
            "passes with and without the patch",
        ),
        (true, false) => (
            VerificationResult::Fail,
            "passes without the patch, fails with it",
        ),
        (false, false) if reproduces => (VerificationResult::Fail, "still fails with the patch"),
        (false, false) if old.ended == new.ended => (VerificationResult::Pass, RED_AS_BEFORE),
        (false, false) => (
            VerificationResult::Fail,
            "fails without the patch, and in another way with it",
        ),
    };
    Ok(CheckEvidence {
        name,
        result,
        detail: format!("{sentence}\n{}", tail(&new)),
        seconds: old.seconds + new.seconds,
    })
}

/// Runs a check once, on a throw-away layer.
///
/// # Errors
/// See [`ToolError`].
pub fn run_check(check: &CheckCommand, tools: &dyn Tools) -> Result<CommandOutput, ToolError> {
    let request = ToolRequest::Bash {
        command: check.command.clone(),
        directory: check.directory.clone(),
        timeout: check.timeout,
        access: WorkspaceAccess::Discard,
    };
    match tools.call(request)? {
        ToolOutput::Command(output) => Ok(output),
        ToolOutput::Text(_) | ToolOutput::Written => Err(ToolError::Unavailable(
            "a command came back without its output".to_owned(),
        )),
    }
}

/// Whether a check that fails now is one that the proof saw fail in the same way
/// with and without the patch.
pub(crate) fn red_in_the_same_way(proof: &CheckEvidence, now: Ended) -> bool {
    proof.result == VerificationResult::Pass
        && proof
            .detail
            .starts_with(&format!("{RED_AS_BEFORE}\n{} after", how(now)))
}

fn how(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exit code {code}"),
        Ended::Signal(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => "timed out".to_owned(),
        Ended::Cancelled => "cancelled".to_owned(),
    }
}

/// How a command ended, and the end of what it said.
pub fn tail(output: &CommandOutput) -> String {
    let ended = how(output.ended);
    let said = format!("{}{}", output.stdout, output.stderr);
    let mut start = said.len().saturating_sub(EVIDENCE_TAIL);
    while !said.is_char_boundary(start) {
        start += 1;
    }
    format!(
        "{ended} after {:.1} s\n{}",
        output.seconds,
        said.get(start..).unwrap_or_default()
    )
}
