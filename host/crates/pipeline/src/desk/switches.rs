//! The switches of the desk: autonomy, freeze, services.

use super::{AutonomyView, Caller, DeskError, Freeze, IssueDesk, required};
use crate::bounds;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::ports::{ServiceError, ServiceStatus};
use selfheal_domain::report::FieldError;
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::service::{ServiceDetails, ServiceOperation};

impl IssueDesk {
    /// The autonomy switch.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn autonomy(&self) -> Result<AutonomyView, DeskError> {
        let switches = self.ledger.store().switches()?;
        Ok(AutonomyView {
            level: self.healer.level()?,
            ceiling: self.settings.rules.get().ceiling,
            frozen: switches.frozen || self.healer.alarmed(),
        })
    }

    /// Sets the autonomy level.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] above the ceiling; [`DeskError::Stale`].
    pub fn set_autonomy(
        &self,
        caller: &Caller,
        level: u8,
        reason: &str,
    ) -> Result<AutonomyView, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let invalid = |message| DeskError::Invalid(vec![FieldError::new("level", message)]);
        let level = AutonomyLevel::try_from(level).map_err(invalid)?;
        let ceiling = self.settings.rules.get().ceiling;
        if level > ceiling {
            return Err(invalid(format!(
                "{level} is above the ceiling {ceiling} ({}) that policy.toml sets",
                u8::from(ceiling)
            )));
        }
        self.ledger.record_switch(caller.actor(), || {
            self.must_be_seen()?;
            Ok::<_, DeskError>(Event::AutonomyChanged { level, reason })
        })?;
        self.autonomy()
    }

    /// Whether the switch is as the caller saw it.
    fn must_be_seen(&self) -> Result<(), DeskError> {
        let Some(seen) = &self.seen else {
            return Ok(());
        };
        Ok(seen.check("the autonomy switch", &self.autonomy()?.version())?)
    }

    /// Stops all healing, or lets it go on.
    ///
    /// # Errors
    /// [`DeskError::Stale`]; see [`DeskError`].
    pub fn set_frozen(
        &self,
        caller: &Caller,
        frozen: Freeze,
        reason: &str,
    ) -> Result<AutonomyView, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let frozen = frozen == Freeze::On;
        if !frozen && let Some(warden) = &self.warden {
            self.must_be_seen()?;
            // Whoever lifts a freeze does so over enforcement that holds.
            warden.clear().map_err(DeskError::Conflict)?;
        }
        self.ledger.record_switch(caller.actor(), || {
            self.must_be_seen()?;
            Ok::<_, DeskError>(Event::FreezeChanged { frozen, reason })
        })?;
        if frozen {
            self.healer.stop_agents();
        } else {
            self.healer.set_alarm(false);
            self.healer.resume()?;
        }
        self.autonomy()
    }

    /// The application's services.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.services.status()
    }

    /// What else is known of one.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown one.
    pub fn service_details(
        &self,
        name: &str,
    ) -> Result<(ServiceStatus, ServiceDetails), DeskError> {
        let status = self.services.status();
        let status = status.into_iter().find(|status| status.name == name);
        let status = status.ok_or_else(|| DeskError::NotFound(format!("service {name:?}")))?;
        Ok((status, self.services.details(name).unwrap_or_default()))
    }

    /// The end of one's log, at most `most` bytes.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown one.
    pub fn service_log(&self, name: &str, most: usize) -> Result<String, DeskError> {
        self.must_be_service(name)?;
        Ok(self.services.log_tail(name, most))
    }

    /// Starts, stops, restarts or reloads one on an admin's word.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown one; [`DeskError::Stale`]; and
    /// [`DeskError::Conflict`] when it does not do it.
    pub fn operate_service(
        &self,
        caller: &Caller,
        name: &str,
        operation: ServiceOperation,
    ) -> Result<Vec<ServiceStatus>, DeskError> {
        self.must_decide(caller)?;
        let (status, _) = self.service_details(name)?;
        // Looked at again when its turn comes; this one keeps the log short.
        status.check(self.seen.as_ref()).map_err(not_operated)?;
        let operated = |outcome| Event::ServiceOperated {
            service: name.to_owned(),
            operation,
            outcome,
        };
        // On record before it happens (invariant 8), and again with what came of it.
        let intent = ToolOutcome::Unknown(format!("a {} was asked for", operation.name()));
        self.ledger.record_host(caller.actor(), operated(intent))?;
        let result = self.services.operate(name, operation, self.seen.as_ref());
        let outcome = match &result {
            Ok(()) => ToolOutcome::Succeeded(operation.done().to_owned()),
            Err(error) => ToolOutcome::Failed(bounds::clip(error.to_string(), bounds::DETAIL)),
        };
        self.ledger.record_host(caller.actor(), operated(outcome))?;
        result.map_err(not_operated)?;
        Ok(self.services.status())
    }

    fn must_be_service(&self, name: &str) -> Result<(), DeskError> {
        if self.services.names().iter().any(|known| known == name) {
            return Ok(());
        }
        Err(DeskError::NotFound(format!("service {name:?}")))
    }
}

fn not_operated(error: ServiceError) -> DeskError {
    match error {
        ServiceError::Stale(stale) => DeskError::Stale(stale),
        ServiceError::Unknown { name, .. } => DeskError::NotFound(format!("service {name:?}")),
        failed @ ServiceError::Failed { .. } => DeskError::Conflict(failed.to_string()),
    }
}
