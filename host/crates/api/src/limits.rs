//! How often somebody may do something: token buckets, bounded in number.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets kept at most; full ones are forgotten first.
const MAX_BUCKETS: usize = 20_000;

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// So many per minute for each key, and as many at once.
pub(crate) struct RateLimit<K> {
    per_minute: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash> RateLimit<K> {
    /// A limit of `per_minute` for each key.
    pub(crate) fn per_minute(per_minute: u32) -> Self {
        Self {
            per_minute: f64::from(per_minute.max(1)),
            buckets: Mutex::default(),
        }
    }

    /// Takes one for `key`.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            let per_minute = self.per_minute;
            buckets.retain(|_, bucket| refilled(*bucket, per_minute, now) < per_minute);
            if buckets.len() >= MAX_BUCKETS {
                return Err(Duration::from_secs(10));
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            tokens: self.per_minute,
            at: now,
        });
        bucket.tokens = refilled(*bucket, self.per_minute, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64(
                (1.0 - bucket.tokens) * 60.0 / self.per_minute,
            ))
        }
    }
}

fn refilled(bucket: Bucket, per_minute: f64, now: Instant) -> f64 {
    let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
    (bucket.tokens + seconds * per_minute / 60.0).min(per_minute)
}

/// The key of a source address: a whole /64 counts as one, because its owner can use
/// all of it.
pub(crate) fn source_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
        },
    }
}

/// Failures in a row before a name is locked for a source.
const MAX_FAILURES: u32 = 5;
/// Failures from one source, whatever the names, before it is locked.
const MAX_SOURCE_FAILURES: u32 = 20;
/// Failures of one name, whatever the sources, before it is locked for password log-in.
const MAX_NAME_FAILURES: u32 = 50;
/// How long a lock lasts, and how long failures are remembered.
const LOCK: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Suspect {
    NameFrom(String, IpAddr),
    Source(IpAddr),
    Name(String),
}

/// Counts failed log-ins. The lock of a name depends on the source first, so that a
/// stranger who guesses cannot easily keep its owner out.
#[derive(Default)]
pub(crate) struct Lockout {
    failures: Mutex<HashMap<Suspect, (u32, Instant)>>,
}

impl Lockout {
    fn suspects(name: &str, source: IpAddr) -> [(Suspect, u32); 3] {
        let name: String = name.chars().take(64).collect();
        [
            (Suspect::NameFrom(name.clone(), source), MAX_FAILURES),
            (Suspect::Source(source), MAX_SOURCE_FAILURES),
            (Suspect::Name(name), MAX_NAME_FAILURES),
        ]
    }

    /// Whether an attempt is allowed, which then counts as failed until
    /// [`Lockout::succeeded`]: attempts at the same time count, too.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn attempt(&self, name: &str, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, at)| now.saturating_duration_since(*at) < LOCK);
        let suspects = Self::suspects(name, source);
        for (suspect, most) in &suspects {
            if let Some((count, at)) = failures.get(suspect)
                && count >= most
            {
                return Err(LOCK.saturating_sub(now.saturating_duration_since(*at)));
            }
        }
        if failures.len() >= MAX_BUCKETS {
            return Err(LOCK);
        }
        for (suspect, _) in suspects {
            let entry = failures.entry(suspect).or_insert((0, now));
            *entry = (entry.0 + 1, now);
        }
        Ok(())
    }

    /// The last attempt was right.
    pub(crate) fn succeeded(&self, name: &str, source: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (suspect, _) in Self::suspects(name, source) {
            match suspect {
                Suspect::NameFrom(..) => {
                    failures.remove(&suspect);
                }
                Suspect::Source(_) | Suspect::Name(_) => {
                    if let Some((count, _)) = failures.get_mut(&suspect) {
                        *count = count.saturating_sub(1);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_bucket_empties_and_refills() {
        let limit = RateLimit::per_minute(60);
        let start = Instant::now();
        for _ in 0..60 {
            limit.take("a", start).unwrap();
        }
        let wait = limit.take("a", start).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        limit.take("b", start).unwrap();
        limit
            .take("a", start + Duration::from_millis(1100))
            .unwrap();
        assert!(
            limit
                .take("a", start + Duration::from_millis(1100))
                .is_err()
        );
    }

    #[test]
    fn a_v6_network_is_one_source() {
        let a = IpAddr::V6("2001:db8::1".parse::<Ipv6Addr>().unwrap());
        let b = IpAddr::V6("2001:db8::ffff:2".parse::<Ipv6Addr>().unwrap());
        let c = IpAddr::V6("2001:db8:0:1::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(source_key(a), source_key(b));
        assert_ne!(source_key(a), source_key(c));
        let mapped = IpAddr::V6("::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(source_key(mapped), HERE);
    }

    #[test]
    fn guessing_locks_the_name_for_the_guesser_only() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for _ in 0..MAX_FAILURES {
            lockout.attempt("ada", HERE, now).unwrap();
        }
        assert!(lockout.attempt("ada", HERE, now).is_err());
        lockout.attempt("ada", THERE, now).unwrap();
        lockout.attempt("ada", HERE, now + LOCK).unwrap();
    }

    #[test]
    fn a_success_clears_the_name_and_a_source_cannot_try_many_names() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for _ in 0..3 * MAX_SOURCE_FAILURES {
            lockout.attempt("ada", HERE, now).unwrap();
            lockout.succeeded("ada", HERE);
        }
        for n in 0..MAX_SOURCE_FAILURES {
            lockout.attempt(&format!("name-{n}"), HERE, now).unwrap();
        }
        assert!(lockout.attempt("another", HERE, now).is_err());
    }
}
