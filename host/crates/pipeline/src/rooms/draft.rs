//! Drafting: DIAGNOSED → a patch on the run's branch. At OBSERVE the run ends here.

use super::{Rooms, Step};
use crate::bounds;
use crate::culprit::{NAME, Reverter};
use crate::facts::{Claims, Proved, brief, broken_host_limit, excluded, patch_facts};
use crate::healer::chain;
use selfheal_domain::agent::{Agent, Diagnosis, Draft, named};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::issue::Issue;
use selfheal_domain::ledger::RecordError;
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::permit::{DraftPatch, Permit};
use selfheal_domain::policy::AgentPhase;
use selfheal_domain::ports::{CancelToken, CommitMessage};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::run::{RetryFrom, Run};
use selfheal_domain::user::Actor;

impl Rooms {
    pub(super) fn draft(&self, issue: &Issue, cancel: &CancelToken) -> Result<Step, RecordError> {
        let level = self.level()?;
        if level == AutonomyLevel::Observe {
            return self.record(issue, Event::RunObserved { level });
        }
        if let Some((earlier, RetryFrom::Prove)) = issue.kept_run() {
            return self.keep_patch(issue, earlier);
        }
        let (issue, permit) = self
            .ledger
            .begin_drafting(issue.number, self.agent_actor())?;
        let Some((run, diagnosis)) = issue
            .run()
            .and_then(|run| Some((run, run.diagnosis.clone()?)))
        else {
            return self.escalate(&issue, "the run has no diagnosis to draft from");
        };
        let reference = run.reference(issue.number);
        self.note(&issue, "drafting a patch in the run's worktree");
        let brief = brief(&issue, &self.settings, Vec::new());
        let issue = self.heed(&issue, &brief)?;
        // Whoever took over goes on.
        let finder = run.agents().last().unwrap_or_default();
        let mut agent: &dyn Agent = if finder == NAME {
            &Reverter
        } else {
            named(self.doors.agent.as_ref(), finder)
        };
        let (actor, drafted, changes) = loop {
            let worktree = match self.doors.repository.open_worktree(&permit, &run.snapshot) {
                Ok(worktree) => worktree,
                Err(error) => {
                    return self.escalate(
                        &issue,
                        format!("no worktree could be made: {}", chain(&error)),
                    );
                }
            };
            let actor = Actor::Agent(agent.name());
            let session = self.session(&issue, actor.clone(), cancel)?;
            let tools = self.doors.workbench.for_drafting(session, &worktree);
            let drafted = agent.draft(&brief, &diagnosis, tools.as_tools());
            let changes = tools.changes();
            drop(tools);
            let error = match drafted {
                Ok(draft) => break (actor, Ok(draft), changes),
                Err(error) => error,
            };
            match self.successor(&issue, agent, &error, cancel)? {
                Some((next, _)) => {
                    // What the first one left undone is not the next one's.
                    self.close_worktree(&issue, reference);
                    agent = next;
                }
                None => break (actor, Err(error), changes),
            }
        };
        let step = match (drafted, changes) {
            (Err(error), _) => self.agent_failed(&issue, &error, cancel),
            (Ok(_), Err(unreadable)) => {
                self.escalate(&issue, format!("the worktree holds no patch: {unreadable}"))
            }
            (Ok(draft), Ok(changes)) => {
                let mut draft = draft;
                offer(&mut draft, &diagnosis, &changes, &brief.excluded);
                let draft = bounds::draft(draft);
                // What counts is what is in the worktree, not what the agent says it wrote.
                let patch = Patch::of(changes);
                if excluded(&issue).any(|digest| digest == patch.digest) {
                    self.escalate(
                        &issue,
                        "the agent wrote a patch again that was refused or did not hold before",
                    )
                } else {
                    self.commit(&issue, permit, actor, patch, draft)
                }
            }
        };
        self.close_worktree(&issue, reference);
        step
    }

    /// The patch is the one that an earlier attempt drafted, where its files are still what
    /// they were. An admin asked for it, so it may be one that did not hold.
    fn keep_patch(&self, issue: &Issue, earlier: &Run) -> Result<Step, RecordError> {
        let (issue, permit) = self.ledger.begin_drafting(issue.number, Self::host())?;
        let Some((run, kept)) = issue.run().zip(earlier.draft.clone()) else {
            return self.escalate(&issue, "the earlier attempt has no patch to keep");
        };
        let reference = run.reference(issue.number);
        self.note(&issue, "taking the patch of an earlier attempt");
        // It makes the run's branch.
        let worktree = match self.doors.repository.open_worktree(&permit, &run.snapshot) {
            Ok(worktree) => worktree,
            Err(error) => {
                return self.escalate(
                    &issue,
                    format!("no worktree could be made: {}", chain(&error)),
                );
            }
        };
        drop(worktree);
        let draft = Draft {
            rationale: kept.rationale,
            confidence: kept.confidence,
            files: Vec::new(),
            rivals: kept.rivals,
            log: format!("Kept from attempt {}.", earlier.number),
        };
        let step = self.commit(&issue, permit, Self::host(), kept.patch, draft);
        self.close_worktree(&issue, reference);
        step
    }

    /// Puts a patch on the run's branch and on record, as the guardrails judge it now.
    fn commit(
        &self,
        issue: &Issue,
        permit: Permit<DraftPatch>,
        actor: Actor,
        patch: Patch,
        draft: Draft,
    ) -> Result<Step, RecordError> {
        let rules = self.settings.rules.get();
        if let Some(broken) = broken_host_limit(&patch, &rules.limits) {
            return self.escalate(issue, broken);
        }
        let Some(run) = issue.run() else {
            return self.escalate(issue, "there is no run to draft for");
        };
        let claims = Claims {
            confidence: draft.confidence,
            rivals: draft.rivals.len(),
            proved: Proved::NotYet,
            severity: issue.report.severity.as_str().to_owned(),
        };
        let mut facts = patch_facts(&patch, claims, &rules.limits.protected);
        self.inform(issue, &mut facts)?;
        let context = self.context(issue, AgentPhase::Drafting)?;
        let judgement = self.policies_of(issue).judge_patch(&context, &facts);
        let author = match &actor {
            Actor::Agent(name) => name,
            Actor::Host | Actor::User(_) | Actor::Operator => &run.agent,
        };
        let message = CommitMessage {
            subject: format!("draft: {}", issue.report.title),
            body: draft.rationale.clone(),
            trailers: vec![("Assisted-by".to_owned(), author.clone())],
        };
        let repository = &self.doors.repository;
        match repository.commit_draft(permit, &run.snapshot, &patch, &message) {
            Ok(commit) => self
                .ledger
                .record(
                    issue.number,
                    actor,
                    Event::PatchDrafted {
                        patch,
                        rationale: draft.rationale,
                        confidence: draft.confidence,
                        rivals: draft.rivals,
                        commit,
                        judgement,
                        log: draft.log,
                    },
                )
                .map(|_| Step::On),
            Err(error) => self.escalate(
                issue,
                format!("the draft could not be committed: {}", chain(&error)),
            ),
        }
    }

    fn close_worktree(&self, issue: &Issue, run: selfheal_domain::ids::RunRef) {
        if let Err(error) = self.doors.repository.close_worktree(run) {
            tracing::warn!(
                issue = issue.number.0,
                error = chain(&error),
                "a run's worktree was left behind"
            );
        }
    }

    /// The host as actor, for checks that are its own.
    pub(super) fn host() -> Actor {
        Actor::Host
    }
}

/// What was proposed beside the draft is offered beside it.
fn offer(draft: &mut Draft, diagnosis: &Diagnosis, changes: &[FileChange], refused: &[Digest]) {
    let drafted = Patch::of(changes.to_vec()).digest;
    let patches = diagnosis.proposals.iter().map(|it| &it.patch);
    for patch in patches.filter(|it| it.digest != drafted && !refused.contains(&it.digest)) {
        if !draft.rivals.contains(&patch.diff) {
            draft.rivals.push(patch.diff.clone());
        }
    }
}
