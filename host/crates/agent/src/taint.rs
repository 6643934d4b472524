//! The trust class of a session: the lowest of everything its agent has read. It
//! falls when lower text comes in, is on record then, and never rises.

use crate::broker::Broker;
use crate::view::Kind;
use crate::walk::files;
use selfheal_domain::event::Event;
use selfheal_domain::policy::{AccessMode, ToolCallFacts};
use selfheal_domain::tools::{ToolError, ToolRequest};
use selfheal_domain::user::TrustClass;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Places outside of the workspace whose files the operators of the machine vouch for.
const OPERATORS: &[&str] = &[
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/sbin", "/sys",
    "/usr",
];

/// What a session has read so far.
pub(crate) struct Taint(Mutex<Class>);

#[derive(Clone, Copy)]
struct Class {
    in_force: TrustClass,
    on_record: TrustClass,
}

/// Text of a lower class that an effect brings in.
pub(crate) struct Brought {
    pub(crate) trust: TrustClass,
    pub(crate) source: String,
}

impl Taint {
    pub(crate) fn new(trust: TrustClass) -> Self {
        Self(Mutex::new(Class {
            in_force: trust,
            on_record: trust,
        }))
    }

    fn now(&self) -> MutexGuard<'_, Class> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn class(&self) -> TrustClass {
        self.now().in_force
    }

    /// It counts from now on. Whether the record does not say so yet: of a fall that could
    /// not be recorded, the next text has to.
    fn falls_to(&self, trust: TrustClass) -> bool {
        let mut class = self.now();
        class.in_force = trust.min(class.in_force);
        trust < class.on_record
    }

    fn recorded(&self, trust: TrustClass) {
        let mut class = self.now();
        class.on_record = trust.min(class.on_record);
    }
}

impl Broker {
    /// Text came in. The agent must not get it where this fails.
    pub(crate) fn takes_in(&self, brought: Brought) -> Result<(), ToolError> {
        // In force before it is on record: where that fails, nothing of it is used.
        if !self.taint.falls_to(brought.trust) {
            return Ok(());
        }
        self.record(Event::TrustLowered {
            trust: brought.trust,
            source: self.bench.masker.for_record(&brought.source),
        })?;
        self.taint.recorded(brought.trust);
        Ok(())
    }

    /// Text that nobody vouches for and that an admitted call shows its agent, as far as
    /// its facts tell.
    pub(crate) fn shown(&self, request: &ToolRequest, facts: &ToolCallFacts) -> Option<Brought> {
        if self.taint.class() == TrustClass::Machine {
            return None;
        }
        let reads = matches!(request, ToolRequest::Bash { .. } | ToolRequest::Read { .. });
        let path = facts
            .paths
            .iter()
            .filter(|access| reads && access.mode == AccessMode::Read)
            .find(|access| match &access.relative {
                Some(relative) => !access.tracked && self.is_foreign(relative),
                None => is_elsewhere(&access.path),
            })?;
        Some(unvouched(path.relative.as_deref().unwrap_or(&path.path)))
    }

    /// A file of the live tree that git does not know. What the run itself wrote is of
    /// the run's own class.
    pub(crate) fn is_foreign(&self, relative: &str) -> bool {
        !(self.bench.config.tracked)(relative)
            && self
                .view
                .lookup(Path::new(relative))
                .is_some_and(|found| found.kind == Kind::File && found.layer == self.view.root())
    }

    /// The first file that a search may find and nobody vouches for.
    pub(crate) fn any_foreign(&self) -> Option<Brought> {
        if self.taint.class() == TrustClass::Machine {
            return None;
        }
        let mut first = None;
        files(&self.view, &self.bench.ignores, &mut |path| {
            if self.is_foreign(path) {
                first = Some(unvouched(path));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        first
    }
}

/// A file that nobody vouches for, as text.
pub(crate) fn unvouched(path: &str) -> Brought {
    Brought {
        trust: TrustClass::Machine,
        source: format!("file:{path}"),
    }
}

/// A file outside of the workspace that anybody may have written.
fn is_elsewhere(path: &str) -> bool {
    let path = Path::new(path);
    !OPERATORS.iter().any(|place| path.starts_with(place))
        && !path.starts_with(selfheal_sandbox::ASSETS_PATH)
        && path.metadata().is_ok_and(|found| found.is_file())
}
