//! One heal without a server: the same broker, policies, sandbox, engine and
//! proof, with the journal in a temporary directory.

use super::agents::agent_of;
use super::{
    BenchParts, default_policy_config, identity, load_policies, masker, patch_limits, workbench,
};
use crate::config::AgentConfig;
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use crate::mask::Mask;
use selfheal_domain::agent::{
    Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Draft, named,
};
use selfheal_domain::event::{Approval, Event};
use selfheal_domain::ids::{CommentId, CommitId, IssueId, IssueNumber, RunId, RunNumber};
use selfheal_domain::issue::{Comment, CommentRole, Source};
use selfheal_domain::ledger::{Ledger, RecordError};
use selfheal_domain::patch::Patch;
use selfheal_domain::policy::{AgentPhase, PolicyContext, PolicyHost, RunCounters};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, CommitMessage, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::report::{Report, ReportDraft};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::{Actor, TrustClass, UserName};
use selfheal_domain::verdict::{Reason, Verdict};
use selfheal_domain::verification::{Verification, VerificationResult};
use selfheal_pipeline::facts::{Claims, Proved, broken_host_limit, patch_facts};
use selfheal_pipeline::proof::{Trial, Witness};
use selfheal_pipeline::settings::PatchLimits;
use selfheal_pipeline::witnesses::{holds_tests, without_tests};
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
    /// Who diagnoses and drafts.
    pub(crate) agent: &'a AgentConfig,
    /// Where to keep the journal, and transcripts of models.
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
    /// The agents that did the work, each once.
    pub(crate) agents: Vec<String>,
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
    agent: Arc<dyn Agent>,
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
        let masker = masker(&policy, &options.agent.keys())?;
        let mask = Mask::new(masker.clone());
        let agent = agent_of(options.agent, &mask, options.audit)?;
        let store =
            JournalStore::open(&journal, Options::new(masker)).because(Exit::Unavailable)?;
        let ledger = Ledger::new(Arc::new(store), Arc::new(Machine), Box::new(|_| {}));
        let git = GitRepository::open(
            &found.root,
            &state.join("git"),
            identity(),
            Arc::new(Machine),
        )
        .because(Exit::Usage)?;
        let mut private = vec![state.clone()];
        private.extend(options.audit.and_then(|audit| audit.canonicalize().ok()));
        private.extend(options.agent.key_files());
        let parts = BenchParts {
            root: found.root.clone(),
            git_dir: found.git_dir,
            private,
            state: &state,
            policy: &policy,
            extra_environment: options.environment,
            mcp: &options.agent.mcp,
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
            agent,
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
        self.open_issue(&check)?;
        let end = started + budget.mul_f64(1.0 - RESERVE);
        let (finder, diagnosis) = self.diagnose(&check, end)?;
        ledger.record(
            ISSUE,
            Actor::Agent(finder.clone()),
            Event::DiagnosisFinished(diagnosis.clone()),
        )?;
        // Nothing is committed on a branch: the permit is only the record's receipt.
        let (_, _permit) = ledger.begin_drafting(ISSUE, Actor::Agent(finder.clone()))?;
        let first = named(self.agent.as_ref(), &finder);
        let (writer, draft, patch) = self.draft(first, &check, &diagnosis, end)?;

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
        let context = self.context(&writer);
        let judgement = self.policies.current().judge_patch(&context, &facts);
        ledger.record(
            ISSUE,
            Actor::Agent(writer.clone()),
            Event::PatchDrafted {
                patch: patch.clone(),
                rationale: draft.rationale.clone(),
                confidence: draft.confidence,
                rivals: draft.rivals.clone(),
                commit: self.head.clone(),
                judgement: judgement.clone(),
                log: draft.log.clone(),
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
        let trial = Trial {
            before: before.as_ref(),
            after: after.as_ref(),
            until: Some(started + budget),
        };
        let evidence = trial
            .compare(&check, Witness::Reproduction)
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
            agents: if writer == finder {
                vec![finder]
            } else {
                vec![finder, writer]
            },
        })
    }

    /// Asks the agent, and whoever stands in for it; says who found it.
    fn diagnose(
        &self,
        check: &CheckCommand,
        end: Instant,
    ) -> Result<(String, Diagnosis), HealError> {
        let mut agent = self.agent.as_ref();
        loop {
            let tools = self
                .bench
                .for_diagnosis(self.session(Actor::Agent(agent.name())));
            match agent.diagnose(&brief(check, agent, end), tools.as_ref()) {
                Ok(diagnosis) => return Ok((agent.name(), diagnosis)),
                Err(error) => agent = self.successor(agent, error)?,
            }
        }
    }

    /// The same for the patch, in a throw-away worktree for each.
    fn draft(
        &self,
        mut agent: &dyn Agent,
        check: &CheckCommand,
        diagnosis: &Diagnosis,
        end: Instant,
    ) -> Result<(String, Draft, Patch), HealError> {
        for number in 1.. {
            let place = self.drafts.join(number.to_string());
            let worktree = RunWorktree {
                upper: place.join("upper"),
                work: place.join("work"),
            };
            for directory in [&worktree.upper, &worktree.work] {
                std::fs::create_dir_all(directory)
                    .map_err(|error| HealError::Worktree(error.to_string()))?;
            }
            let session = self.session(Actor::Agent(agent.name()));
            let tools = self.bench.for_drafting(session, &worktree);
            match agent.draft(&brief(check, agent, end), diagnosis, tools.as_tools()) {
                Ok(draft) => {
                    let patch = Patch::of(tools.changes().map_err(HealError::Worktree)?);
                    return Ok((agent.name(), draft, patch));
                }
                Err(error) => agent = self.successor(agent, error)?,
            }
        }
        Err(HealError::Worktree("there are too many".to_owned()))
    }

    /// Who takes over from an agent that is not available; on record.
    fn successor<'a>(
        &self,
        agent: &'a dyn Agent,
        error: AgentError,
    ) -> Result<&'a dyn Agent, HealError> {
        let AgentError::Unavailable { summary, .. } = &error else {
            return Err(error.into());
        };
        let Some(next) = agent.stand_in().filter(|_| !self.cancel.is_cancelled()) else {
            return Err(error.into());
        };
        let content = format!("{summary}; {} takes over.", next.name());
        self.recorder.progress(&content);
        let comment = Comment {
            id: CommentId(Machine.uuid()),
            author: Actor::Host.to_string(),
            role: CommentRole::System,
            content,
            created_at: Machine.now(),
        };
        let ledger = &self.recorder.ledger;
        ledger.record(ISSUE, Actor::Host, Event::IssueCommented(comment))?;
        Ok(next)
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
            trailers: [("Selfheal-Policy".to_owned(), {
                let set = self.policies.current();
                format!("{} {}", set.generation(), set.digest())
            })]
            .into_iter()
            .chain(
                healed
                    .agents
                    .iter()
                    .map(|name| ("Assisted-by".to_owned(), name.clone())),
            )
            .collect(),
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

    fn context(&self, agent: &str) -> PolicyContext {
        PolicyContext {
            run: None,
            phase: AgentPhase::Drafting,
            environment: self.policy.environment,
            level: AutonomyLevel::Suggest,
            actor: agent.to_owned(),
            trust: TrustClass::Admin,
            service: None,
            earned: Default::default(),
            counters: RunCounters::default(),
        }
    }
}

/// What an agent is asked. One that somebody can stand in for leaves time for that.
fn brief(check: &CheckCommand, agent: &dyn Agent, end: Instant) -> DiagnosisBrief {
    let left = end.saturating_duration_since(Instant::now());
    DiagnosisBrief {
        run: None,
        texts: Vec::new(),
        checks: vec![check.clone()],
        services: Vec::new(),
        budget: if agent.stand_in().is_some() {
            left / 2
        } else {
            left
        },
        excluded: Vec::new(),
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
            let edited_test = patch.files.iter().find(|file| holds_tests(file));
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
