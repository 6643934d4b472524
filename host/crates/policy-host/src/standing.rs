//! How one module does while it is in force: what it was asked, which rules hit,
//! how long it took, how often it failed, and whether it is still asked at all.
//!
//! Counting must cost a decision nothing that can be felt: an answer that allows
//! touches atomics only; locks are taken for answers that ask or deny, and for
//! faults.

use crate::config::QuarantineRules;
use selfheal_domain::verdict::{Fault, Verdict};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Rules counted of one module; a module that invents more is counted without them.
const MOST_RULES: usize = 512;
/// Parts of each doubling of the latency that are told apart.
const PARTS: u32 = 4;
/// Doublings from 64 ns up to over a minute.
const DOUBLINGS: u32 = 31;
/// Latencies below this many nanoseconds count as this.
const SHORTEST: u64 = 64;
const BUCKETS: usize = (PARTS * DOUBLINGS) as usize;

/// Counters of one module, as long as it stays as it is.
pub(crate) struct Standing {
    asked: AtomicU64,
    faults: AtomicU64,
    in_a_row: AtomicU32,
    latency: [AtomicU64; BUCKETS],
    hits: RwLock<BTreeMap<String, AtomicU64>>,
    /// Read at every decision; the cause beside it only when it is set.
    quarantined: AtomicBool,
    troubles: Mutex<Troubles>,
}

#[derive(Default)]
struct Troubles {
    /// Times of the latest faults, within the window.
    recent: VecDeque<Instant>,
    last: Option<String>,
    /// The fault that led to the quarantine.
    cause: Option<String>,
}

/// What a standing says, for status.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Tally {
    pub(crate) asked: u64,
    pub(crate) faults: u64,
    pub(crate) hits: BTreeMap<String, u64>,
    pub(crate) last_fault: Option<String>,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

impl Standing {
    /// Nothing counted yet; `rules` are known beforehand and start at zero.
    pub(crate) fn new(rules: &[String]) -> Self {
        let known = rules.iter().take(MOST_RULES);
        Self {
            asked: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
            hits: RwLock::new(
                known
                    .map(|rule| (rule.clone(), AtomicU64::new(0)))
                    .collect(),
            ),
            quarantined: AtomicBool::new(false),
            troubles: Mutex::default(),
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault to answer with instead of asking, if it is in quarantine.
    pub(crate) fn quarantine(&self) -> Option<Fault> {
        if !self.quarantined.load(Ordering::Acquire) {
            return None;
        }
        let cause = self.troubles().cause.clone().unwrap_or_default();
        Some(Fault::Quarantined { cause })
    }

    /// Counts an answer that took `took`.
    pub(crate) fn answered(&self, took: Duration) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(bucket) = self.latency.get(bucket_of(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts that no fault happened.
    pub(crate) fn sound(&self) {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts the rule that asked or denied.
    pub(crate) fn hit(&self, verdict: &Verdict) {
        if let Some(reason) = verdict.reason() {
            self.hit_rule(&reason.rule);
        }
    }

    /// Counts a rule.
    pub(crate) fn hit_rule(&self, rule: &str) {
        let known = self.hits.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get(rule) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(known);
        let mut known = self.hits.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_RULES || known.contains_key(rule) {
            known
                .entry(rule.to_owned())
                .or_default()
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a fault; one too many ends in quarantine.
    pub(crate) fn fault(&self, fault: &Fault, rules: &QuarantineRules) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut troubles = self.troubles();
        let text = fault.to_string();
        troubles.last = Some(text.clone());
        let most = usize::try_from(rules.faults)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        troubles.recent.push_back(now);
        while troubles.recent.len() > most {
            troubles.recent.pop_front();
        }
        let window = rules.window;
        troubles
            .recent
            .retain(|at| now.saturating_duration_since(*at) <= window);
        if (row >= rules.faults || troubles.recent.len() >= most) && troubles.cause.is_none() {
            troubles.cause = Some(text);
            self.quarantined.store(true, Ordering::Release);
        }
    }

    /// Puts it in quarantine, as a record says.
    pub(crate) fn confine(&self, cause: &str) {
        self.troubles().cause = Some(cause.to_owned());
        self.quarantined.store(true, Ordering::Release);
    }

    /// Asks it again.
    pub(crate) fn release(&self) {
        let mut troubles = self.troubles();
        troubles.cause = None;
        troubles.recent.clear();
        self.in_a_row.store(0, Ordering::Relaxed);
        self.quarantined.store(false, Ordering::Release);
    }

    /// Why it is in quarantine, if it is.
    pub(crate) fn confined(&self) -> Option<String> {
        let confined = self.quarantined.load(Ordering::Acquire);
        confined.then(|| self.troubles().cause.clone().unwrap_or_default())
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> Tally {
        let counts: Vec<u64> = self
            .latency
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let hits = self.hits.read().unwrap_or_else(PoisonError::into_inner);
        Tally {
            asked: self.asked.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            hits: hits
                .iter()
                .map(|(rule, count)| (rule.clone(), count.load(Ordering::Relaxed)))
                .collect(),
            last_fault: self.troubles().last.clone(),
            p50_micros: percentile(&counts, 50),
            p99_micros: percentile(&counts, 99),
        }
    }
}

/// Logarithmic, with equal parts within each doubling.
fn bucket_of(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos())
        .unwrap_or(u64::MAX)
        .max(SHORTEST);
    let doubling = (nanos / SHORTEST).ilog2();
    let start = SHORTEST << doubling;
    let part = (nanos - start) / (start / u64::from(PARTS)).max(1);
    let part = u32::try_from(part).unwrap_or(0).min(PARTS - 1);
    let index = doubling.min(DOUBLINGS - 1) * PARTS + part;
    usize::try_from(index).unwrap_or(0)
}

/// Upper end of a bucket, in microseconds.
fn upper_micros(bucket: usize) -> f64 {
    let bucket = u32::try_from(bucket).unwrap_or(0);
    let start = SHORTEST << (bucket / PARTS);
    let end = start + start / u64::from(PARTS) * u64::from(bucket % PARTS + 1);
    // Far below 2^52: exact.
    Duration::from_nanos(end).as_secs_f64() * 1e6
}

/// The time that `percent` of 100 stayed within; 0 where nothing was counted.
fn percentile(counts: &[u64], percent: u64) -> f64 {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return 0.0;
    }
    let wanted = (all * percent).div_ceil(100);
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return upper_micros(bucket);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_domain::verdict::Reason;

    const RULES: QuarantineRules = QuarantineRules {
        faults: 3,
        window: Duration::from_secs(600),
    };

    #[test]
    fn latencies_are_told_to_a_quarter_of_a_doubling() {
        let standing = Standing::new(&[]);
        for _ in 0..98 {
            standing.answered(Duration::from_micros(10));
        }
        standing.answered(Duration::from_millis(3));
        standing.answered(Duration::from_secs(100));
        let tally = standing.tally();
        assert!((10.0..13.0).contains(&tally.p50_micros), "{tally:?}");
        assert!((3000.0..3800.0).contains(&tally.p99_micros), "{tally:?}");
        assert_eq!(tally.asked, 100);
        for nanos in [0, 1, 63, 64, 65, 1 << 20, (1 << 20) + 1, u64::MAX] {
            let took = Duration::from_nanos(nanos);
            let bucket = bucket_of(took);
            assert!(bucket < BUCKETS);
            if nanos < 1 << 30 {
                assert!(upper_micros(bucket) * 1000.0 >= nanos as f64, "{nanos}");
            }
        }
        assert_eq!(Standing::new(&[]).tally().p99_micros, 0.0);
    }

    #[test]
    fn a_rule_that_never_hit_is_seen() {
        let standing = Standing::new(&["a.b".to_owned(), "c.d".to_owned()]);
        standing.hit(&Verdict::Deny(Reason::new("a.b", "no")));
        standing.hit(&Verdict::Ask(Reason::new("e.f", "no")));
        standing.hit(&Verdict::Allow);
        let hits = standing.tally().hits;
        assert_eq!(
            hits.iter()
                .map(|(rule, count)| (rule.as_str(), *count))
                .collect::<Vec<_>>(),
            [("a.b", 1), ("c.d", 0), ("e.f", 1)]
        );
        for number in 0..2000 {
            standing.hit_rule(&format!("flood.{number}"));
        }
        assert_eq!(standing.tally().hits.len(), MOST_RULES);
    }

    #[test]
    fn faults_in_a_row_or_too_many_in_the_window_end_in_quarantine() {
        let standing = Standing::new(&[]);
        let fault = Fault::Deadline { milliseconds: 5 };
        standing.fault(&fault, &RULES);
        standing.fault(&fault, &RULES);
        standing.sound();
        standing.fault(&fault, &RULES);
        standing.fault(&fault, &RULES);
        assert_eq!(standing.quarantine(), None, "never three in a row");
        standing.fault(&fault, &RULES);
        let Some(Fault::Quarantined { cause }) = standing.quarantine() else {
            panic!("three in a row");
        };
        assert_eq!(cause, fault.to_string());
        standing.release();
        assert_eq!(standing.quarantine(), None);
        for _ in 0..5 {
            standing.fault(&fault, &RULES);
            standing.sound();
        }
        assert_eq!(standing.quarantine(), None);
        standing.fault(&fault, &RULES);
        assert!(standing.confined().is_some(), "six within the window");
    }
}
