//! When a crashed service is started again, and when no more.

use std::time::Duration;

/// After the first crash.
const FIRST: Duration = Duration::from_millis(500);
/// After many.
const LONGEST: Duration = Duration::from_secs(30);
/// A service that ran this long starts over with short delays.
const STABLE: Duration = Duration::from_secs(60);
/// Crashes in a row, each before [`STABLE`], after which it stays down.
const MOST: u32 = 6;

/// Counts crashes in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    crashes: u32,
}

impl Backoff {
    /// How long to wait after a crash, or `None` when it crashed too often.
    pub(crate) fn after(&mut self, ran: Duration) -> Option<Duration> {
        if ran >= STABLE {
            self.crashes = 0;
        }
        self.crashes += 1;
        if self.crashes > MOST {
            return None;
        }
        let factor = 2_u32.saturating_pow(self.crashes - 1);
        Some(FIRST.saturating_mul(factor).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_then_it_gives_up() {
        let mut backoff = Backoff::default();
        let quick = Duration::from_secs(1);
        let delays: Vec<Option<u128>> = (0..8)
            .map(|_| backoff.after(quick).map(|delay| delay.as_millis()))
            .collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16000].map(Some);
        assert_eq!(delays[..6], expected);
        assert_eq!(delays[6..], [None, None]);
    }

    #[test]
    fn a_stable_time_forgives() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(STABLE), Some(FIRST));
    }
}
