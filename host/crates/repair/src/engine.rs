//! The engine: from a failing command to ranked, proved proposals.

use crate::candidate::{Candidate, combine};
use crate::command::{Invocation, Kind, understand};
use crate::compiler;
use crate::explain;
use crate::localise::{self, Heat};
use crate::observe::{Attempt, Profile};
use crate::rank;
use crate::search::{self, Found, Task};
use crate::source::{Lang, Source};
use crate::templates::{Knowledge, generate, property_names};
use crate::worker::{Limits, Worker, WorkerError};
use selfheal_domain::agent::{
    Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Draft, Effort, Proposal,
};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::tools::{
    SessionError, ToolError, ToolOutput, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// Proposals handed over, at most.
const PROPOSALS: usize = 5;
/// Warm workers: one per core of a small machine.
const WORKERS: usize = 2;
/// Candidates generated at most.
const QUEUE: usize = 40_000;

/// The built-in repair engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairEngine {
    _private: (),
}

impl RepairEngine {
    /// An engine; it keeps no state between calls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The state of one diagnosis.
pub(crate) struct Case<'a> {
    pub(crate) tools: &'a dyn Tools,
    pub(crate) started: Instant,
    pub(crate) until: Instant,
    pub(crate) log: String,
    pub(crate) tried: u64,
}

impl<'a> Case<'a> {
    fn new(tools: &'a dyn Tools, budget: Duration) -> Self {
        let started = Instant::now();
        Self {
            tools,
            started,
            until: started + budget,
            log: String::new(),
            tried: 0,
        }
    }

    fn note(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.log.len() < 60 * 1024 {
            self.log.push_str(&format!(
                "[{:6.2}s] {text}\n",
                self.started.elapsed().as_secs_f64()
            ));
        }
        self.tools.progress(text);
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn effort(&self) -> Effort {
        Effort {
            candidates: self.tried,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    fn not_found(&mut self, summary: impl Into<String>) -> AgentError {
        let summary = summary.into();
        self.note(&summary);
        AgentError::NotFound {
            summary,
            log: std::mem::take(&mut self.log),
            effort: self.effort(),
        }
    }

    fn cancelled(&self) -> Result<(), AgentError> {
        if self.tools.cancelled() {
            Err(AgentError::Tool(ToolError::Cancelled))
        } else {
            Ok(())
        }
    }

    fn read(&self, path: &str) -> Option<String> {
        match self.tools.call(ToolRequest::read(path)) {
            Ok(ToolOutput::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// How much of a check's output is kept, in bytes; at times twice as much.
const OUTPUT_TAIL: usize = 6000;

/// The check itself, running in its own session beside the worker.
struct CheckRun {
    session: Option<Box<dyn ToolSession>>,
    ended: Option<i32>,
    started: Instant,
    seconds: Option<f64>,
    text: String,
}

impl CheckRun {
    fn start(tools: &dyn Tools, check: &CheckCommand) -> Result<Self, ToolError> {
        let command = format!(
            "( {}\n) 2>&1 </dev/null; c=$?; echo; echo \"selfheal-exit:$c\"",
            check.command
        );
        let session = tools.session(ToolRequest::Bash {
            command,
            directory: check.directory.clone(),
            timeout: check.timeout + Duration::from_secs(5),
            access: WorkspaceAccess::Discard,
        })?;
        Ok(Self {
            session: Some(session),
            ended: None,
            started: Instant::now(),
            seconds: None,
            text: String::new(),
        })
    }

    /// Only the end of what a command says is worth reading.
    fn keep(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > 2 * OUTPUT_TAIL {
            let mut start = self.text.len() - OUTPUT_TAIL;
            while !self.text.is_char_boundary(start) {
                start += 1;
            }
            self.text.drain(..start);
        }
    }

    /// Ends it: what never ends must not take a core from the search.
    fn stop(&mut self) {
        self.session = None;
    }

    /// Waits at most this long; the exit code when the command ended.
    fn wait(&mut self, timeout: Duration) -> Option<i32> {
        let end = Instant::now() + timeout;
        while self.ended.is_none() {
            let session = self.session.as_mut()?;
            match session.receive(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line
                    .strip_prefix("selfheal-exit:")
                    .and_then(|code| code.trim().parse().ok())
                {
                    Some(code) => {
                        self.ended = Some(code);
                        self.seconds = Some(self.started.elapsed().as_secs_f64());
                    }
                    None => self.keep(&line),
                },
                Err(SessionError::TimedOut) => return None,
                Err(_) => self.ended = Some(-1),
            }
        }
        self.ended
    }
}

impl Agent for RepairEngine {
    fn name(&self) -> String {
        "engine:builtin".to_owned()
    }

    fn diagnose(&self, brief: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError> {
        let mut case = Case::new(tools, brief.budget);
        if brief.checks.is_empty() {
            return Err(
                case.not_found("There is no command that shows the bug, so nothing can be proved")
            );
        }
        let mut passing = 0;
        let mut last = None;
        for check in &brief.checks {
            case.cancelled()?;
            // What a compiler says about its own errors beats any guess.
            let healed = if compiler::applies(check) {
                compiler::diagnose(&mut case, brief, check)
            } else {
                heal(&mut case, brief, check)
            };
            match healed {
                Err(AgentError::NothingWrong(_)) => passing += 1,
                Err(error @ AgentError::NotFound { .. }) => {
                    last = Some(error);
                    break;
                }
                other => return other,
            }
        }
        match last {
            Some(error) => Err(error),
            None => Err(AgentError::NothingWrong(format!(
                "{passing} of {passing} commands succeed"
            ))),
        }
    }

    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        if !diagnosis.proposals.is_empty() {
            return crate::draft::draft(brief, diagnosis, tools);
        }
        // The cause was found by an agent that proposes nothing.
        let own = self.diagnose(brief, tools)?;
        crate::draft::draft(brief, &own, tools)
    }
}

fn manifest_script<'a>(case: &'a Case<'_>) -> impl Fn(&str, &str) -> Option<String> + 'a {
    move |directory, name| {
        let path = if directory.is_empty() {
            "package.json".to_owned()
        } else {
            format!("{directory}/package.json")
        };
        let value: serde_json::Value = serde_json::from_str(&case.read(&path)?).ok()?;
        Some(value.get("scripts")?.get(name)?.as_str()?.to_owned())
    }
}

/// One failing command, to the end.
fn heal(
    case: &mut Case<'_>,
    brief: &DiagnosisBrief,
    check: &CheckCommand,
) -> Result<Diagnosis, AgentError> {
    let plan = understand(check, &manifest_script(case));
    case.note(format!("Running `{}` ({:?})", check.command, plan.kind));
    let mut running = CheckRun::start(case.tools, check)?;
    let (mut workers, profile) = match observe(case, &plan, check, &mut running)? {
        Some(seen) => seen,
        None => {
            return Err(AgentError::NothingWrong(format!(
                "`{}` succeeds",
                check.command
            )));
        }
    };
    if profile.failures().any(|test| test.outcome == "hang") {
        running.stop();
    }
    if running.wait(Duration::from_millis(1500)) == Some(0) {
        return Err(AgentError::NothingWrong(format!(
            "`{}` succeeds",
            check.command
        )));
    }
    let failing: Vec<String> = order_failing(&profile);
    for test in profile.failures().take(8) {
        let message: String = test
            .message
            .as_deref()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        case.note(format!(
            "{} {}: {} {message}",
            test.test,
            test.outcome,
            test.kind.as_deref().unwrap_or_default()
        ));
    }
    // A failure that does not come back is not healed by a patch.
    if let Some(worker) = workers.first_mut() {
        let limits = limits_of(&profile, 1.0);
        if let Ok(again) = worker.attempt(&[], &failing, true, &limits)
            && again.outcome == "pass"
            && running.wait(check.timeout.min(case.left())) == Some(0)
        {
            return Err(case.not_found("The failure does not come back when the tests run again: they are flaky, so no patch can be proved"));
        }
    }
    let mut scene = Scene::survey(case, &profile, &workers);
    if scene.heat.values().all(BTreeMap::is_empty) {
        return Err(case.not_found(format!("`{}` fails, but no code of this repository that may be changed takes part in the failure", check.command)));
    }
    let hot: Vec<String> = scene
        .heat
        .iter()
        .map(|(path, lines)| format!("{path} ({} lines)", lines.len()))
        .collect();
    let mut hottest: Vec<(f64, String)> = scene
        .heat
        .iter()
        .flat_map(|(path, lines)| {
            lines
                .iter()
                .map(move |(line, score)| (*score, format!("{path}:{line} {score:.2}")))
        })
        .collect();
    hottest.sort_by(|a, b| b.0.total_cmp(&a.0));
    let hottest: Vec<String> = hottest.into_iter().take(12).map(|(_, text)| text).collect();
    case.note(format!("Hottest lines: {}", hottest.join(", ")));
    case.note(format!("Suspicious: {}", hot.join(", ")));
    let queue = scene.candidates(&profile);
    case.note(format!(
        "{} candidates in {} files",
        queue.len(),
        scene.sources.len()
    ));

    // One run of the command, fresh, must still fit behind the search.
    let once = running
        .seconds
        .unwrap_or_else(|| running.started.elapsed().as_secs_f64());
    let reserve = validation_reserve(&profile, once, case.left());
    let until = case.until.checked_sub(reserve).unwrap_or(case.until);
    let (kept, found) = hunt(case, &mut workers, &queue, &failing, &profile, until);
    case.cancelled()?;
    if running.wait(Duration::from_millis(1)) == Some(0) {
        return Err(AgentError::NothingWrong(format!(
            "`{}` succeeds",
            check.command
        )));
    }
    if kept.is_empty() {
        let seconds = case.started.elapsed().as_secs_f64();
        let summary = format!(
            "No fix found: none of {} candidate patches ({:.0}/s) in {} makes `{}` succeed",
            case.tried,
            case.tried as f64 / seconds.max(0.1),
            scene.heat.keys().cloned().collect::<Vec<_>>().join(", "),
            check.command
        );
        return Err(case.not_found(summary));
    }
    conclude(
        case,
        brief,
        check,
        &profile,
        &scene,
        &mut workers,
        kept,
        &found,
    )
}

type Seen = (Vec<Worker>, Profile);

/// Starts the workers and profiles the failure; none when the command succeeds.
fn observe(
    case: &mut Case<'_>,
    plan: &Invocation,
    check: &CheckCommand,
    running: &mut CheckRun,
) -> Result<Option<Seen>, AgentError> {
    let life = case.left() + Duration::from_secs(30);
    if plan.kind != Kind::Other {
        let (tools, command) = (case.tools, check.command.as_str());
        let started: Vec<Result<Worker, WorkerError>> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..WORKERS)
                .map(|_| scope.spawn(move || Worker::start(tools, plan, command, life)))
                .collect();
            handles
                .into_iter()
                .filter_map(|handle| handle.join().ok())
                .collect()
        });
        let mut workers = Vec::new();
        for result in started {
            match result {
                Ok(worker) => workers.push(worker),
                Err(WorkerError::Tool(error @ (ToolError::Denied(_) | ToolError::Cancelled))) => {
                    return Err(error.into());
                }
                Err(error) => case.note(format!("A warm worker did not start: {error}")),
            }
        }
        if let Some(first) = workers.first_mut() {
            case.note(format!("{} warm worker(s), mode {}", 1, first.ready.mode));
            let budget =
                (case.left() * 2 / 5).clamp(Duration::from_secs(3), Duration::from_secs(60));
            match first.profile(budget, 1.5) {
                Ok(profile) if profile.failures().next().is_some() => {
                    for worker in workers.iter_mut().skip(1) {
                        if let Err(error) = worker.learn(&profile) {
                            case.note(format!("A worker was lost: {error}"));
                        }
                    }
                    workers.retain(|worker| !worker.dead());
                    return Ok(Some((workers, profile)));
                }
                Ok(_) => case.note("Nothing fails in the warm worker; the command itself decides"),
                Err(error) => case.note(format!("Profiling failed: {error}")),
            }
        }
    }
    // The command as it is, in a fresh process each time.
    let patience = check.timeout.min(case.left() / 3);
    match running.wait(patience) {
        Some(0) => return Ok(None),
        Some(code) => case.note(format!("The command ends with {code}")),
        None => case.note("The command does not end in time"),
    }
    case.cancelled()?;
    let shell = Invocation {
        kind: Kind::Other,
        interpreter: Vec::new(),
        argv: Vec::new(),
        directory: check.directory.clone(),
        env: Vec::new(),
        module: false,
    };
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        match Worker::start(case.tools, &shell, &check.command, life) {
            Ok(worker) => workers.push(worker),
            Err(WorkerError::Tool(error)) => return Err(error.into()),
            Err(error) => case.note(format!("A worker did not start: {error}")),
        }
    }
    let Some(first) = workers.first_mut() else {
        return Err(case.not_found("No worker could be started, so no patch can be tried"));
    };
    match first.profile((case.left() / 3).min(check.timeout), 5.0) {
        Ok(profile) if profile.failures().next().is_some() => Ok(Some((workers, profile))),
        Ok(_) => Err(case.not_found("The command failed once and succeeded when it was run again: it is flaky, so no patch can be proved")),
        Err(error) => Err(case.not_found(format!("The command could not be observed: {error}"))),
    }
}

/// The quickest definite failures first; what hangs comes last.
fn order_failing(profile: &Profile) -> Vec<String> {
    let mut failing: Vec<_> = profile.failures().collect();
    failing.sort_by(|a, b| {
        (a.outcome == "hang")
            .cmp(&(b.outcome == "hang"))
            .then(a.seconds.total_cmp(&b.seconds))
    });
    failing.into_iter().map(|test| test.test.clone()).collect()
}

fn limits_of(profile: &Profile, generosity: f64) -> Limits {
    let slowest = profile
        .tests
        .iter()
        .filter(|test| test.outcome != "hang")
        .map(|test| test.wall)
        .fold(0.0, f64::max);
    let busiest = profile
        .tests
        .iter()
        .filter(|test| matches!(test.outcome.as_str(), "pass" | "fail"))
        .map(|test| test.seconds)
        .fold(0.0, f64::max);
    let sum: f64 = profile
        .tests
        .iter()
        .filter(|test| test.outcome != "hang")
        .map(|test| test.wall)
        .sum();
    Limits {
        // Quick tests give little rope: a candidate that loops is cut early.
        cpu: (busiest * 40.0).clamp(0.12, 0.35) * generosity,
        wall: (slowest * 5.0 + 1.5) * generosity.max(1.0),
        total: sum * 3.0 + 6.0 * generosity.max(1.0),
    }
}

fn validation_reserve(profile: &Profile, once: f64, left: Duration) -> Duration {
    let suite: f64 = profile.tests.iter().map(|test| test.wall).sum();
    Duration::from_secs_f64(
        (suite * 1.5 + 1.0)
            .max(once * 1.6 + 1.0)
            .min(left.as_secs_f64() * 0.4),
    )
}

/// What is known about the place of the failure.
struct Scene {
    heat: Heat,
    sources: BTreeMap<String, Source>,
    /// Some test states what is right; otherwise a crash is all there is.
    judged: bool,
}

impl Scene {
    fn survey(case: &mut Case<'_>, profile: &Profile, workers: &[Worker]) -> Self {
        let ready = workers
            .first()
            .map(|worker| worker.ready.clone())
            .unwrap_or_default();
        let mut heat = localise::heat(profile, &ready);
        let mut sources = BTreeMap::new();
        let mut paths: BTreeSet<String> = heat.keys().cloned().collect();
        paths.extend(
            profile
                .imported
                .keys()
                .filter(|path| localise::editable(path, &ready))
                .take(30)
                .cloned(),
        );
        for path in paths {
            if let Some(text) = case.read(&path)
                && let Some(source) = Source::new(&path, &text)
            {
                sources.insert(path, source);
            }
        }
        heat.retain(|path, _| sources.contains_key(path));
        if profile.failures().any(|test| test.outcome == "hang") {
            localise::loops_first(&mut heat, &sources);
        }
        localise::widen(&mut heat, &sources);
        // A script that is program and test at once: its assertions are witnesses.
        if let (true, Some(main)) = (ready.mixed, ready.main.as_ref())
            && let (Some(lines), Some(source)) = (heat.get_mut(main), sources.get(main))
        {
            lines.retain(|line, _| !is_assertion(source, *line));
        }
        let judged = ready.mode != "script" || ready.witness || ready.mixed;
        Self {
            heat,
            sources,
            judged,
        }
    }

    /// All candidates, best first, each resulting text once.
    fn candidates(&mut self, profile: &Profile) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = Vec::new();
        let mut seen: HashSet<[u8; 32]> = HashSet::new();
        let (expected, raised) = errors_of(profile);
        let names: BTreeMap<&String, BTreeSet<String>> = self
            .sources
            .iter()
            .map(|(path, source)| (path, property_names(source)))
            .collect();
        for (path, source) in &self.sources {
            let Some(lines) = self.heat.get(path) else {
                continue;
            };
            let mut know = Knowledge {
                heat: lines.clone(),
                expected_errors: expected.clone(),
                syntax: profile
                    .failures()
                    .filter(|test| {
                        matches!(
                            test.kind.as_deref(),
                            Some("SyntaxError" | "IndentationError" | "TabError")
                        )
                    })
                    .filter_map(|test| test.frames.last())
                    .find(|(file, _, _)| file == path)
                    .map(|(_, line, _)| *line),
                neighbours: names
                    .iter()
                    .filter(|(other, _)| **other != path)
                    .flat_map(|(_, names)| names.iter().cloned())
                    .collect(),
                raised: raised.clone(),
                ..Knowledge::default()
            };
            for test in profile.failures() {
                for hint in &test.hints {
                    if !know.hints.contains(hint) {
                        know.hints.push(hint.clone());
                    }
                }
            }
            for (key, names) in &profile.kinds {
                if let Some(rest) = key
                    .strip_prefix(path.as_str())
                    .and_then(|rest| rest.strip_prefix(':'))
                {
                    let names = names
                        .iter()
                        .map(|(name, kinds)| (name.clone(), kinds.iter().cloned().collect()))
                        .collect();
                    know.kinds.insert(rest.to_owned(), names);
                }
            }
            all.extend(generate(source, &know));
        }
        if !self.judged {
            // Nothing says what is right but the crash itself: believe what it says.
            for candidate in &mut all {
                if !matches!(
                    candidate.template,
                    "did-you-mean"
                        | "bind"
                        | "attribute"
                        | "missing-import"
                        | "except"
                        | "add-self"
                        | "unbound"
                        | "missing-return"
                        | "guard-return"
                        | "get"
                        | "optional-chain"
                        | "missing-await"
                        | "super"
                ) {
                    candidate.cost += 0.8;
                }
            }
        }
        all.sort_by(|a, b| a.priority().total_cmp(&b.priority()));
        all.truncate(QUEUE);
        all.retain(|candidate| {
            self.sources
                .get(&candidate.path)
                .and_then(|source| candidate.key(source))
                .is_some_and(|key| seen.insert(key))
        });
        all
    }
}

fn is_assertion(source: &Source, line: u32) -> bool {
    let text = source.line(line).trim();
    text.starts_with("assert")
        || text.contains("assert.")
        || text.starts_with("self.assert")
        || text.starts_with("print(") && text.contains("PASS")
}

/// Exceptions that a test missed, and exceptions that were raised.
fn errors_of(profile: &Profile) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut expected = BTreeSet::new();
    let mut raised = BTreeSet::new();
    for test in profile.failures() {
        let message = test.message.as_deref().unwrap_or_default();
        if message.contains("DID NOT RAISE")
            || message.contains("not raised")
            || message.contains("Missing expected")
        {
            for word in message.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if word.ends_with("Error") || word.ends_with("Exception") {
                    expected.insert(word.to_owned());
                }
            }
            if expected.is_empty() && message.contains("Missing expected") {
                expected.insert("Error".to_owned());
            }
        }
        if let Some(kind) = &test.kind {
            raised.insert(kind.clone());
            raised.extend(
                test.bases
                    .iter()
                    .filter(|base| !matches!(base.as_str(), "Exception" | "AssertionError"))
                    .take(2)
                    .cloned(),
            );
        }
    }
    (expected, raised)
}

type Kept = Vec<Candidate>;

/// The search, with more fuel or in pairs when the plain search finds nothing.
fn hunt(
    case: &mut Case<'_>,
    workers: &mut [Worker],
    queue: &[Candidate],
    failing: &[String],
    profile: &Profile,
    until: Instant,
) -> (Kept, Found) {
    // Two thirds of the time for the queue, then those that were cut, then the rest of it.
    let window = until.saturating_duration_since(Instant::now());
    let first_part = until.checked_sub(window / 3).unwrap_or(until);
    let task = Task {
        queue,
        failing,
        limits: limits_of(profile, 1.0),
        until: first_part,
        from: 0,
    };
    let mut found = search::run(case.tools, workers, &task);
    case.tried += found.tried;
    case.note(format!(
        "{} tried, {} pass, {} too slow, {} partly pass",
        found.tried,
        found.survivors.len(),
        found.late.len(),
        found.partial.len()
    ));
    let mut kept: Kept = found
        .survivors
        .iter()
        .filter_map(|index| queue.get(*index))
        .cloned()
        .collect();
    if kept.is_empty() && !found.late.is_empty() && Instant::now() < until {
        let again: Vec<Candidate> = found
            .late
            .iter()
            .filter_map(|index| queue.get(*index))
            .take(400)
            .cloned()
            .collect();
        case.note(format!("{} candidates again, with more time", again.len()));
        let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        let task = Task {
            queue: &again,
            failing,
            limits: limits_of(profile, 10.0),
            until: half,
            from: 0,
        };
        let second = search::run(case.tools, workers, &task);
        case.tried += second.tried;
        kept = second
            .survivors
            .iter()
            .filter_map(|index| again.get(*index))
            .cloned()
            .collect();
    }
    if kept.is_empty() && !found.exhausted && Instant::now() < until {
        let task = Task {
            queue,
            failing,
            limits: limits_of(profile, 1.0),
            until,
            from: found.next,
        };
        let rest = search::run(case.tools, workers, &task);
        case.tried += rest.tried;
        kept = rest
            .survivors
            .iter()
            .filter_map(|index| queue.get(*index))
            .cloned()
            .collect();
        found.partial.extend(rest.partial);
    }
    if kept.is_empty() && Instant::now() < until {
        let pairs = pairs(queue, &found);
        case.note(format!("{} pairs of changes", pairs.len()));
        let task = Task {
            queue: &pairs,
            failing,
            limits: limits_of(profile, 1.0),
            until,
            from: 0,
        };
        let third = search::run(case.tools, workers, &task);
        case.tried += third.tried;
        kept = third
            .survivors
            .iter()
            .filter_map(|index| pairs.get(*index))
            .cloned()
            .collect();
    }
    (kept, found)
}

/// Pairs: what helped some failing test with everything cheap, and slips of the
/// same kind on one line.
fn pairs(queue: &[Candidate], found: &Found) -> Vec<Candidate> {
    let mut out: Vec<Candidate> = Vec::new();
    let mut partial = found.partial.clone();
    partial.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    for (index, _) in partial.iter().take(24) {
        let Some(first) = queue.get(*index) else {
            continue;
        };
        out.extend(
            queue
                .iter()
                .take(700)
                .filter_map(|second| combine(first, second))
                .map(|mut pair| {
                    // The half that is known to help is free.
                    pair.cost -= first.cost.min(1.0);
                    pair
                }),
        );
    }
    let cheap: Vec<&Candidate> = queue
        .iter()
        .filter(|candidate| candidate.cost <= 2.2)
        .take(900)
        .collect();
    for (index, first) in cheap.iter().enumerate() {
        for second in cheap.iter().skip(index + 1) {
            let together = first.line == second.line && first.template == second.template
                || first.line.abs_diff(second.line) <= 1 && first.cost + second.cost <= 2.6;
            if together && let Some(pair) = combine(first, second) {
                out.push(pair);
            }
        }
    }
    out.sort_by(|a, b| a.priority().total_cmp(&b.priority()));
    let mut seen: HashSet<Vec<(usize, usize, String)>> = HashSet::new();
    out.retain(|pair| {
        let mut edits: Vec<_> = pair
            .edits
            .iter()
            .map(|edit| (edit.range.start, edit.range.end, edit.text.clone()))
            .collect();
        edits.sort();
        seen.insert(edits)
    });
    out.truncate(QUEUE);
    out
}

/// Ranks, validates in a fresh process, and writes it all down.
#[expect(
    clippy::too_many_arguments,
    reason = "the last step needs everything that was found out"
)]
fn conclude(
    case: &mut Case<'_>,
    brief: &DiagnosisBrief,
    check: &CheckCommand,
    profile: &Profile,
    scene: &Scene,
    workers: &mut [Worker],
    kept: Kept,
    found: &Found,
) -> Result<Diagnosis, AgentError> {
    let mut ranked: Vec<(f64, Candidate)> = kept
        .into_iter()
        .filter_map(|candidate| {
            scene
                .sources
                .get(&candidate.path)
                .map(|source| (rank::score(&candidate, source), candidate))
        })
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut proved: Vec<(f64, Candidate, Patch)> = Vec::new();
    let mut refuted = 0;
    for (score, candidate) in &ranked {
        if proved.len() >= PROPOSALS || (case.left() < Duration::from_secs(1) && !proved.is_empty())
        {
            break;
        }
        let Some(patch) = patch_of(candidate, &scene.sources) else {
            continue;
        };
        if brief.excluded.contains(&patch.digest) {
            continue;
        }
        // The best few in a fresh process, with the command itself.
        if proved.len() < 2 {
            let Some(worker) = workers.iter_mut().find(|worker| !worker.dead()) else {
                break;
            };
            let wall = check.timeout.min(case.left().max(Duration::from_secs(2)));
            match worker.run_fresh(&[candidate], wall) {
                Ok(Attempt { outcome, .. }) if outcome == "pass" => {}
                Ok(attempt) => {
                    refuted += 1;
                    case.note(format!(
                        "Passes warm but not in a fresh process ({}): line {} of {}",
                        attempt.outcome, candidate.line, candidate.path
                    ));
                    if refuted > 12 {
                        break;
                    }
                    continue;
                }
                Err(error) => {
                    case.note(format!("Validation failed: {error}"));
                    continue;
                }
            }
        }
        proved.push((*score, candidate.clone(), patch));
    }
    let scores: Vec<f64> = ranked.iter().map(|(score, _)| *score).collect();
    let tests = profile
        .tests
        .iter()
        .filter(|test| test.outcome != "skip")
        .count();
    let confidence = rank::confidence(&scores, tests);
    let Some((_, best, patch)) = proved.first() else {
        return Err(case.not_found(format!(
            "No fix found: {} candidates pass in the warm worker, none in a fresh process",
            ranked.len()
        )));
    };
    let Some(source) = scene.sources.get(&best.path) else {
        return Err(case.not_found("No fix found"));
    };
    for (score, candidate, _) in &proved {
        case.note(format!(
            "{score:.2} {} at {}:{}",
            candidate.template, candidate.path, candidate.line
        ));
    }
    if !found.invalid.is_empty() {
        let invalid: Vec<String> = found
            .invalid
            .iter()
            .map(|(template, count)| format!("{template} {count}"))
            .collect();
        case.note(format!("Did not compile: {}", invalid.join(", ")));
    }
    let root_cause = explain::root_cause(profile, best, source);
    let suggested = patch.diff.clone();
    let affected = patch.files.iter().map(|file| file.path.clone()).collect();
    let rivals = ranked.len().saturating_sub(1);
    let proposals = proved
        .iter()
        .enumerate()
        .filter_map(|(index, (_, candidate, patch))| {
            let source = scene.sources.get(&candidate.path)?;
            Some(Proposal {
                patch: patch.clone(),
                rationale: explain::rationale(candidate, source, rivals, tests),
                confidence: confidence / (1.0 + index as f64),
            })
        })
        .collect();
    Ok(Diagnosis {
        root_cause,
        confidence,
        affected_files: affected,
        affected_services: Vec::new(),
        suggested_fix: suggested,
        reproduction: Some(check.clone()),
        proposals,
        log: std::mem::take(&mut case.log),
        effort: case.effort(),
    })
}

fn patch_of(candidate: &Candidate, sources: &BTreeMap<String, Source>) -> Option<Patch> {
    let source = sources.get(&candidate.path)?;
    debug_assert!(Lang::of(&source.path).is_some());
    let after = candidate.apply(&source.text)?;
    let change = FileChange {
        path: candidate.path.clone(),
        before: Some(source.text.clone()),
        after: Some(after),
    };
    Some(Patch::of(vec![change]))
}
