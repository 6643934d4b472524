//! The one WebAssembly engine: epoch interruption together with its ticker, so
//! that neither exists without the other; an allocator that hands out fresh
//! instances in microseconds; and a gate that bounds how many run at once.

use crate::error::EngineError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often the epoch moves while anything runs; a deadline is met to within two
/// of these.
const TICK: Duration = Duration::from_millis(2);
/// Decisions that run at the same time; more wait for a place.
const PLACES: usize = 32;
/// Largest memory that any module's limit may name, in bytes.
pub(crate) const LARGEST_MEMORY: u64 = 256 << 20;
/// Stack of a guest, in bytes. Deep recursion ends here, far from the host's own.
const GUEST_STACK: usize = 512 << 10;

/// Engine, ticker and gate. Cheap to clone; the ticker ends with the last clone.
#[derive(Clone)]
pub struct PolicyEngine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: wasmtime::Engine,
    gate: Arc<Gate>,
    pooled: bool,
}

/// Who runs right now; the ticker sleeps while nobody does.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    closed: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the running decisions; given back when dropped.
pub(crate) struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.lock().closed = true;
        self.gate.changed.notify_all();
    }
}

impl PolicyEngine {
    /// An engine with its ticker. Instances come from a pool; where the system does
    /// not grant the address space for one, they are allocated one by one.
    ///
    /// # Errors
    /// The engine or the ticker's thread cannot be made.
    pub fn new() -> Result<Self, EngineError> {
        let mut config = base_config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let (engine, pooled) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::warn!(%error, "no instance pool; policy decisions take longer");
                (
                    wasmtime::Engine::new(&base_config()).map_err(EngineError::Create)?,
                    false,
                )
            }
        };
        let gate = Arc::new(Gate::default());
        start_ticker(engine.clone(), Arc::clone(&gate))?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                gate,
                pooled,
            }),
        })
    }

    /// Instances come from a pool.
    pub fn pooled(&self) -> bool {
        self.inner.pooled
    }

    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.inner.engine
    }

    /// Waits for a place. Whoever runs is bounded by a deadline, so this is too.
    pub(crate) fn enter(&self) -> Place<'_> {
        let gate = &self.inner.gate;
        let mut state = gate.lock();
        while state.running >= PLACES {
            state = gate.wait(state);
        }
        state.running += 1;
        drop(state);
        gate.changed.notify_all();
        Place(gate)
    }
}

/// Epochs that `deadline` is worth, rounded up; one more, because the current one
/// has begun already.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos().div_ceil(TICK.as_nanos()))
        .unwrap_or(u64::MAX - 1)
        .saturating_add(1)
}

fn base_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .memory_init_cow(true)
        // Floating-point results must not depend on the machine: decisions are replayed.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let places = u32::try_from(PLACES).unwrap_or(u32::MAX);
    pool.total_component_instances(places)
        .total_core_instances(places * 8)
        .max_core_instances_per_component(8)
        .total_memories(places * 2)
        .max_memories_per_component(2)
        .total_tables(places * 8)
        .max_tables_per_component(8)
        .table_elements(crate::limits::TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(LARGEST_MEMORY).unwrap_or(usize::MAX))
        // Keeping pages beats unmapping them only together with the scan.
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(256 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn start_ticker(engine: wasmtime::Engine, gate: Arc<Gate>) -> Result<(), EngineError> {
    let tick = move || {
        loop {
            let mut state = gate.lock();
            while state.running == 0 && !state.closed {
                state = gate.wait(state);
            }
            if state.closed {
                return;
            }
            drop(state);
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new()
        .name("policy-ticker".into())
        .spawn(tick)
        .map_err(EngineError::Ticker)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_rounded_down() {
        assert_eq!(ticks(Duration::from_millis(2)), 2);
        assert_eq!(ticks(Duration::from_millis(3)), 3);
        assert_eq!(ticks(Duration::ZERO), 1);
    }

    #[test]
    fn places_are_given_back() {
        let engine = PolicyEngine::new().unwrap();
        for _ in 0..3 {
            let places: Vec<_> = (0..PLACES).map(|_| engine.enter()).collect();
            assert_eq!(places.len(), PLACES);
        }
    }
}
