//! The switches of the desk: autonomy, freeze, services.

use super::{AutonomyView, Caller, DeskError, Freeze, IssueDesk, required};
use crate::bounds;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::ports::ServiceStatus;
use selfheal_domain::report::FieldError;
use selfheal_domain::risk::AutonomyLevel;

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
    /// [`DeskError::Invalid`] above the ceiling.
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
        self.ledger
            .record_host(caller.actor(), Event::AutonomyChanged { level, reason })?;
        self.autonomy()
    }

    /// Stops all healing, or lets it go on.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn set_frozen(
        &self,
        caller: &Caller,
        frozen: Freeze,
        reason: &str,
    ) -> Result<AutonomyView, DeskError> {
        self.must_decide(caller)?;
        let reason = required("reason", reason)?;
        let frozen = frozen == Freeze::On;
        if frozen {
            self.healer.set_frozen_by(caller.actor(), reason)?;
        } else {
            // Whoever lifts a freeze does so over enforcement that holds.
            if let Some(warden) = &self.warden {
                warden.clear().map_err(DeskError::Conflict)?;
            }
            self.ledger
                .record_host(caller.actor(), Event::FreezeChanged { frozen, reason })?;
            self.healer.set_alarm(false);
            self.healer.resume()?;
        }
        self.autonomy()
    }

    /// The application's services.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.services.status()
    }

    /// Restarts one on an admin's word.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown one; [`DeskError::Conflict`] when it
    /// does not come up.
    pub fn restart_service(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Vec<ServiceStatus>, DeskError> {
        self.must_decide(caller)?;
        if !self.services.names().iter().any(|known| known == name) {
            return Err(DeskError::NotFound(format!("service {name:?}")));
        }
        // On record before it happens (invariant 8), and again with what came of it.
        self.ledger.record_host(
            caller.actor(),
            Event::ServiceOperated {
                service: name.to_owned(),
                outcome: ToolOutcome::Unknown("a restart was asked for".to_owned()),
            },
        )?;
        let result = self.services.restart(name);
        let outcome = match &result {
            Ok(()) => ToolOutcome::Succeeded("restarted and ready".to_owned()),
            Err(error) => ToolOutcome::Failed(bounds::clip(error.to_string(), bounds::DETAIL)),
        };
        self.ledger.record_host(
            caller.actor(),
            Event::ServiceOperated {
                service: name.to_owned(),
                outcome,
            },
        )?;
        result.map_err(|error| DeskError::Conflict(error.to_string()))?;
        Ok(self.services.status())
    }
}
