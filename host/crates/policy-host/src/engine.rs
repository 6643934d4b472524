//! The one WebAssembly engine: epoch interruption together with its ticker, so
//! that neither exists without the other; an allocator that hands out fresh
//! instances in microseconds; a gate that bounds how many run at once; and the
//! thread that makes spare instances while nobody waits for them.
//!
//! Entering and leaving the gate are two atomic operations unless all places are
//! taken or the ticker sleeps, which it does after a second without decisions.

use crate::error::EngineError;
use crate::spares::{EACH, Filler};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often the epoch moves while anything runs; a deadline is met to within two
/// of these.
const TICK: Duration = Duration::from_millis(2);
/// Ticks without a decision after which the ticker sleeps.
const PATIENCE: u32 = 500;
/// Decisions that run at the same time; more wait for a place.
const PLACES: usize = 32;
/// Spare instances of all modules together, beyond those that run; as many used
/// ones may wait to be taken apart.
const SPARES: usize = 32;
/// Largest memory that any module's limit may name, in bytes.
pub(crate) const LARGEST_MEMORY: u64 = 256 << 20;
/// Stack of a guest, in bytes. Deep recursion ends here, far from the host's own.
const GUEST_STACK: usize = 512 << 10;

/// Engine, ticker and gate. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct PolicyEngine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: wasmtime::Engine,
    gate: Arc<Gate>,
    filler: Arc<Filler>,
    /// Whose turn it is to compile what nobody waits for.
    settling: Mutex<()>,
    pooled: bool,
}

/// Who runs right now.
#[derive(Default)]
struct Gate {
    running: AtomicUsize,
    /// Callers that wait for a place, counted under the lock.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    left: Condvar,
    closed: AtomicBool,
    /// The ticker is asleep, or about to look once more whether it may be.
    asleep: AtomicBool,
    ticker: OnceLock<Thread>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place if there is one.
    fn take(&self) -> bool {
        let more = |running| (running < PLACES).then_some(running + 1);
        self.running.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    fn wait_for_place(&self) {
        let mut guard = self.lock();
        self.waiting.fetch_add(1, SeqCst);
        // Whoever leaves after this sees that somebody waits, and needs the lock to
        // say so: no place is given back unnoticed.
        while !self.take() {
            guard = self
                .left
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.fetch_sub(1, SeqCst);
    }

    fn leave(&self) {
        self.running.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            drop(self.lock());
            self.left.notify_one();
        }
    }

    fn wake_ticker(&self) {
        if self.asleep.load(SeqCst)
            && let Some(ticker) = self.ticker.get()
        {
            ticker.unpark();
        }
    }
}

/// A place among the running decisions; given back when dropped.
pub(crate) struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.closed.store(true, SeqCst);
        self.filler.close();
        if let Some(ticker) = self.gate.ticker.get() {
            ticker.unpark();
        }
    }
}

impl PolicyEngine {
    /// An engine with its ticker. Instances come from a pool; where the system does
    /// not grant the address space for one, they are allocated one by one.
    ///
    /// # Errors
    /// The engine or one of its threads cannot be made.
    pub fn new() -> Result<Self, EngineError> {
        Self::with_spares(EACH)
    }

    /// The same with up to `each` spare instances per module, made while nobody
    /// waits for them; with 0 every decision makes its own.
    ///
    /// # Errors
    /// The engine or one of its threads cannot be made.
    pub fn with_spares(each: usize) -> Result<Self, EngineError> {
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
        let filler = Filler::start(each, SPARES).map_err(EngineError::Ticker)?;
        start_ticker(engine.clone(), &gate, Arc::clone(&filler))?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                gate,
                filler,
                settling: Mutex::new(()),
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

    /// Who makes spare instances.
    pub(crate) fn filler(&self) -> &Arc<Filler> {
        &self.inner.filler
    }

    /// Waits until nobody else compiles what nobody waits for.
    pub(crate) fn turn_to_settle(&self) -> MutexGuard<'_, ()> {
        let turn = self.inner.settling.lock();
        turn.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Whoever runs is bounded by a deadline, so this is too.
    pub(crate) fn enter(&self) -> Place<'_> {
        let gate = &self.inner.gate;
        if !gate.take() {
            gate.wait_for_place();
        }
        gate.wake_ticker();
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
        // Modules of scripting languages are made of parts that hand texts to each
        // other, and the engine's own glue between two memories sees both.
        .wasm_multi_memory(true)
        .memory_init_cow(true)
        // Floating-point results must not depend on the machine: decisions are replayed.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let places = u32::try_from(PLACES + 2 * SPARES).unwrap_or(u32::MAX);
    pool.total_component_instances(places)
        .total_core_instances(places * crate::limits::INSTANCES)
        .max_core_instances_per_component(crate::limits::INSTANCES)
        .total_memories(places * crate::limits::MEMORIES)
        .max_memories_per_component(crate::limits::MEMORIES)
        .total_tables(places * crate::limits::TABLES)
        .max_tables_per_component(crate::limits::TABLES)
        .table_elements(crate::limits::TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(LARGEST_MEMORY).unwrap_or(usize::MAX))
        // Keeping pages beats unmapping them only together with the scan.
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(256 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn start_ticker(
    engine: wasmtime::Engine,
    gate: &Arc<Gate>,
    filler: Arc<Filler>,
) -> Result<(), EngineError> {
    let own = Arc::clone(gate);
    let tick = move || {
        let gate = own;
        let mut idle = 0;
        while !gate.closed.load(SeqCst) {
            if gate.running.load(SeqCst) > 0 {
                idle = 0;
            } else if idle < PATIENCE {
                idle += 1;
            } else {
                gate.asleep.store(true, SeqCst);
                // Whoever enters after this store wakes us; who entered before it is
                // seen here.
                if gate.running.load(SeqCst) == 0 && !gate.closed.load(SeqCst) {
                    std::thread::park();
                }
                gate.asleep.store(false, SeqCst);
                idle = 0;
            }
            std::thread::sleep(TICK);
            engine.increment_epoch();
            filler.nudge();
        }
    };
    let ticker = std::thread::Builder::new()
        .name("policy-ticker".into())
        .spawn(tick)
        .map_err(EngineError::Ticker)?;
    // The ticker cannot sleep before its first patience is over, and `with_spares`
    // has not returned yet: nobody needs to wake it before this.
    let _ = gate.ticker.set(ticker.thread().clone());
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
