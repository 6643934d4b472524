//! What one decision of one module may cost. All three numbers are constructor
//! arguments: there is no module without limits.

use crate::engine::LARGEST_MEMORY;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Elements that a module's tables may hold.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Core instances of one module. One of a compiled language has a few, Python 38.
pub(crate) const INSTANCES: u32 = 64;
/// Memories of one module; they share one limit on bytes.
pub(crate) const MEMORIES: u32 = 4;
/// Tables of one module.
pub(crate) const TABLES: u32 = 8;
/// Log lines kept of one decision.
pub(crate) const LOG_LINES: u32 = 16;
/// Calls of the host's functions in one decision; more is a fault.
pub(crate) const HOST_CALLS: u32 = 256;
/// Calls of granted WASI in one decision; more is a fault.
pub(crate) const WASI_CALLS: u32 = 16_384;
/// Longest log line kept, in bytes.
pub(crate) const LOG_BYTES: usize = 512;

/// Limits of one decision of one module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    deadline: Duration,
    memory: u64,
    output: u64,
}

impl Limits {
    /// Shortest and longest deadline, in milliseconds.
    pub const DEADLINE_MS: (u64, u64) = (1, 60_000);
    /// Smallest and largest memory, in bytes.
    pub const MEMORY_BYTES: (u64, u64) = (64 << 10, LARGEST_MEMORY);
    /// Smallest and largest answer, in bytes.
    pub const OUTPUT_BYTES: (u64, u64) = (1 << 10, 4 << 20);

    /// What `policy.toml` gets where it names nothing: one second (a decision takes
    /// well under a millisecond, but machines stall), 64 MiB, 64 KiB.
    pub const DEFAULT: Self = Self {
        deadline: Duration::from_secs(1),
        memory: 64 << 20,
        output: 64 << 10,
    };

    /// Limits from milliseconds and bytes, each within its range.
    ///
    /// # Errors
    /// Names the value that is out of range and the range.
    pub fn new(deadline_ms: u64, memory_bytes: u64, output_bytes: u64) -> Result<Self, String> {
        let within = |name: &str, value: u64, (low, high): (u64, u64)| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err(format!("{name} is {low} to {high}, got {value}"))
            }
        };
        Ok(Self {
            deadline: Duration::from_millis(within("deadline_ms", deadline_ms, Self::DEADLINE_MS)?),
            memory: within("memory_bytes", memory_bytes, Self::MEMORY_BYTES)?,
            output: within("output_bytes", output_bytes, Self::OUTPUT_BYTES)?,
        })
    }

    /// Time for one decision.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Size of an answer, in bytes.
    pub fn output(&self) -> u64 {
        self.output
    }
}

/// The module asked for more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("memory limit reached")]
pub(crate) struct MemoryDenied;

/// The module called the host more often than it may.
#[derive(Debug, thiserror::Error)]
#[error("more than {HOST_CALLS} calls of the host in one decision")]
pub(crate) struct HostCallsDenied;

/// Counts a decision's memory and tables.
pub(crate) struct Meter {
    memory: u64,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
        }
    }

    /// Memory that may still be taken, in bytes.
    pub(crate) fn left(&self) -> u64 {
        self.memory
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The sum over all memories counts, or two of them would get twice as much.
        let growth = (desired.saturating_sub(current)) as u64;
        match self.memory.checked_sub(growth) {
            Some(left) => {
                self.memory = left;
                Ok(true)
            }
            // An error ends the decision; a mere refusal would let the guest go on.
            None => Err(wasmtime::Error::new(MemoryDenied)),
        }
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired <= TABLE_ELEMENTS {
            Ok(true)
        } else {
            Err(wasmtime::Error::new(MemoryDenied))
        }
    }

    fn instances(&self) -> usize {
        usize::try_from(INSTANCES).unwrap_or(usize::MAX)
    }

    fn tables(&self) -> usize {
        usize::try_from(TABLES).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(MEMORIES).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_out_of_range_name_the_range() {
        assert_eq!(
            Limits::new(0, 1 << 20, 4096).unwrap_err(),
            "deadline_ms is 1 to 60000, got 0"
        );
        assert!(
            Limits::new(10, 1, 4096)
                .unwrap_err()
                .starts_with("memory_bytes is 65536 to ")
        );
        assert!(
            Limits::new(10, 1 << 20, 1 << 30)
                .unwrap_err()
                .starts_with("output_bytes is 1024 to ")
        );
    }

    #[test]
    fn memories_share_one_limit() {
        let mut meter = Meter::new(&Limits::new(10, 1 << 20, 4096).unwrap());
        assert!(meter.memory_growing(0, 1 << 19, None).unwrap());
        assert!(meter.memory_growing(0, 1 << 19, None).unwrap());
        assert!(meter.memory_growing(0, 1, None).is_err());
    }
}
