//! Where guest code of contract line 1 runs: every question in an instance that was
//! never used, with all limits, every error turned into a fault.
//!
//! `configure` depends on nothing but the settings, so it need not run in each
//! instance anew. A settled module has a second form, compiled from its state right
//! after `configure`, whose instances begin there. Beyond that a few spare instances
//! are made beforehand. Both are only ever a matter of time: a module of which
//! neither can be made, or that asks about the run while it is configured, is
//! instantiated and configured for each question.

use super::v1::{Guest, Surroundings};
use super::v1_bindings::autonomy::AutonomyPre;
use super::v1_bindings::guardrail::GuardrailPre;
use super::v1_bindings::risk::RiskPre;
use super::v1_bindings::{host, types as wit};
use super::v1_block::OnePiece;
use super::{Code, Order, kind_name};
use crate::capabilities::{self, Denied};
use crate::engine::{PolicyEngine, ticks};
use crate::error::ModuleProblem;
use crate::limits::{HostCallsDenied, MemoryDenied};
use crate::snapshot::{Instrumented, NoSnapshot};
use crate::spares::{Refill, Spares};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::ModuleKind;
use selfheal_domain::verdict::Fault;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, HasSelf, Instance, InstancePre, Lift,
    Linker, Lower, TypedFunc,
};
use wasmtime::{Store, Trap};

/// Time to read an instance's state; the host's own code, whatever the guest is.
const READING: Duration = Duration::from_secs(60);
/// Memory of a spare instance, in bytes. A module that is larger once configured
/// gets none.
const LARGEST_SPARE: u64 = 8 << 20;

/// An exported function and its types, which were checked when it was linked.
pub(super) struct Export<P, R> {
    index: ComponentExportIndex,
    types: PhantomData<(P, R)>,
}

/// Functions that every module exports.
pub(super) struct Common {
    pub(super) describe: Export<(), (wit::Description,)>,
    pub(super) configure: Export<(&'static str,), (Result<(), String>,)>,
}

pub(super) type About<'a, T> = (&'a wit::Context, &'a T);
pub(super) type Decided<'a> = (&'a wit::Context, &'a wit::Patch, &'a wit::Assessment);

/// Functions that a module of its kind exports.
pub(super) enum Exports {
    Guardrail {
        judge_tool_call: Export<About<'static, wit::ToolCall>, (wit::Verdict,)>,
        judge_patch: Export<About<'static, wit::Patch>, (wit::Verdict,)>,
    },
    Risk {
        assess: Export<About<'static, wit::Patch>, (wit::Assessment,)>,
    },
    Autonomy {
        decide: Export<Decided<'static>, (wit::Decision,)>,
        admit: Export<About<'static, wit::Issue>, (wit::Admission,)>,
    },
}

impl Exports {
    pub(super) fn judge_tool_call<'a>(
        &self,
    ) -> Option<&Export<About<'a, wit::ToolCall>, (wit::Verdict,)>> {
        match self {
            Self::Guardrail {
                judge_tool_call, ..
            } => Some(judge_tool_call),
            Self::Risk { .. } | Self::Autonomy { .. } => None,
        }
    }

    pub(super) fn judge_patch<'a>(
        &self,
    ) -> Option<&Export<About<'a, wit::Patch>, (wit::Verdict,)>> {
        match self {
            Self::Guardrail { judge_patch, .. } => Some(judge_patch),
            Self::Risk { .. } | Self::Autonomy { .. } => None,
        }
    }

    pub(super) fn assess<'a>(&self) -> Option<&Export<About<'a, wit::Patch>, (wit::Assessment,)>> {
        match self {
            Self::Risk { assess } => Some(assess),
            Self::Guardrail { .. } | Self::Autonomy { .. } => None,
        }
    }

    pub(super) fn decide<'a>(&self) -> Option<&Export<Decided<'a>, (wit::Decision,)>> {
        match self {
            Self::Autonomy { decide, .. } => Some(decide),
            Self::Guardrail { .. } | Self::Risk { .. } => None,
        }
    }

    pub(super) fn admit<'a>(&self) -> Option<&Export<About<'a, wit::Issue>, (wit::Admission,)>> {
        match self {
            Self::Autonomy { admit, .. } => Some(admit),
            Self::Guardrail { .. } | Self::Risk { .. } => None,
        }
    }
}

/// A component linked against `host`, what was granted, and nothing else.
struct Linked {
    instances: InstancePre<Guest>,
    common: Common,
    exports: Exports,
    /// Its instances begin configured.
    configured: bool,
}

/// A running instance in its store.
pub(super) struct Running {
    store: Store<Guest>,
    instance: Instance,
    /// Which form of the module it is an instance of.
    settled: bool,
}

/// A module, ready to be asked.
pub(super) struct Runner {
    order: Order,
    engine: PolicyEngine,
    plain: Linked,
    settled: OnceLock<Linked>,
    spares: Spares<Running>,
}

impl Linked {
    fn new(engine: &PolicyEngine, component: &Component, order: &Order) -> wasmtime::Result<Self> {
        let mut linker: Linker<Guest> = Linker::new(engine.wasm());
        host::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        capabilities::link(&mut linker, order.capabilities, Guest::wasi)?;
        let instances = linker.instantiate_pre(component)?;
        // The generated code checks the types of all that the world exports.
        let interface = match order.kind {
            ModuleKind::Guardrail => {
                GuardrailPre::new(instances.clone())?;
                "selfheal:policy/judge@1.0.0"
            }
            ModuleKind::Risk => {
                RiskPre::new(instances.clone())?;
                "selfheal:policy/assess@1.0.0"
            }
            ModuleKind::Autonomy => {
                AutonomyPre::new(instances.clone())?;
                "selfheal:policy/decide@1.0.0"
            }
        };
        let exports = match order.kind {
            ModuleKind::Guardrail => Exports::Guardrail {
                judge_tool_call: Export::find(component, Some(interface), "judge-tool-call")?,
                judge_patch: Export::find(component, Some(interface), "judge-patch")?,
            },
            ModuleKind::Risk => Exports::Risk {
                assess: Export::find(component, Some(interface), "assess")?,
            },
            ModuleKind::Autonomy => Exports::Autonomy {
                decide: Export::find(component, Some(interface), "decide")?,
                admit: Export::find(component, Some(interface), "admit")?,
            },
        };
        let common = Common {
            describe: Export::find(component, None, "describe")?,
            configure: Export::find(component, None, "configure")?,
        };
        Ok(Self {
            instances,
            common,
            exports,
            configured: false,
        })
    }
}

impl<P, R> Export<P, R> {
    /// Its types must have been checked.
    fn find(component: &Component, interface: Option<&str>, name: &str) -> wasmtime::Result<Self> {
        let missing = || wasmtime::Error::msg(format!("it does not export `{name}`"));
        let interface = match interface {
            Some(interface) => Some(
                component
                    .get_export_index(None, interface)
                    .ok_or_else(missing)?,
            ),
            None => None,
        };
        let index = component
            .get_export_index(interface.as_ref(), name)
            .ok_or_else(missing)?;
        Ok(Self {
            index,
            types: PhantomData,
        })
    }
}

impl Running {
    /// Calls one of the module's functions.
    pub(super) fn call<P, R>(&mut self, export: &Export<P, R>, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.call_with(export.index, parameters)
    }

    /// The same with parameters that stand for `P`.
    pub(super) fn call_in_one_piece<P, R>(
        &mut self,
        export: &Export<P, R>,
        parameters: OnePiece<'_, P>,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList,
        R: ComponentNamedList + Lift,
    {
        self.call_with(export.index, parameters)
    }

    /// The types must be those that the export was checked for.
    fn call_with<P, R>(&mut self, index: ComponentExportIndex, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let function = self
            .instance
            .get_func(&mut self.store, index)
            .ok_or_else(gone)?;
        #[expect(
            unsafe_code,
            reason = "checking the types again in every instance costs as much as making it"
        )]
        // SAFETY: `Linked::new` had the types of this export checked on the component
        // that this is an instance of; `P` are its parameters, or stand for them.
        let function = unsafe { TypedFunc::<P, R>::new_unchecked(function) };
        function.call(&mut self.store, parameters)
    }
}

impl Runner {
    pub(super) fn link(
        engine: &PolicyEngine,
        component: &Component,
        order: Order,
    ) -> Result<Self, ModuleProblem> {
        let plain =
            Linked::new(engine, component, &order).map_err(|error| ModuleProblem::Contract {
                kind: kind_name(order.kind),
                message: format!("{error:#}"),
            })?;
        Ok(Self {
            order,
            engine: engine.clone(),
            plain,
            settled: OnceLock::new(),
            spares: Spares::new(Arc::clone(engine.filler())),
        })
    }

    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    /// Spares that are ready.
    pub(super) fn spares(&self) -> usize {
        self.spares.waiting()
    }

    fn linked(&self) -> &Linked {
        self.settled.get().unwrap_or(&self.plain)
    }

    /// Runs `question` in an instance that was not configured.
    pub(super) fn plain<T>(
        &self,
        output: usize,
        question: impl FnOnce(&mut Running, &Common) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let _place = self.engine.enter();
        let around = Surroundings::default();
        let answer = self
            .instance(&self.plain, around, output)
            .and_then(|mut running| question(&mut running, &self.plain.common));
        answer.map_err(|error| self.fault(&error))
    }

    /// Asks the function that `export` picks in an instance that was configured, with
    /// the module's own settings or with others, and never used. It picks none from a
    /// module of another kind.
    pub(super) fn ask<P, R>(
        self: &Arc<Self>,
        settings: Option<&str>,
        around: Surroundings,
        output: usize,
        export: impl Fn(&Exports) -> Option<&Export<P, R>>,
        call: impl FnOnce(&mut Running, &Export<P, R>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        if export(&self.plain.exports).is_none() {
            return Err(wrong_kind());
        }
        let _place = self.engine.enter();
        let spare = match settings {
            None => self.spares.take(|| self.refiller()),
            Some(_) => None,
        };
        let running = match spare {
            Some(mut spare) => {
                spare.store.data_mut().surroundings = around;
                self.limit(&mut spare.store, output);
                Ok(spare)
            }
            None => self.configured(settings, around, output),
        };
        let answer = running.and_then(|mut running| {
            // Of the form that this is an instance of: the other one may have come
            // into use meanwhile.
            let linked = self.form_of(&running);
            let export = export(&linked.exports).ok_or_else(gone)?;
            let answer = call(&mut running, export);
            if settings.is_none() {
                self.spares.retire(running);
            }
            answer
        });
        answer.map_err(|error| self.fault(&error))
    }

    fn form_of(&self, running: &Running) -> &Linked {
        match self.settled.get() {
            Some(settled) if running.settled => settled,
            Some(_) | None => &self.plain,
        }
    }

    fn refiller(self: &Arc<Self>) -> Weak<dyn Refill> {
        let this: Weak<Self> = Arc::downgrade(self);
        this
    }

    /// A configured instance.
    fn configured(
        &self,
        settings: Option<&str>,
        around: Surroundings,
        output: usize,
    ) -> wasmtime::Result<Running> {
        let linked = match settings {
            None => self.linked(),
            Some(_) => &self.plain,
        };
        let mut running = self.instance(linked, around, output)?;
        if !linked.configured {
            let settings = settings.unwrap_or(&self.order.settings);
            configure(&mut running, linked, settings)?;
        }
        Ok(running)
    }

    /// A fresh instance with all limits.
    fn instance(
        &self,
        linked: &Linked,
        around: Surroundings,
        output: usize,
    ) -> wasmtime::Result<Running> {
        let guest = Guest::new(&self.order.name, &self.order.limits, around);
        #[expect(
            clippy::disallowed_methods,
            reason = "the one store there is, with every limit set below"
        )]
        let mut store = Store::new(self.engine.wasm(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.epoch_deadline_trap();
        self.limit(&mut store, output);
        let instance = linked.instances.instantiate(&mut store)?;
        Ok(Running {
            store,
            instance,
            settled: linked.configured,
        })
    }

    /// Time and output of what begins now.
    fn limit(&self, store: &mut Store<Guest>, output: usize) {
        store.set_epoch_deadline(ticks(self.order.limits.deadline()));
        store.set_hostcall_fuel(output);
    }

    /// Whether instances begin configured.
    pub(super) fn settled(&self) -> bool {
        self.settled.get().is_some()
    }

    /// Takes up the form whose instances begin configured, if it is in the cache and an
    /// instance of it fits into the limits.
    pub(super) fn resume(&self, code: &Code) -> bool {
        let Some(component) = code.cache.find(&self.engine, &self.settled_form(code)) else {
            return false;
        };
        let Some(linked) = self.settled_linked(&component) else {
            return false;
        };
        let _place = self.engine.enter();
        let fits = self.instance(&linked, Surroundings::default(), usize::MAX);
        fits.is_ok() && (self.settled.set(linked).is_ok() || self.settled())
    }

    /// Makes the form whose instances begin configured, on a thread of its own, because
    /// compiling takes long. Nothing is done where compiled code is not kept. Where the
    /// form cannot be made, the log says why and nothing changes.
    pub(super) fn settle(self: &Arc<Self>, code: Code) {
        if !code.cache.keeps() || self.settled() {
            return;
        }
        let (this, engine) = (Arc::downgrade(self), self.engine.clone());
        let spawned = std::thread::Builder::new()
            .name("policy-settle".into())
            .spawn(move || {
                // One at a time: nobody waits for it.
                let _turn = engine.turn_to_settle();
                if let Some(this) = this.upgrade() {
                    this.make_settled(&code);
                }
            });
        if let Err(why) = spawned {
            self.not_settled(&why);
        }
    }

    fn settled_form(&self, code: &Code) -> Digest {
        code.form("settled 1", &self.order.settings)
    }

    fn make_settled(&self, code: &Code) {
        let component = self.snapshot(code).and_then(|settled| {
            let form = self.settled_form(code);
            let compiled = code.cache.compile(&self.engine, &form, &settled);
            compiled.map_err(NoSnapshot::State)
        });
        match component {
            Ok(component) => {
                if let Some(linked) = self.settled_linked(&component) {
                    let _ = self.settled.set(linked);
                }
            }
            Err(why) => self.not_settled(&why),
        }
    }

    fn settled_linked(&self, component: &Component) -> Option<Linked> {
        match Linked::new(&self.engine, component, &self.order) {
            Ok(linked) => Some(Linked {
                configured: true,
                ..linked
            }),
            Err(why) => {
                self.not_settled(&why);
                None
            }
        }
    }

    fn not_settled(&self, why: &dyn std::fmt::Display) {
        let module = &*self.order.name;
        tracing::debug!(module, %why, "policy module is configured in each instance");
    }

    /// The component as it stands after `configure`.
    fn snapshot(&self, code: &Code) -> Result<Vec<u8>, NoSnapshot> {
        let instrumented = Instrumented::new(&code.bytes.bytes)?;
        let form = code.form("instrumented 1", "");
        let component = code
            .cache
            .compile(&self.engine, &form, instrumented.bytes())
            .map_err(NoSnapshot::Instrument)?;
        let linked =
            Linked::new(&self.engine, &component, &self.order).map_err(NoSnapshot::Instrument)?;
        let _place = self.engine.enter();
        let mut running = self
            .instance(&linked, Surroundings::default(), usize::MAX)
            .map_err(NoSnapshot::State)?;
        configure(&mut running, &linked, &self.order.settings).map_err(NoSnapshot::State)?;
        if running.store.data().asked {
            return Err(NoSnapshot::Asked);
        }
        running.store.set_epoch_deadline(ticks(READING));
        instrumented.snapshot(&mut running.store, running.instance)
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        if error.downcast_ref::<MemoryDenied>().is_some() {
            return Fault::Memory {
                bytes: self.order.limits.memory(),
            };
        }
        if let Some(refused) = error.downcast_ref::<SettingsRefused>() {
            return Fault::Nonsense {
                message: refused.to_string(),
            };
        }
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Fault::Trap {
                message: denied.to_string(),
            };
        }
        if let Some(flood) = error.downcast_ref::<HostCallsDenied>() {
            return Fault::Trap {
                message: flood.to_string(),
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                let milliseconds =
                    u64::try_from(self.order.limits.deadline().as_millis()).unwrap_or(u64::MAX);
                Fault::Deadline { milliseconds }
            }
            Some(trap) => Fault::Trap {
                message: trap.to_string(),
            },
            // Not stopped while running: what it handed over could not be read.
            None => Fault::Nonsense {
                message: error.root_cause().to_string(),
            },
        }
    }
}

impl Refill for Runner {
    fn clear(&self) {
        self.spares.clear();
    }

    fn refill(&self) -> bool {
        self.spares.refill(|| {
            let _place = self.engine.enter();
            let made = self.configured(None, Surroundings::default(), usize::MAX);
            made.ok().filter(|running| {
                let guest = running.store.data();
                let used = self
                    .order
                    .limits
                    .memory()
                    .saturating_sub(guest.meter.left());
                !guest.asked && used <= LARGEST_SPARE
            })
        })
    }
}

fn gone() -> wasmtime::Error {
    wasmtime::Error::msg("an export is gone")
}

pub(super) fn wrong_kind() -> Fault {
    Fault::Nonsense {
        message: "it is not of the kind that answers this question".to_owned(),
    }
}

fn configure(running: &mut Running, linked: &Linked, settings: &str) -> wasmtime::Result<()> {
    let (answer,) = running.call(&linked.common.configure, (settings,))?;
    answer.map_err(|message| wasmtime::Error::new(SettingsRefused(message)))
}

/// The module accepted its settings when it was prepared and refuses them now.
#[derive(Debug, thiserror::Error)]
#[error("it refused the settings that it had accepted: {0}")]
struct SettingsRefused(String);
