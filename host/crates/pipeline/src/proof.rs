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
pub(crate) const RED_AS_BEFORE: &str = "fails with and without the patch";

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
    let name = format!("check: {}", check.command);
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
    let reproduces = witness == Witness::Reproduction;
    let (result, sentence) = match (old.ended.success(), new.ended.success()) {
        (false, true) => (
            VerificationResult::Pass,
            "fails without the patch, passes with it",
        ),
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

/// How a command ended, and the end of what it said.
pub fn tail(output: &CommandOutput) -> String {
    let ended = match output.ended {
        Ended::Exit(code) => format!("exit code {code}"),
        Ended::Signal(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => "timed out".to_owned(),
        Ended::Cancelled => "cancelled".to_owned(),
    };
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
