//! When a crashed service is started again, and when no more: exponential back-off
//! with a circuit breaker. Pure: it is told how long a service ran and answers.

use std::time::Duration;

/// Bounds of the back-off, from the service's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// After the first crash.
    pub(crate) first: Duration,
    /// After many.
    pub(crate) longest: Duration,
    /// A service that ran this long is forgiven what was before.
    pub(crate) stable: Duration,
    /// Crashes in a row after which the next one opens the breaker.
    pub(crate) limit: u32,
    /// After this long an open breaker lets one start through; none: never by itself.
    pub(crate) pause: Option<Duration>,
}

/// What follows a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Start it after this long.
    Again(Duration),
    /// The breaker is open; one start is tried after this long, if ever.
    Open(Option<Duration>),
}

/// Counts crashes in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    bounds: Bounds,
    crashes: u32,
    open: bool,
}

impl Breaker {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            crashes: 0,
            open: false,
        }
    }

    /// It ended, after it ran that long, when it should not have.
    pub(crate) fn crashed(&mut self, ran: Duration) -> Next {
        self.settled(ran);
        self.crashes = self.crashes.saturating_add(1);
        if self.open || self.crashes > self.bounds.limit {
            self.open = true;
            return Next::Open(self.bounds.pause);
        }
        let factor = 2_u32.saturating_pow(self.crashes - 1);
        let delay = self.bounds.first.saturating_mul(factor);
        Next::Again(delay.min(self.bounds.longest))
    }

    /// It has been running for that long. Says whether that closed an open breaker.
    pub(crate) fn settled(&mut self, ran: Duration) -> bool {
        if ran < self.bounds.stable {
            return false;
        }
        self.crashes = 0;
        std::mem::take(&mut self.open)
    }

    /// Somebody started it: a new beginning.
    pub(crate) fn reset(&mut self) {
        self.crashes = 0;
        self.open = false;
    }

    /// Crashes in a row.
    pub(crate) fn crashes(&self) -> u32 {
        self.crashes
    }

    /// It is not started again, or on trial after it was open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds() -> Bounds {
        Bounds {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            stable: Duration::from_secs(60),
            limit: 6,
            pause: Some(Duration::from_secs(300)),
        }
    }

    #[test]
    fn delays_grow_to_a_limit_and_then_the_breaker_opens() {
        let mut breaker = Breaker::new(bounds());
        let quick = Duration::from_secs(1);
        for delay in [500, 1000, 2000, 4000, 8000, 16000] {
            let next = breaker.crashed(quick);
            assert_eq!(next, Next::Again(Duration::from_millis(delay)));
        }
        let open = Next::Open(bounds().pause);
        assert_eq!(breaker.crashed(quick), open);
        // The start on trial fails as well.
        assert_eq!(breaker.crashed(quick), open);
        assert!(breaker.is_open());
        assert!(breaker.settled(bounds().stable));
        assert!(!breaker.is_open());
        assert_eq!(breaker.crashed(quick), Next::Again(bounds().first));
    }

    proptest! {
        #[test]
        fn it_never_starts_often_and_forgives_only_what_was_stable(
            first in 1_u64..5_000, longest in 1_u64..60_000, stable in 1_u64..100_000,
            limit in 0_u32..12, pause in proptest::option::of(1_u64..100_000),
            runs in proptest::collection::vec(0_u64..150_000, 1..60),
        ) {
            let millis = Duration::from_millis;
            let bounds = Bounds {
                first: millis(first), longest: millis(longest), stable: millis(stable), limit,
                pause: pause.map(millis),
            };
            let mut breaker = Breaker::new(bounds);
            let (mut in_a_row, mut before) = (0_u32, Duration::ZERO);
            for ran in runs.into_iter().map(millis) {
                if ran >= bounds.stable {
                    (in_a_row, before) = (0, Duration::ZERO);
                }
                in_a_row += 1;
                match breaker.crashed(ran) {
                    Next::Again(delay) => {
                        prop_assert!(in_a_row <= limit);
                        prop_assert!(delay >= before && delay <= bounds.longest);
                        prop_assert!(delay >= bounds.first.min(bounds.longest));
                        prop_assert!(!breaker.is_open());
                        before = delay;
                    }
                    Next::Open(after) => {
                        prop_assert!(in_a_row > limit);
                        prop_assert_eq!(after, bounds.pause);
                        prop_assert!(breaker.is_open());
                    }
                }
                prop_assert_eq!(breaker.crashes(), in_a_row);
            }
            breaker.reset();
            prop_assert!(!breaker.is_open() && breaker.crashes() == 0);
        }
    }
}
