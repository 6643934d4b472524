//! The search in rounds: the queue, what was cut, the rest of it, pairs.

use crate::candidate::{Candidate, combine};
use crate::case::Case;
use crate::observe::Profile;
use crate::scene::QUEUE;
use crate::search::{self, Found, Task};
use crate::worker::{Limits, Worker};
use std::collections::HashSet;
use std::time::Instant;

pub(crate) type Kept = Vec<Candidate>;

/// The search, with more fuel or in pairs when the plain search finds nothing.
pub(crate) fn hunt(
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

/// The quickest definite failures first; what hangs comes last.
pub(crate) fn order_failing(profile: &Profile) -> Vec<String> {
    let mut failing: Vec<_> = profile.failures().collect();
    failing.sort_by(|a, b| {
        (a.outcome == "hang")
            .cmp(&(b.outcome == "hang"))
            .then(a.seconds.total_cmp(&b.seconds))
    });
    failing.into_iter().map(|test| test.test.clone()).collect()
}

pub(crate) fn limits_of(profile: &Profile, generosity: f64) -> Limits {
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
