//! The policies of the running host, as the desk shows them and lets admins change
//! them.

use super::{Caller, DeskError, IssueDesk, required};
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::ModuleIdentity;
use selfheal_domain::policy_control::{
    EnforcementStatus, PolicyControl, PolicyRefusal, PolicyStatus,
};

impl IssueDesk {
    /// Active policy modules with the set's generation and digest.
    pub fn policies(&self) -> (u64, Digest, Vec<ModuleIdentity>) {
        let set = self.policies.current();
        (set.generation(), set.digest(), set.modules())
    }

    /// What changes the policies of this host, to read from.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] when this host's policies are fixed.
    pub fn policy_control(&self) -> Result<&dyn PolicyControl, DeskError> {
        self.control.as_deref().ok_or_else(|| {
            DeskError::Conflict("the policies of this host cannot be changed while it runs".into())
        })
    }

    /// The same for an admin's word.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn policy_decision(&self, caller: &Caller) -> Result<&dyn PolicyControl, DeskError> {
        self.must_decide(caller)?;
        self.policy_control()
    }

    /// Changes the policies on an admin's word, for a `reason` where the change wants one:
    /// as they were seen, where the caller says how they were.
    ///
    /// # Errors
    /// See [`DeskError`]. What the policies refuse is inside, and that they are not as seen.
    pub fn change_policies<T>(
        &self,
        caller: &Caller,
        reason: Option<&str>,
        act: impl FnOnce(&dyn PolicyControl) -> Result<T, PolicyRefusal>,
    ) -> Result<Result<T, PolicyRefusal>, DeskError> {
        if let Some(reason) = reason {
            required("reason", reason)?;
        }
        let control = self.policy_decision(caller)?;
        let Some(seen) = &self.seen else {
            return Ok(act(control));
        };
        let (mut act, mut outcome) = (Some(act), None);
        let checked = control.while_seen(seen, &mut || {
            outcome = act.take().map(|act| act(control));
        });
        Ok(checked.and_then(|()| {
            let none = || PolicyRefusal::Unavailable("nothing was done".to_owned());
            outcome.unwrap_or_else(|| Err(none()))
        }))
    }

    /// How the policies stand, with the proof of enforcement.
    ///
    /// # Errors
    /// See [`IssueDesk::policy_control`].
    pub fn policy_status(&self) -> Result<PolicyStatus, DeskError> {
        Ok(PolicyStatus {
            enforcement: self.enforcement(),
            ..self.policy_control()?.status()
        })
    }

    /// The latest proof of enforcement.
    pub fn enforcement(&self) -> EnforcementStatus {
        let latest = self.warden.as_ref().map(|warden| warden.latest());
        latest.unwrap_or_default()
    }
}
