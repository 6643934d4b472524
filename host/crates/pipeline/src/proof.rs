//! Checks run without and with a patch, and what that proves. Shared by the proof
//! room and by the one-shot heal.
//!
//! The unchanged base is run again wherever its word decides: a test that is not the
//! same twice without the patch is flaky and no witness, a reproduction that is flaky
//! proves nothing. Where the output names the tests that failed, each of them is a
//! witness of its own; else the check is one as a whole.

mod failures;

use failures::Failures;
pub(crate) use failures::failed as failed_tests;
use selfheal_domain::agent::CheckCommand;
use selfheal_domain::tools::{
    CommandOutput, Ended, ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess,
};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use std::time::{Duration, Instant};

/// How much of a command's output goes into evidence, in bytes.
const EVIDENCE_TAIL: usize = 4 * 1024;

/// How evidence begins for a check that the patch neither broke nor fixed.
const RED_AS_BEFORE: &str = "fails with and without the patch";

/// How evidence begins for a check that the patch fixed.
const TURNED_GREEN: &str = "fails without the patch, passes with it";

/// How evidence begins for a check whose word does not count.
const FLAKY: &str = "is flaky: not the same twice without the patch, so no witness";

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

/// What a check is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// It shows the bug: must fail without the patch and pass with it.
    Reproduction,
    /// It must not get worse.
    Regression,
}

/// Where checks are run: without and with the patch.
pub struct Trial<'a> {
    /// The unchanged base.
    pub before: &'a dyn Tools,
    /// The base with the patch.
    pub after: &'a dyn Tools,
    /// No repetition begins that would likely end later.
    pub until: Option<Instant>,
}

impl Trial<'_> {
    /// Runs one check without and with the patch, again where that decides.
    ///
    /// # Errors
    /// Only [`ToolError::Cancelled`]; every other failure is inconclusive evidence.
    pub fn compare(
        &self,
        check: &CheckCommand,
        witness: Witness,
    ) -> Result<CheckEvidence, ToolError> {
        let mut runs = Runs {
            trial: self,
            check,
            seconds: 0.0,
            slowest: Duration::ZERO,
        };
        let found = runs
            .once(self.before)
            .and_then(|old| Ok((old, runs.once(self.after)?)))
            .and_then(|(old, new)| {
                let finding = match witness {
                    Witness::Reproduction => runs.reproduction(&old, &new)?,
                    Witness::Regression => runs.regression(&old, &new)?,
                };
                Ok((finding, new))
            });
        let (result, detail) = match found {
            Ok(((result, sentence), new)) => (result, format!("{sentence}\n{}", tail(&new))),
            Err(ToolError::Cancelled) => return Err(ToolError::Cancelled),
            Err(error) => (
                VerificationResult::Inconclusive,
                crate::healer::chain(&error),
            ),
        };
        Ok(CheckEvidence {
            name: proof_name(check),
            result,
            detail,
            seconds: runs.seconds,
        })
    }
}

type Finding = (VerificationResult, String);

/// The runs of one check.
struct Runs<'a> {
    trial: &'a Trial<'a>,
    check: &'a CheckCommand,
    seconds: f64,
    slowest: Duration,
}

impl Runs<'_> {
    fn once(&mut self, tools: &dyn Tools) -> Result<CommandOutput, ToolError> {
        let start = Instant::now();
        let output = run_check(self.check, tools)?;
        if output.ended == Ended::Cancelled {
            return Err(ToolError::Cancelled);
        }
        self.slowest = self.slowest.max(start.elapsed());
        self.seconds += output.seconds;
        Ok(output)
    }

    /// Once more; none where there is no time left for it.
    fn again(&mut self, tools: &dyn Tools) -> Result<Option<CommandOutput>, ToolError> {
        let until = self.trial.until;
        if until.is_some_and(|until| Instant::now() + self.slowest > until) {
            return Ok(None);
        }
        self.once(tools).map(Some)
    }

    /// Fails without the patch each time, and passes with it each time.
    fn reproduction(
        &mut self,
        old: &CommandOutput,
        new: &CommandOutput,
    ) -> Result<Finding, ToolError> {
        if old.ended.success() {
            let sentence = "passes without the patch as well, so it proves nothing";
            return Ok((VerificationResult::Inconclusive, sentence.to_owned()));
        }
        let Some(old_again) = self.again(self.trial.before)? else {
            return Ok(if new.ended.success() {
                let sentence = format!("{TURNED_GREEN}; not repeated: no time was left");
                (VerificationResult::Pass, sentence)
            } else {
                still_red("")
            });
        };
        if old_again.ended.success() {
            return Ok((VerificationResult::Inconclusive, FLAKY.to_owned()));
        }
        let base = Failures::of_both(old, &old_again);
        let Some(first) = base.against(new) else {
            return Ok(still_red(""));
        };
        if base.nothing_stable() {
            let sentence = format!("{FLAKY}{}", base.account());
            return Ok((VerificationResult::Inconclusive, sentence));
        }
        if !first.is_empty() {
            return Ok(still_red(&first));
        }
        // Twice green, so that it was no luck.
        let again = self.again(self.trial.after)?;
        Ok(match again.map(|output| base.against(&output)) {
            Some(None) => (
                VerificationResult::Inconclusive,
                "is flaky: not the same twice with the patch".to_owned(),
            ),
            Some(Some(worse)) if !worse.is_empty() => (
                VerificationResult::Inconclusive,
                format!("is flaky: not the same twice with the patch{worse}"),
            ),
            Some(Some(_)) | None => (
                VerificationResult::Pass,
                format!("{TURNED_GREEN}{}", base.flaky_account()),
            ),
        })
    }

    /// No worse with the patch than without it.
    fn regression(
        &mut self,
        old: &CommandOutput,
        new: &CommandOutput,
    ) -> Result<Finding, ToolError> {
        if old.ended.success() && new.ended.success() {
            let sentence = "passes with and without the patch";
            return Ok((VerificationResult::Pass, sentence.to_owned()));
        }
        let Some(old_again) = self.again(self.trial.before)? else {
            let sentence = "differs or fails, and there was no time left to repeat it";
            return Ok((VerificationResult::Inconclusive, sentence.to_owned()));
        };
        let base = Failures::of_both(old, &old_again);
        if new.ended.success() {
            if old_again.ended.success() || base.nothing_stable() {
                let sentence = format!("{FLAKY}{}", base.account());
                return Ok((VerificationResult::Pass, sentence));
            }
            let again = self.again(self.trial.after)?;
            return Ok(if again.is_some_and(|output| !output.ended.success()) {
                let sentence = "is flaky: not the same twice with the patch";
                (VerificationResult::Inconclusive, sentence.to_owned())
            } else {
                let sentence = format!("{TURNED_GREEN}{}", base.flaky_account());
                (VerificationResult::Pass, sentence)
            });
        }
        let same = |output: &CommandOutput| output.ended == new.ended;
        Ok(match base.worse_in(new) {
            // The tests themselves tell.
            Some(worse) if !worse.is_empty() => (
                VerificationResult::Fail,
                format!("tests fail with the patch that do not without it{worse}"),
            ),
            Some(_) if old.ended.success() || old_again.ended.success() => (
                VerificationResult::Pass,
                format!("{FLAKY}{}", base.account()),
            ),
            Some(_) | None if same(old) && same(&old_again) => (
                VerificationResult::Pass,
                format!("{RED_AS_BEFORE}{}", base.account()),
            ),
            Some(_) => (
                VerificationResult::Fail,
                "fails without the patch, and in another way with it".to_owned(),
            ),
            None if old.ended.success() && old_again.ended.success() => (
                VerificationResult::Fail,
                "passes without the patch, fails with it".to_owned(),
            ),
            None if old.ended != old_again.ended => (VerificationResult::Pass, FLAKY.to_owned()),
            None => (
                VerificationResult::Fail,
                "fails without the patch, and in another way with it".to_owned(),
            ),
        })
    }
}

fn still_red(which: &str) -> Finding {
    (
        VerificationResult::Fail,
        format!("still fails with the patch{which}"),
    )
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

/// Whether a check that fails now failed in the proof with and without the patch, in
/// the same way and in no further test, or was no witness there.
pub(crate) fn known_red(proof: &CheckEvidence, now: &CommandOutput) -> bool {
    if proof.result != VerificationResult::Pass {
        return false;
    }
    let Some(sentence) = proof.detail.lines().next() else {
        return false;
    };
    let same = proof
        .detail
        .lines()
        .any(|line| line.starts_with(&format!("{} after", how(now.ended))));
    let no_further = failures::no_further_than(&proof.detail, now);
    match no_further {
        Some(no_further) => no_further && (same || sentence.starts_with(FLAKY)),
        None => sentence.starts_with(FLAKY) || sentence.starts_with(RED_AS_BEFORE) && same,
    }
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
