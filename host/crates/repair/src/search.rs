//! Runs candidates on warm workers, cheapest and most suspicious first, and
//! goes on for a while after the first survivor to meet its rivals.

use crate::candidate::Candidate;
use crate::worker::{Limits, Worker};
use selfheal_domain::tools::Tools;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much dearer than the best survivor a candidate may be to be tried still.
const MARGIN: f64 = 0.9;
/// How long the search goes on after the first survivor, at least and at most.
const RIVALS: (Duration, Duration) = (Duration::from_millis(1200), Duration::from_millis(3500));
/// Survivors kept.
const SURVIVORS: usize = 40;

/// What is searched.
pub(crate) struct Task<'a> {
    /// Sorted by priority.
    pub(crate) queue: &'a [Candidate],
    /// Tests that fail now, the quickest first.
    pub(crate) failing: &'a [String],
    pub(crate) limits: Limits,
    pub(crate) until: Instant,
    /// Where in the queue to begin.
    pub(crate) from: usize,
}

/// What came out.
#[derive(Default)]
pub(crate) struct Found {
    /// Indices into the queue that pass everything.
    pub(crate) survivors: Vec<usize>,
    /// Indices that pass the first failing test, but not all tests.
    pub(crate) partial: Vec<(usize, usize)>,
    /// Indices that ran out of time.
    pub(crate) late: Vec<usize>,
    pub(crate) tried: u64,
    pub(crate) invalid: BTreeMap<&'static str, u32>,
    /// The queue was worked through.
    pub(crate) exhausted: bool,
    first: Option<Instant>,
    patience: u32,
    best: f64,
    /// Where the next search of the same queue begins.
    pub(crate) next: usize,
    busy: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works the queue off with all workers.
pub(crate) fn run(tools: &dyn Tools, workers: &mut [Worker], task: &Task<'_>) -> Found {
    let started = Instant::now();
    let found = Mutex::new(Found {
        best: f64::MAX,
        next: task.from,
        ..Found::default()
    });
    std::thread::scope(|scope| {
        for worker in workers.iter_mut().filter(|worker| !worker.dead()) {
            let found = &found;
            scope.spawn(move || work(tools, worker, task, found, started));
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.exhausted = found.next >= task.queue.len();
    found
}

fn work(
    tools: &dyn Tools,
    worker: &mut Worker,
    task: &Task<'_>,
    found: &Mutex<Found>,
    started: Instant,
) {
    let mut reported = Instant::now();
    loop {
        if tools.cancelled() || Instant::now() >= task.until || worker.dead() {
            return;
        }
        let Some((index, candidate)) = take(task, &mut lock(found), started) else {
            return;
        };
        let mut answer = worker.attempt(&[candidate], task.failing, true, &task.limits);
        if let Ok(first) = &answer
            && first.outcome == "timeout"
            && first.passed > 0
            && take_patience(&mut lock(found))
        {
            // It turned a failing test green: tests that used to fail early may be slow when they pass.
            answer = worker.attempt(&[candidate], task.failing, true, &task.limits.patient());
        }
        let mut found = lock(found);
        found.busy = found.busy.saturating_sub(1);
        let Ok(attempt) = answer else { continue };
        if attempt.outcome != "invalid" {
            found.tried += 1;
        }
        match attempt.outcome.as_str() {
            "pass" => {
                found.survivors.push(index);
                found.first.get_or_insert_with(Instant::now);
                found.best = found.best.min(candidate.priority());
            }
            "timeout" => found.late.push(index),
            "invalid" => *found.invalid.entry(candidate.template).or_default() += 1,
            _ if attempt.passed > 0 => found.partial.push((index, attempt.passed)),
            _ => {}
        }
        if reported.elapsed() > Duration::from_secs(1) {
            reported = Instant::now();
            let rate = found.tried as f64 / started.elapsed().as_secs_f64().max(0.1);
            let note = format!(
                "{} of {} candidates, {} pass, {rate:.0}/s",
                found.tried,
                task.queue.len(),
                found.survivors.len()
            );
            drop(found);
            tools.progress(&note);
        }
    }
}

/// Patient second runs are few: each may take many seconds.
fn take_patience(found: &mut Found) -> bool {
    found.patience += 1;
    found.patience <= 10
}

fn take<'a>(
    task: &Task<'a>,
    found: &mut Found,
    started: Instant,
) -> Option<(usize, &'a Candidate)> {
    let index = found.next;
    let candidate = task.queue.get(index)?;
    if let Some(first) = found.first {
        let patience = (first - started).clamp(RIVALS.0, RIVALS.1);
        if candidate.priority() > found.best + MARGIN
            || first.elapsed() > patience
            || found.survivors.len() >= SURVIVORS
        {
            return None;
        }
    }
    found.next += 1;
    found.busy += 1;
    Some((index, candidate))
}
