//! One heal without a server: the same broker, policies, sandbox, engine and
//! proof, with the journal in a temporary directory.

use super::{
    BenchParts, default_policy_config, identity, load_policies, masker, patch_limits, workbench,
};
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use selfheal_domain::agent::{Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief};
use selfheal_domain::event::{Approval, Event};
use selfheal_domain::ids::{CommitId, IssueId, IssueNumber, RunId, RunNumber};
use selfheal_domain::issue::Source;
use selfheal_domain::ledger::{Ledger, RecordError};
use selfheal_domain::patch::{Patch, is_test_path};
use selfheal_domain::policy::{AgentPhase, PolicyContext, PolicyHost, RunCounters};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, CommitMessage, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::report::{Report, ReportDraft};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::{Actor, TrustClass, UserName};
use selfheal_domain::verdict::{Reason, Verdict};
use selfheal_domain::verification::{Verification, VerificationResult};
use selfheal_pipeline::facts::{Claims, Proved, broken_host_limit, patch_facts};
use selfheal_pipeline::proof::{Witness, compare, without_tests};
use selfheal_pipeline::settings::PatchLimits;
use selfheal_policy_host::PolicyConfig;
use selfheal_store::{JournalStore, Options};
use selfheal_worktree::GitRepository;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Part of the budget that is kept for drafting and proving.
const RESERVE: f64 = 0.15;

/// A one-shot heal walks the same states as any other, as the only issue of its log.
const ISSUE: IssueNumber = IssueNumber(1);

/// Stands for the branch where none is checked out.
const DETACHED: &str = "HEAD";

/// Longest subject of a heal commit after its prefix, in characters.
const SUBJECT: usize = 60;

type ProgressFn = Box<dyn Fn(&str) + Send + Sync>;

/// How a one-shot heal is set up.
pub(crate) struct OneShotOptions<'a> {
    /// Somewhere in the repository.
    pub(crate) directory: &'a Path,
    /// Names of further environment variables for the command.
    pub(crate) environment: &'a [String],
    /// Policy file; the bundled one if none.
    pub(crate) policy: Option<&'a Path>,
    /// Where to keep the journal.
    pub(crate) audit: Option<&'a Path>,
    pub(crate) cancel: CancelToken,
    pub(crate) progress: ProgressFn,
}

/// A fix, found and proved, written nowhere yet.
pub(crate) struct Healed {
    pub(crate) diagnosis: Diagnosis,
    pub(crate) patch: Patch,
    pub(crate) rationale: String,
    pub(crate) confidence: f64,
    pub(crate) rivals: Vec<String>,
    pub(crate) verification: Verification,
    /// A guardrail wants a person to look at the patch.
    pub(crate) asks: Option<Reason>,
}

/// Why there is no fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealError {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("the patch is refused: {0}")]
    Refused(String),
    #[error("the proof of the patch failed")]
    NotProved(Verification),
    #[error("the worktree could not be read: {0}")]
    Worktree(String),
    #[error("a step of the heal could not be recorded")]
    Record(#[from] RecordError),
}

/// Everything one heal needs; removes its temporary directory when dropped.
pub(crate) struct OneShot {
    root: PathBuf,
    bench: Box<dyn Workbench>,
    policies: Arc<dyn PolicyHost>,
    policy: PolicyConfig,
    limits: PatchLimits,
    agent: selfheal_repair::RepairEngine,
    recorder: Arc<Recorder>,
    cancel: CancelToken,
    head: CommitId,
    branch: String,
    drafts: PathBuf,
    _temporary: tempfile::TempDir,
}

struct Recorder {
    ledger: Ledger,
    progress: ProgressFn,
}

impl CallRecorder for Recorder {
    fn record(&self, actor: &Actor, event: Event) -> Result<(), RecordRefused> {
        let recorded = self.ledger.record(ISSUE, actor.clone(), event);
        recorded
            .map(drop)
            .map_err(|error| RecordRefused(format!("{:#}", anyhow::Error::new(error))))
    }

    fn progress(&self, note: &str) {
        (self.progress)(note);
    }
}

impl OneShot {
    pub(crate) fn open(options: OneShotOptions<'_>) -> Result<Self, Failure> {
        let found = selfheal_worktree::discover(options.directory).because(Exit::Usage)?;
        let temporary = tempfile::Builder::new()
            .prefix("selfheal-")
            .tempdir()
            .because(Exit::Unavailable)?;
        let state = temporary.path().canonicalize().because(Exit::Unavailable)?;
        let policy = match options.policy {
            Some(file) => PolicyConfig::load(file).because(Exit::Usage)?,
            None => default_policy_config()?,
        };
        let policies: Arc<dyn PolicyHost> = Arc::new(load_policies(&policy)?);
        let journal = options
            .audit
            .map_or_else(|| state.join("audit"), Path::to_owned);
        let store = JournalStore::open(&journal, Options::new(masker(&policy)?))
            .because(Exit::Unavailable)?;
        let ledger = Ledger::new(Arc::new(store), Arc::new(Machine), Box::new(|_| {}))
            .because(Exit::Unavailable)?;
        let git = GitRepository::open(
            &found.root,
            &state.join("git"),
            identity(),
            Arc::new(Machine),
        )
        .because(Exit::Usage)?;
        let mut private = vec![state.clone()];
        private.extend(options.audit.and_then(|audit| audit.canonicalize().ok()));
        let parts = BenchParts {
            root: found.root.clone(),
            git_dir: found.git_dir,
            private,
            state: &state,
            policy: &policy,
            extra_environment: options.environment,
            longest_command: Duration::from_secs(86_400),
            tracked: Arc::new(move |path: &str| git.is_tracked(path).unwrap_or(false)),
        };
        let bench = Box::new(workbench(parts, Arc::clone(&policies))?);
        Ok(Self {
            root: found.root,
            bench,
            policies,
            limits: patch_limits(&policy)?,
            policy,
            agent: selfheal_repair::RepairEngine::new(),
            recorder: Arc::new(Recorder {
                ledger,
                progress: options.progress,
            }),
            cancel: options.cancel,
            head: found.head,
            branch: found.branch.unwrap_or_else(|| DETACHED.to_owned()),
            drafts: state.join("draft"),
            _temporary: temporary,
        })
    }

    /// `directory` relative to the repository's root, with `/`; empty for the root.
    pub(crate) fn relative_directory(&self, directory: &Path) -> String {
        let directory = directory
            .canonicalize()
            .unwrap_or_else(|_| directory.to_owned());
        directory
            .strip_prefix(&self.root)
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    }

    /// Diagnoses, drafts in a throw-away worktree, judges and proves.
    pub(crate) fn heal(&self, check: CheckCommand, budget: Duration) -> Result<Healed, HealError> {
        let started = Instant::now();
        let ledger = &self.recorder.ledger;
        let agent = Actor::Agent(self.agent.name());
        self.open_issue(&check)?;
        let brief = DiagnosisBrief {
            run: None,
            texts: Vec::new(),
            checks: vec![check.clone()],
            services: Vec::new(),
            budget: budget.mul_f64(1.0 - RESERVE),
            excluded: Vec::new(),
        };
        let reading = self
            .bench
            .for_diagnosis(self.session(Actor::Agent(self.agent.name())));
        let diagnosis = self.agent.diagnose(&brief, reading.as_ref())?;
        drop(reading);
        ledger.record(
            ISSUE,
            agent.clone(),
            Event::DiagnosisFinished(diagnosis.clone()),
        )?;
        // Nothing is committed on a branch: the permit is only the record's receipt.
        let (_, _permit) = ledger.begin_drafting(ISSUE, agent.clone())?;

        let worktree = RunWorktree {
            upper: self.drafts.join("upper"),
            work: self.drafts.join("work"),
        };
        for directory in [&worktree.upper, &worktree.work] {
            std::fs::create_dir_all(directory)
                .map_err(|error| HealError::Worktree(error.to_string()))?;
        }
        let writing = self
            .bench
            .for_drafting(self.session(Actor::Agent(self.agent.name())), &worktree);
        let draft = self.agent.draft(&brief, &diagnosis, writing.as_tools())?;
        let patch = Patch::of(writing.changes().map_err(HealError::Worktree)?);
        drop(writing);

        if let Some(broken) = broken_host_limit(&patch, &self.limits) {
            return Err(HealError::Refused(broken));
        }
        let claims = Claims {
            confidence: draft.confidence,
            rivals: draft.rivals.len(),
            proved: Proved::NotYet,
            severity: String::new(),
        };
        let facts = patch_facts(&patch, claims, &self.limits.protected);
        let judgement = self.policies.current().judge_patch(&self.context(), &facts);
        ledger.record(
            ISSUE,
            agent,
            Event::PatchDrafted {
                patch: patch.clone(),
                rationale: draft.rationale.clone(),
                confidence: draft.confidence,
                rivals: draft.rivals.clone(),
                commit: self.head.clone(),
                judgement: judgement.clone(),
            },
        )?;
        let asks = person_needed(judgement.verdict, &patch)?;

        self.recorder
            .progress("proving the patch in fresh processes");
        let left = budget
            .saturating_sub(started.elapsed())
            .max(Duration::from_secs(1));
        let check = CheckCommand {
            timeout: check.timeout.min(left),
            ..check
        };
        let before = self.bench.for_verification(self.session(Actor::Host), None);
        let code_only = without_tests(&patch);
        let after = self
            .bench
            .for_verification(self.session(Actor::Host), Some(&code_only));
        let evidence = compare(
            &check,
            Witness::Reproduction,
            before.as_ref(),
            after.as_ref(),
        )
        .map_err(AgentError::Tool)?;
        let verification = Verification {
            checks: vec![evidence],
        };
        ledger.record(ISSUE, Actor::Host, Event::PatchProved(verification.clone()))?;
        if verification.result() != VerificationResult::Pass {
            return Err(HealError::NotProved(verification));
        }
        Ok(Healed {
            diagnosis,
            patch,
            rationale: draft.rationale,
            confidence: draft.confidence,
            rivals: draft.rivals,
            verification,
            asks,
        })
    }

    /// The operator asks and so approves: on record before any agent starts.
    fn open_issue(&self, check: &CheckCommand) -> Result<(), HealError> {
        let ledger = &self.recorder.ledger;
        let title: String = check
            .command
            .chars()
            .filter(|c| !c.is_control())
            .take(150)
            .collect();
        let draft = ReportDraft {
            title: format!("heal: {title}"),
            description: format!("`{}` fails", check.command),
            ..ReportDraft::default()
        };
        let report = Report::parse(draft, Source::Cli, TrustClass::Admin).map_err(|errors| {
            HealError::Refused(format!("the command is no report: {errors:?}"))
        })?;
        ledger.open(IssueId(Machine.uuid()), report, Actor::Operator)?;
        let name =
            UserName::new("operator").map_err(|error| HealError::Refused(error.to_string()))?;
        let generation = self.policies.current().generation();
        ledger.record(
            ISSUE,
            Actor::Operator,
            Event::IssueApproved(Approval::Admin { name }),
        )?;
        let started = Event::DiagnosisStarted {
            run: RunId(Machine.uuid()),
            number: RunNumber(1),
            agent: self.agent.name(),
            snapshot: self.head.clone(),
            base_commit: self.head.clone(),
            live_branch: self.branch.clone(),
            policy_generation: generation,
        };
        let (_, _permit) = ledger.begin_diagnosis(ISSUE, Actor::Operator, started)?;
        Ok(())
    }

    /// Makes the heal commit on the branch that is checked out.
    pub(crate) fn commit(&self, healed: &Healed) -> Result<String, Failure> {
        if let Some(reason) = &healed.asks {
            let message = format!(
                "not applied: rule {} wants a person to look first: {}; apply the printed patch with `git apply` if it is right",
                reason.rule, reason.message
            );
            return Err(Failure::new(Exit::Denied, message));
        }
        let paths: Vec<String> = healed
            .patch
            .files
            .iter()
            .map(|file| file.path.clone())
            .collect();
        let dirty = selfheal_worktree::is_dirty(&self.root, &paths).because(Exit::Unavailable)?;
        if !dirty.is_empty() {
            let message = format!(
                "not applied: {} has uncommitted changes; commit or stash them, then run again",
                dirty.join(", ")
            );
            return Err(Failure::new(Exit::NotSo, message));
        }
        let message = CommitMessage {
            subject: format!("heal: {}", short(&healed.rationale)),
            body: format!("{}\n\n{}", healed.diagnosis.root_cause, healed.rationale),
            trailers: vec![
                (
                    "Selfheal-Policy".to_owned(),
                    self.policies.current().digest().to_string(),
                ),
                ("Assisted-by".to_owned(), self.agent.name()),
            ],
        };
        let commit = selfheal_worktree::heal_commit_now(
            &self.root,
            &healed.patch,
            &message,
            identity(),
            Arc::new(Machine),
        )
        .because(Exit::Unavailable)?;
        Ok(commit.to_string())
    }

    /// A heal commit needs a branch; better said before the search than after it.
    pub(crate) fn must_be_on_a_branch(&self) -> Result<(), Failure> {
        if self.branch == DETACHED {
            let message = "HEAD is detached, so there is no branch for a heal commit; check one out, or leave --apply out";
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(())
    }

    fn session(&self, actor: Actor) -> ToolSessionSpec {
        ToolSessionSpec {
            run: None,
            actor,
            trust: TrustClass::Admin,
            level: AutonomyLevel::Suggest,
            service: None,
            earned: selfheal_domain::policy::TrackRecord::default(),
            recorder: Arc::clone(&self.recorder) as Arc<dyn CallRecorder>,
            cancel: self.cancel.clone(),
        }
    }

    fn context(&self) -> PolicyContext {
        PolicyContext {
            run: None,
            phase: AgentPhase::Drafting,
            environment: self.policy.environment,
            level: AutonomyLevel::Suggest,
            actor: self.agent.name(),
            trust: TrustClass::Admin,
            service: None,
            earned: Default::default(),
            counters: RunCounters::default(),
        }
    }
}

/// The first words of a rationale, for the first line of a commit.
fn short(rationale: &str) -> String {
    let line = rationale.lines().next().unwrap_or_default();
    let sentence = line
        .split(". ")
        .next()
        .unwrap_or(line)
        .trim_end_matches('.');
    if sentence.chars().count() <= SUBJECT {
        return sentence.to_owned();
    }
    let mut subject = String::new();
    for word in sentence.split(' ') {
        if subject.chars().count() + word.chars().count() + 2 > SUBJECT {
            break;
        }
        if !subject.is_empty() {
            subject.push(' ');
        }
        subject.push_str(word);
    }
    subject.push('…');
    subject
}

/// Why a person must look at the patch before it is applied, if one must.
fn person_needed(verdict: Verdict, patch: &Patch) -> Result<Option<Reason>, HealError> {
    match verdict {
        // Tests are witnesses: the host itself never lets them change unseen.
        Verdict::Allow => {
            let edited_test = patch.files.iter().find(|file| is_test_path(&file.path));
            Ok(edited_test.map(|file| {
                let message = format!("the patch edits the test {}", file.path);
                Reason::new("host.tests", message)
            }))
        }
        Verdict::Ask(reason) => Ok(Some(reason)),
        Verdict::Deny(reason) => Err(HealError::Refused(format!(
            "rule {}: {}",
            reason.rule, reason.message
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{HealError, Patch, Reason, Verdict, person_needed, short};
    use selfheal_domain::patch::FileChange;

    #[test]
    fn a_patch_that_edits_tests_needs_a_person_whatever_modules_say() {
        let patch = |path: &str| {
            Patch::of(vec![FileChange {
                path: path.to_owned(),
                before: Some("assert total() == 3\n".to_owned()),
                after: Some("assert total() == 4\n".to_owned()),
            }])
        };
        let (code, tests) = (patch("app/total.py"), patch("tests/test_total.py"));
        assert_eq!(person_needed(Verdict::Allow, &code).unwrap(), None);
        let needed = person_needed(Verdict::Allow, &tests).unwrap();
        assert_eq!(
            needed.map(|reason| reason.rule).as_deref(),
            Some("host.tests")
        );
        let ask = Reason::new("site.ask", "look at it");
        let needed = person_needed(Verdict::Ask(ask.clone()), &code).unwrap();
        assert_eq!(needed, Some(ask.clone()));
        let denied = person_needed(Verdict::Deny(ask), &code);
        assert!(matches!(denied, Err(HealError::Refused(_))));
    }

    #[test]
    fn a_subject_is_one_short_line() {
        assert_eq!(short("Adds a guard. With it all pass."), "Adds a guard");
        let long = short(
            "A wrong operator: replaces `quantity > minimum` by `quantity >= minimum` at pricing.py:12",
        );
        assert_eq!(long, "A wrong operator: replaces `quantity > minimum` by…");
        assert_eq!(short(""), "");
    }
}
