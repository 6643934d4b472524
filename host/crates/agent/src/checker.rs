//! Judges calls that an agent of another maker carries out by itself: facts, policies
//! and record as in the broker, without the effect.
//!
//! Nothing contains such an agent but the answer. What the sandbox would hold back
//! has to be asked or denied here (rules `host.*`, which no policy can loosen); what
//! the host cannot understand is denied.

use crate::broker::shorten;
use crate::covered::covered;
use crate::facts::Scope;
use crate::facts::foreign::{Footing, Foreign, facts_of_foreign};
use crate::view::View;
use crate::workbench::{Bench, SandboxWorkbench};
use chrono::{DateTime, Utc};
use globset::GlobSet;
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::external::{ExternalCall, ExternalChecker, ExternalOrigin, Situation};
use selfheal_domain::ids::DecisionId;
use selfheal_domain::policy::{
    AccessMode, AgentPhase, PathAccess, PolicyContext, RunCounters, SimpleCommand, ToolCallFacts,
};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Reason, Verdict};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions whose counters are remembered; the oldest goes first.
const MAX_SESSIONS: usize = 1_000;
/// Calls that wait for their outcome; the oldest goes first, its outcome unknown.
const MAX_PENDING: usize = 10_000;
/// Longest outcome text in the record, in bytes.
const MAX_OUTCOME: usize = 2 * 1024;

/// Directories, files and names through which agents are told what they may do. Who
/// writes them switches its own guard off.
const AGENT_SETTINGS: &[&str] = &[
    ".claude",
    ".codex",
    ".gemini",
    ".agents",
    ".claude.json",
    ".mcp.json",
    "managed-settings.json",
    "managed-mcp.json",
];

/// What of the host's own command an agent may run.
const OWN_COMMANDS: &[&[&str]] = &[
    &["doctor"],
    &["heal"],
    &["issue", "list"],
    &["issue", "report"],
    &["issue", "show"],
    &["--help"],
    &["--version"],
];

/// Options of those that no agent gives. `--apply` commits to the live branch; the others
/// choose what is obeyed, written or trusted.
const STEERING_OPTIONS: &[&str] = &[
    "--apply", "--agent", "--audit", "--config", "--env", "--policy", "--token", "--url",
];

/// Programs that agents carry out themselves, so that nobody sees what they change.
const BUILT_IN: &[&str] = &["apply_patch", "applypatch"];

/// Where throw-away files go on every machine.
const SCRATCH: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];

/// What the operators allow agents that run on their own.
#[derive(Clone, Debug, Default)]
pub struct CheckerConfig {
    /// Directories besides the application's repository in which they may work,
    /// absolute.
    pub directories: Vec<PathBuf>,
    /// Globs of tools of theirs that the host does not know and that the policies
    /// alone decide about, as in `mcp__github__get_*`.
    pub tools: Vec<String>,
}

/// A configured value is none.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// A directory is not there.
    #[error("the directory {} cannot be opened", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A glob is none.
    #[error("{glob:?} is not a glob")]
    Glob {
        /// The text.
        glob: String,
        /// What is wrong with it.
        source: globset::Error,
    },
}

/// Judges calls of agents that run on their own.
pub struct Checker {
    bench: Arc<Bench>,
    /// The repository first.
    places: Vec<View>,
    tools: GlobSet,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    sessions: VecDeque<Session>,
    pending: VecDeque<Pending>,
}

struct Session {
    actor: String,
    name: String,
    started: DateTime<Utc>,
    counters: RunCounters,
}

struct Pending {
    key: Digest,
    decision: DecisionId,
}

impl SandboxWorkbench {
    /// Judges calls by the policies, secrets and protected paths of this workbench.
    ///
    /// # Errors
    /// See [`CheckerError`].
    pub fn checker(&self, config: &CheckerConfig) -> Result<Checker, CheckerError> {
        let mut places = vec![View::new(
            self.bench.config.repository_root.clone(),
            Vec::new(),
        )];
        for path in &config.directories {
            let found = path
                .canonicalize()
                .map_err(|source| CheckerError::Directory {
                    path: path.clone(),
                    source,
                })?;
            places.push(View::new(found, Vec::new()));
        }
        let mut tools = globset::GlobSetBuilder::new();
        for text in &config.tools {
            let wrong = |source| CheckerError::Glob {
                glob: text.clone(),
                source,
            };
            tools.add(globset::Glob::new(text).map_err(wrong)?);
        }
        let wrong = |source| CheckerError::Glob {
            glob: config.tools.join(" "),
            source,
        };
        Ok(Checker {
            bench: Arc::clone(&self.bench),
            places,
            tools: tools.build().map_err(wrong)?,
            memory: Mutex::default(),
        })
    }
}

impl ExternalChecker for Checker {
    fn check(&self, call: &ExternalCall, situation: &Situation) -> Verdict {
        let verdict = match self.judge(call, situation) {
            Ok((decision, answer)) => {
                if let Verdict::Deny(reason) = &answer {
                    let text = format!("denied by {}: {}", reason.rule, reason.message);
                    self.record_outcome(call, decision, ToolOutcome::Failed(text), situation);
                } else {
                    self.remember(call, decision);
                }
                answer
            }
            Err(refused) => Verdict::Deny(refused),
        };
        let denied = matches!(verdict, Verdict::Deny(_));
        if denied {
            self.with_session(call, |session| session.counters.denied += 1);
        }
        verdict
    }

    fn finished(&self, call: &ExternalCall, outcome: ToolOutcome, situation: &Situation) {
        let found = {
            let mut memory = self.memory();
            let key = key_of(call);
            let place = memory.pending.iter().position(|pending| pending.key == key);
            place.and_then(|place| memory.pending.remove(place))
        };
        if let Some(pending) = found {
            self.record_outcome(call, pending.decision, outcome, situation);
            return;
        }
        // Its hook was switched off, or the host started in between: on record either way.
        tracing::warn!(
            agent = %call.agent,
            session = call.session,
            tool = call.tool,
            "an agent reports a call that it did not ask about"
        );
        match self.judge(call, situation) {
            Ok((decision, _)) => {
                let text = "it ran although this host was not asked before";
                let outcome = match outcome {
                    ToolOutcome::Succeeded(more) => {
                        ToolOutcome::Succeeded(format!("{text}; {more}"))
                    }
                    ToolOutcome::Failed(more) => ToolOutcome::Failed(format!("{text}; {more}")),
                    ToolOutcome::Unknown(more) => ToolOutcome::Unknown(format!("{text}; {more}")),
                };
                self.record_outcome(call, decision, outcome, situation);
            }
            Err(reason) => tracing::error!(
                reason = reason.message,
                "a call that this host was not asked about could not be recorded"
            ),
        }
    }
}

impl Checker {
    /// Facts, policies, record. An error is a denial that is on no record: nothing was
    /// judged, or nothing could be written.
    fn judge(
        &self,
        call: &ExternalCall,
        situation: &Situation,
    ) -> Result<(DecisionId, Verdict), Reason> {
        let bench = &self.bench;
        let (foreign, outside) = match self.place(&call.directory) {
            Ok((view, directory)) => (self.facts(call, view, &directory), None),
            Err(reason) => {
                // Seen from the repository, so that the record still says what it was.
                let view = self.places.first().ok_or_else(|| reason.clone())?;
                let root = view.root().to_owned();
                (self.facts(call, view, &root), Some(reason))
            }
        };
        let actor = Actor::Agent(format!("external:{}", call.agent));
        let counters = self.with_session(call, |session| {
            session.counters.tool_calls += 1;
            let passed = bench.clock.now() - session.started;
            session.counters.seconds = u64::try_from(passed.num_seconds()).unwrap_or(0);
            session.counters
        });
        let context = PolicyContext {
            run: None,
            phase: AgentPhase::Drafting,
            environment: bench.environment(),
            level: situation.level,
            actor: actor.to_string(),
            // Nobody knows which texts led here.
            trust: TrustClass::Machine,
            service: None,
            earned: situation.earned,
            counters,
        };
        let judgement = bench
            .policies
            .for_run(None)
            .judge_tool_call(&context, &foreign.facts);
        let mut answer = judgement.strictest();
        if let Some(reason) = outside {
            answer = answer.stricter(Verdict::Deny(reason));
        }
        if let Some(why) = &situation.stopped {
            answer = answer.stricter(denied("host.stopped", why.clone()));
        }
        answer = answer.stricter(self.floor(call, &foreign));
        let decision = DecisionId(bench.ids.uuid());
        let written = foreign.facts.bytes;
        let event = Event::ToolCalled(ToolDecision {
            id: decision,
            phase: AgentPhase::Drafting,
            facts: foreign.facts,
            judgement,
            external: Some(Box::new(ExternalOrigin {
                agent: call.agent,
                session: call.session.clone(),
                call: call.call.clone(),
                directory: call.directory.to_string_lossy().into_owned(),
                answer: answer.clone(),
            })),
        });
        situation
            .recorder
            .record(&actor, event)
            .map_err(|error| Reason::new("host.no-record", error.to_string()))?;
        if written > 0 && !matches!(answer, Verdict::Deny(_)) {
            self.with_session(call, |session| {
                session.counters.files_written += 1;
                session.counters.bytes_written =
                    session.counters.bytes_written.saturating_add(written);
            });
        }
        Ok((decision, answer))
    }

    fn facts(&self, call: &ExternalCall, view: &View, directory: &Path) -> Foreign {
        let bench = &self.bench;
        let own = self
            .places
            .first()
            .is_some_and(|place| place.root() == view.root());
        if own {
            return facts_of_foreign(call, directory, &Scope::new(bench, view));
        }
        let scope = Scope::with(
            view,
            &bench.config.environment_variables,
            &bench.masker,
            // What git knows there is not looked up: all of it counts as known.
            Box::new(|_| true),
            Box::new(|path, relative| {
                bench.is_private(path)
                    || relative.is_some_and(|relative| {
                        bench.rules.is_protected(relative) || bench.rules.is_secret(relative)
                    })
            }),
        );
        facts_of_foreign(call, directory, &scope)
    }

    /// The workspace that a working directory belongs to, and the directory itself.
    fn place(&self, directory: &Path) -> Result<(&View, PathBuf), Reason> {
        let refused = |message: String| Reason::new("host.hook-workspace", message);
        if !directory.is_absolute() {
            return Err(refused("the agent does not say where it works".to_owned()));
        }
        let found = directory.canonicalize().map_err(|error| {
            refused(format!("{} cannot be opened: {error}", directory.display()))
        })?;
        let view = self
            .places
            .iter()
            .find(|view| found.starts_with(view.root()))
            .ok_or_else(|| {
                refused(format!(
                    "{} is not in the application's repository; list it under [hook] directories \
                     in selfheal.toml where agents may work there",
                    found.display()
                ))
            })?;
        if self.bench.is_private(&found) {
            return Err(refused(format!(
                "{} belongs to this host, not to agents",
                found.display()
            )));
        }
        Ok((view, found))
    }

    /// What the host insists on where no sandbox contains, whatever policies say.
    fn floor(&self, call: &ExternalCall, foreign: &Foreign) -> Verdict {
        let facts = &foreign.facts;
        let mut verdict = match foreign.footing {
            Footing::Known => Verdict::Allow,
            Footing::Person(why) => asked(
                "host.needs-person",
                format!("a person has to want this: {why}"),
            ),
            Footing::Unknown(_) if self.tools.is_match(&call.tool) => Verdict::Allow,
            Footing::Unknown(why) => denied(
                "host.unknown-tool",
                format!(
                    "{} cannot be judged: {why}; list it under [hook] tools in selfheal.toml \
                     where policies alone shall decide",
                    shorten(&call.tool, 100)
                ),
            ),
        };
        let listed = self.tools.is_match(&call.tool);
        if !facts.parsed && !listed {
            let message = "this cannot be understood as a whole, and nothing contains it here";
            verdict = verdict.stricter(asked("host.not-understood", message.to_owned()));
        }
        for command in &facts.commands {
            verdict = verdict.stricter(judge_command(command));
        }
        for access in &facts.paths {
            verdict = verdict.stricter(self.judge_access(facts, access));
        }
        // A denial is strict enough without a look through the workspace.
        if !matches!(verdict, Verdict::Deny(_))
            && let Some(secret) = self.shows(call, facts)
        {
            let message = format!(
                "this may show {secret}, which holds secrets; name the files it shall look at"
            );
            verdict = verdict.stricter(asked("host.secret-covered", message));
        }
        verdict
    }

    /// A secret that the call may show without naming it.
    fn shows(&self, call: &ExternalCall, facts: &ToolCallFacts) -> Option<String> {
        let (view, _) = self.place(&call.directory).ok()?;
        let own = self
            .places
            .first()
            .is_some_and(|place| place.root() == view.root());
        let bench = &self.bench;
        let is_secret = |path: &str| {
            if own {
                bench.is_secret(path)
            } else {
                bench.rules.is_secret(path)
            }
        };
        let is_tracked = |path: &str| !own || (bench.config.tracked)(path);
        covered(facts, &call.input, view, &is_secret, &is_tracked)
    }

    fn judge_access(&self, facts: &ToolCallFacts, access: &PathAccess) -> Verdict {
        let shown = access.relative.as_deref().unwrap_or(&access.path);
        let reads = access.mode == AccessMode::Read;
        let deny = |rule: &str, what: &str| denied(rule, format!("{shown}: {what}"));
        if !reads && is_agent_setting(&access.path) {
            return deny(
                "host.agent-settings",
                "agents do not change what tells agents what they may do",
            );
        }
        match access.relative.as_deref() {
            None if access.protected => return deny("host.private", "belongs to this host"),
            Some(path) if self.bench.is_secret(path) => {
                return deny("host.secret", "holds secrets");
            }
            // By the name that was used, wherever it leads.
            _ if access
                .link
                .as_deref()
                .is_some_and(|name| self.bench.rules.is_secret(name)) =>
            {
                return deny("host.secret", "leads to what holds secrets");
            }
            Some(_) if access.protected && !reads => {
                return deny("host.protected", "is protected from agents");
            }
            _ => {}
        }
        if reads {
            return Verdict::Allow;
        }
        if !access.certain {
            let message = format!(
                "{shown}: what this writes is known only when it runs, and nothing contains it here"
            );
            return asked("host.uncontained", message);
        }
        let scratch = || SCRATCH.iter().any(|place| under(&access.path, place));
        if access.relative.is_none() && !(facts.tool == "Bash" && scratch()) {
            return asked(
                "host.outside",
                format!("{shown}: writes outside of the workspace"),
            );
        }
        Verdict::Allow
    }

    fn remember(&self, call: &ExternalCall, decision: DecisionId) {
        let mut memory = self.memory();
        if memory.pending.len() >= MAX_PENDING {
            memory.pending.pop_front();
        }
        let key = key_of(call);
        memory.pending.push_back(Pending { key, decision });
    }

    fn record_outcome(
        &self,
        call: &ExternalCall,
        decision: DecisionId,
        outcome: ToolOutcome,
        situation: &Situation,
    ) {
        let short = |text: &str| shorten(&self.bench.masker.for_record(text), MAX_OUTCOME);
        let outcome = match &outcome {
            ToolOutcome::Succeeded(text) => ToolOutcome::Succeeded(short(text)),
            ToolOutcome::Failed(text) => ToolOutcome::Failed(short(text)),
            ToolOutcome::Unknown(text) => ToolOutcome::Unknown(short(text)),
        };
        let actor = Actor::Agent(format!("external:{}", call.agent));
        let event = Event::ToolFinished { decision, outcome };
        if let Err(error) = situation.recorder.record(&actor, event) {
            // The intent is on record; a call without an outcome counts as unknown.
            tracing::error!(%error, "the outcome of an agent's call could not be recorded");
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_session<T>(&self, call: &ExternalCall, with: impl FnOnce(&mut Session) -> T) -> T {
        let mut memory = self.memory();
        let sessions = &mut memory.sessions;
        let actor = call.agent.as_str();
        let place = sessions
            .iter()
            .position(|session| session.actor == actor && session.name == call.session);
        let mut session = place
            .and_then(|place| sessions.remove(place))
            .unwrap_or_else(|| Session {
                actor: actor.to_owned(),
                name: call.session.clone(),
                started: self.bench.clock.now(),
                counters: RunCounters::default(),
            });
        let answer = with(&mut session);
        if sessions.len() >= MAX_SESSIONS {
            sessions.pop_front();
        }
        // The latest is the last, so that the one that rests longest goes first.
        sessions.push_back(session);
        answer
    }
}

fn denied(rule: &str, message: String) -> Verdict {
    Verdict::Deny(Reason::new(rule, message))
}

fn asked(rule: &str, message: String) -> Verdict {
    Verdict::Ask(Reason::new(rule, message))
}

/// The same call before and after. Some agents name their calls; all of them send the
/// input again.
fn key_of(call: &ExternalCall) -> Digest {
    let identity = match &call.call {
        Some(call) => call.clone(),
        None => format!("{}\n{}", call.tool, call.input),
    };
    let text = format!("{}\n{}\n{identity}", call.agent, call.session);
    Digest::of(text.as_bytes())
}

fn judge_command(command: &SimpleCommand) -> Verdict {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let named = [
        Some(command.program.text.as_str()),
        command.resolved.as_deref(),
    ];
    if BUILT_IN.contains(&base(&command.program.text).as_str()) {
        let message = "a patch in a command is carried out by the agent itself; use its own tool";
        return asked("host.not-understood", message.to_owned());
    }
    if !named
        .into_iter()
        .flatten()
        .any(|name| base(name) == "selfheal")
    {
        return Verdict::Allow;
    }
    let words: Vec<&str> = command
        .arguments
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    let known = command.arguments.iter().all(|word| word.certain);
    let own = OWN_COMMANDS.iter().find(|own| words.starts_with(own));
    if known && own.is_some_and(|own| only_plain_options(words.get(own.len()..))) {
        return Verdict::Allow;
    }
    denied(
        "host.own-command",
        "agents do not operate this host; what they may run of it: doctor, heal, issue list, \
         report, show, none of them with options that say where it writes, what it obeys or whom \
         it asks"
            .to_owned(),
    )
}

/// Nothing that commits, or says where files go, whose policy counts, or who gets code
/// and keys (up to `--`, behind which stands the command of `heal`).
fn only_plain_options(words: Option<&[&str]>) -> bool {
    words
        .unwrap_or_default()
        .iter()
        .take_while(|word| **word != "--")
        .filter(|word| word.starts_with('-'))
        .all(|word| {
            let name = word.split('=').next().unwrap_or_default();
            !STEERING_OPTIONS.contains(&name)
        })
}

fn is_agent_setting(path: &str) -> bool {
    path.split('/').any(|part| {
        AGENT_SETTINGS
            .iter()
            .any(|name| part.eq_ignore_ascii_case(name))
    })
}

fn under(path: &str, directory: &str) -> bool {
    Path::new(path).starts_with(directory)
}
