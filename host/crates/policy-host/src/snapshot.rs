//! A component as it stands after `configure`: its memories and globals become the
//! initial ones of a new component, so that every fresh instance begins configured
//! and with its memory grown. The instrumented component has extra exports through
//! which its state is read; they are gone from the new one.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// Most memory that is kept, in bytes. What is larger would cost more to load than
/// configuring anew.
const LARGEST: usize = 32 << 20;

/// Why a module is configured in every instance instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSnapshot {
    /// It does something that a snapshot cannot hold, such as changing tables.
    #[error("it cannot be instrumented: {0}")]
    Instrument(wasmtime::Error),
    /// Its state cannot be read.
    #[error("its state cannot be read: {0}")]
    State(wasmtime::Error),
    /// Its state is too large.
    #[error("its memory has more than {LARGEST} bytes")]
    TooLarge,
    /// Another question may be configured differently.
    #[error("it asks about the run while it is configured")]
    Asked,
    /// The snapshot crate gave up.
    #[error("its state has a form that cannot be kept")]
    Unsupported,
}

/// A component with exports through which its state can be read.
pub(crate) struct Instrumented<'a> {
    wizer: Wizer,
    context: ComponentContext<'a>,
    bytes: Vec<u8>,
}

impl<'a> Instrumented<'a> {
    /// Adds the exports.
    pub(crate) fn new(component: &'a [u8]) -> Result<Self, NoSnapshot> {
        let wizer = Wizer::new();
        let made = catch_unwind(AssertUnwindSafe(|| wizer.instrument_component(component)));
        let (context, bytes) = made
            .map_err(|_| NoSnapshot::Unsupported)?
            .map_err(NoSnapshot::Instrument)?;
        Ok(Self {
            wizer,
            context,
            bytes,
        })
    }

    /// The component to compile and instantiate.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The component that begins in the state that `instance` is in. The caller
    /// gives the store a deadline that is long enough.
    pub(crate) fn snapshot<T: Send>(
        &self,
        store: &mut Store<T>,
        instance: Instance,
    ) -> Result<Vec<u8>, NoSnapshot> {
        let mut state = State {
            store,
            instance,
            problem: None,
        };
        let made = catch_unwind(AssertUnwindSafe(|| {
            finish(self.wizer.snapshot_component(&self.context, &mut state))
        }));
        if let Some(problem) = state.problem {
            return Err(problem);
        }
        made.map_err(|_| NoSnapshot::Unsupported)?
            .ok_or(NoSnapshot::Unsupported)?
            .map_err(NoSnapshot::State)
    }
}

/// Runs a future that never waits.
fn finish<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Reads through the added exports; the first failure is kept and what follows is
/// thrown away.
struct State<'a, T: 'static> {
    store: &'a mut Store<T>,
    instance: Instance,
    problem: Option<NoSnapshot>,
}

impl<T: Send> State<'_, T> {
    fn read<R: Lift + 'static, V: Default>(
        &mut self,
        instance: &str,
        function: &str,
        value: impl FnOnce(&mut Store<T>, R) -> Result<V, NoSnapshot>,
    ) -> V {
        let read = self
            .call(instance, function)
            .map_err(NoSnapshot::State)
            .and_then(|found| value(self.store, found));
        read.unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            V::default()
        })
    }

    fn call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg("an added export is missing");
        let (_, outer) = self
            .instance
            .get_export(&mut *self.store, None, instance)
            .ok_or_else(missing)?;
        let (_, inner) = self
            .instance
            .get_export(&mut *self.store, Some(&outer), function)
            .ok_or_else(missing)?;
        let function = self
            .instance
            .get_typed_func::<(), (R,)>(&mut *self.store, inner)?;
        Ok(function.call(&mut *self.store, ())?.0)
    }
}

impl<T: Send> ComponentInstanceState for State<'_, T> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        self.read(instance, func, |store, list: WasmList<u8>| {
            let bytes = list.as_le_slice(&*store);
            if bytes.len() > LARGEST {
                return Err(NoSnapshot::TooLarge);
            }
            contents(bytes);
            Ok(())
        });
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func, |_, value: i32| Ok(value))
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func, |_, value: i64| Ok(value))
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read(instance, func, |_, value: f32| Ok(value.to_bits()))
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read(instance, func, |_, value: f64| Ok(value.to_bits()))
    }
}
