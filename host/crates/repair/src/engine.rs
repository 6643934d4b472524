//! The engine: from a failing command to ranked, proved proposals.

use crate::case::Case;
use crate::check_run::CheckRun;
use crate::command::{Invocation, Kind, understand};
use crate::compiler;
use crate::conclude::conclude;
use crate::hunt::{hunt, limits_of, order_failing};
use crate::observe::Profile;
use crate::scene::Scene;
use crate::worker::{Worker, WorkerError};
use selfheal_domain::agent::{Agent, AgentError, CheckCommand, Diagnosis, DiagnosisBrief, Draft};
use selfheal_domain::tools::{ToolError, Tools};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Runs of the unchanged code besides the first, when it is quick. Of tests that fail two
/// times of three, six runs in all give away nine of ten.
const REPEATS: u32 = 5;
/// Warm workers: one per core of a small machine.
const WORKERS: usize = 2;

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
    // Nothing is healed by chance, so the unchanged code is run again meanwhile.
    let so_far = running.started.elapsed().as_secs_f64();
    let (once, most) = running.seconds.map_or((so_far, 1), |once| (once, REPEATS));
    let (tools, share) = (case.tools, case.left() / 8);
    let (found, repeats) = std::thread::scope(|scope| {
        let repeats = scope.spawn(move || repeat(tools, check, (once, most), share));
        let found = search(
            case,
            brief,
            check,
            &mut running,
            workers,
            &profile,
            &failing,
        );
        (found, repeats.join().ok().flatten())
    });
    if let Some(fails) = repeats {
        return Err(case.not_found(format!(
            "`{}` failed {fails} times on the unchanged code, and then succeeded: it is flaky, so no patch can be proved",
            check.command
        )));
    }
    found
}

/// Runs the command, which takes about `once` seconds, on the unchanged code again, fresh
/// each time, at most `most` times and only as long as `share` lasts. How often it failed
/// until it succeeded; none when it never did.
fn repeat(
    tools: &dyn Tools,
    check: &CheckCommand,
    (once, most): (f64, u32),
    share: Duration,
) -> Option<u32> {
    let end = Instant::now() + share;
    for fails in 1..=most {
        let left = end.saturating_duration_since(Instant::now());
        if left.as_secs_f64() < once {
            return None;
        }
        if CheckRun::start(tools, check).ok()?.wait(left)? == 0 {
            return Some(fails);
        }
    }
    None
}

/// Looks for patches that make the failing tests pass.
fn search(
    case: &mut Case<'_>,
    brief: &DiagnosisBrief,
    check: &CheckCommand,
    running: &mut CheckRun,
    mut workers: Vec<Worker>,
    profile: &Profile,
    failing: &[String],
) -> Result<Diagnosis, AgentError> {
    let mut scene = Scene::survey(case, profile, &workers);
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
    let queue = scene.candidates(profile);
    case.note(format!(
        "{} candidates in {} files",
        queue.len(),
        scene.sources.len()
    ));

    // One run of the command, fresh, must still fit behind the search.
    let once = running
        .seconds
        .unwrap_or_else(|| running.started.elapsed().as_secs_f64());
    let reserve = validation_reserve(profile, once, case.left());
    let until = case.until.checked_sub(reserve).unwrap_or(case.until);
    let (kept, found) = hunt(case, &mut workers, &queue, failing, profile, until);
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
        profile,
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

fn validation_reserve(profile: &Profile, once: f64, left: Duration) -> Duration {
    let suite: f64 = profile.tests.iter().map(|test| test.wall).sum();
    Duration::from_secs_f64(
        (suite * 1.5 + 1.0)
            .max(once * 1.6 + 1.0)
            .min(left.as_secs_f64() * 0.4),
    )
}
