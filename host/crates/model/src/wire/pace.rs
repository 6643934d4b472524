//! Time as retries see it, so that tests wait for nothing.

use std::time::{Duration, Instant};

/// How often a wait looks up to see whether it was called off.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Time between tries.
pub trait Pace: Send + Sync {
    /// Time since any fixed point; never goes back.
    fn now(&self) -> Duration;

    /// Waits, at most until `cancelled`.
    fn wait(&self, time: Duration, cancelled: &dyn Fn() -> bool);

    /// 0 to 1, at random.
    fn jitter(&self) -> f64;
}

/// The machine's own time.
#[derive(Debug)]
pub struct RealPace {
    start: Instant,
}

impl RealPace {
    /// Starts at nought.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for RealPace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&self, time: Duration, cancelled: &dyn Fn() -> bool) {
        let end = self.now().saturating_add(time);
        while !cancelled() {
            let left = end.saturating_sub(self.now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    fn jitter(&self) -> f64 {
        // Without randomness the wait is the whole one: slower, not wrong.
        getrandom::u32().map_or(1.0, |value| f64::from(value) / f64::from(u32::MAX))
    }
}
