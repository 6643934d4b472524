//! Broken glass, and modules that are trusted again.

use super::PolicyKeeper;
use crate::grants::concerns;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::policy_control::{Grant, LONGEST_GRANT_MINUTES, PolicyRefusal};
use selfheal_domain::user::Actor;
use selfheal_domain::verdict::Judgement;

impl PolicyKeeper {
    pub(super) fn granted(
        &self,
        rule: &str,
        issue: Option<IssueNumber>,
        minutes: u32,
        by: &Actor,
        reason: &str,
    ) -> Result<Grant, PolicyRefusal> {
        let _changing = self.changing.take();
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if rule.is_empty() || rule.len() > 64 || !rule.chars().all(shape) {
            return Err(PolicyRefusal::Unusable(format!(
                "a rule id is 1 to 64 of a-z, 0-9, '.', '_', '-', as in `shell.network`; got {rule:?}"
            )));
        }
        if rule.starts_with("host.") {
            return Err(PolicyRefusal::Forbidden(format!(
                "`{rule}` is a rule of the host itself; nobody can set it aside"
            )));
        }
        if !(1..=LONGEST_GRANT_MINUTES).contains(&minutes) {
            return Err(PolicyRefusal::Unusable(format!(
                "a grant lasts 1 to {LONGEST_GRANT_MINUTES} minutes, not {minutes}"
            )));
        }
        if reason.trim().is_empty() {
            return Err(PolicyRefusal::Unusable("a grant needs a reason".to_owned()));
        }
        let now = self.clock.now();
        let number = self.state().last_grant + 1;
        let grant = Grant {
            number,
            rule: rule.to_owned(),
            issue,
            reason: reason.to_owned(),
            by: by.clone(),
            at: now,
            until: now + chrono::Duration::minutes(i64::from(minutes)),
            used: 0,
        };
        self.record(by, Event::GrantGiven(grant.clone()))
            .map_err(PolicyRefusal::Unavailable)?;
        tracing::warn!(rule, minutes, %by, reason, "break-glass: a policy rule does not count");
        let mut state = self.state();
        state.last_grant = number;
        state.grants.push(grant.clone());
        self.host.grants().put(state.grants.clone(), &self.clock);
        Ok(grant)
    }

    pub(super) fn revoked(
        &self,
        number: u64,
        by: &Actor,
        reason: &str,
    ) -> Result<(), PolicyRefusal> {
        let _changing = self.changing.take();
        let now = self.clock.now();
        let known = {
            let state = self.state();
            let mut grants = state.grants.iter();
            grants.any(|grant| grant.number == number && grant.until > now)
        };
        if !known {
            return Err(PolicyRefusal::Unknown(format!("grant {number} in force")));
        }
        // Ending it tightens: it ends even when that cannot be recorded.
        self.end_grant(number);
        let ended = Event::GrantEnded {
            grant: number,
            reason: reason.to_owned(),
        };
        self.record(by, ended).map_err(PolicyRefusal::Unavailable)
    }

    fn end_grant(&self, number: u64) {
        let mut state = self.state();
        state.grants.retain(|grant| grant.number != number);
        self.host.grants().put(state.grants.clone(), &self.clock);
    }

    /// Takes grants off the list whose time is over; they ended by themselves.
    pub(super) fn end_old_grants(&self) {
        let now = self.clock.now();
        let over: Vec<(u64, u64)> = {
            let state = self.state();
            let over = state.grants.iter().filter(|grant| grant.until <= now);
            over.map(|grant| (grant.number, grant.used)).collect()
        };
        for (grant, used) in over {
            self.end_grant(grant);
            let reason = match used {
                0 => "its time is over; no decision used it".to_owned(),
                1 => "its time is over; 1 decision used it".to_owned(),
                used => format!("its time is over; {used} decisions used it"),
            };
            self.note(&Actor::Host, Event::GrantEnded { grant, reason });
        }
    }

    /// Counts the grants that a recorded decision used.
    pub(super) fn count_grants(&self, record: &Record, judgement: &Judgement) {
        if judgement.granted.is_empty() {
            return;
        }
        let mut state = self.state();
        for grant in &mut state.grants {
            if judgement.granted.contains(&grant.rule)
                && concerns(grant, record.issue)
                && grant.until > record.at
            {
                grant.used += 1;
            }
        }
    }

    pub(super) fn released(
        &self,
        module: &str,
        by: &Actor,
        reason: &str,
    ) -> Result<(), PolicyRefusal> {
        let _changing = self.changing.take();
        let active = self.host.active();
        let mut loaded = active.core.modules.iter().zip(&active.live.standings);
        let (_, standing) = loaded
            .find(|(loaded, _)| loaded.identity.name == module)
            .ok_or_else(|| PolicyRefusal::Unknown(format!("module `{module}` in force")))?;
        if standing.confined().is_none() {
            return Err(PolicyRefusal::Conflict(format!(
                "module `{module}` is not in quarantine"
            )));
        }
        let event = Event::QuarantineChanged {
            module: module.to_owned(),
            quarantined: false,
            reason: reason.to_owned(),
        };
        self.record(by, event).map_err(PolicyRefusal::Unavailable)?;
        standing.release();
        self.state().quarantined.remove(module);
        Ok(())
    }

    /// Records quarantines that decisions brought about.
    pub(super) fn note_quarantines(&self) {
        let active = self.host.active();
        for (loaded, standing) in active.core.modules.iter().zip(&active.live.standings) {
            let module = loaded.identity.name.clone();
            match standing.confined() {
                Some(cause) => {
                    if self.state().quarantined.insert(module.clone()) {
                        tracing::error!(
                            module,
                            cause,
                            "a policy module is in quarantine: everything it would judge is denied"
                        );
                        let event = Event::QuarantineChanged {
                            module,
                            quarantined: true,
                            reason: cause,
                        };
                        self.note(&Actor::Host, event);
                    }
                }
                // Other bytes or settings: a new chance.
                None => {
                    if self.state().quarantined.remove(&module) {
                        let event = Event::QuarantineChanged {
                            module,
                            quarantined: false,
                            reason: "it is another module now, or has other settings".to_owned(),
                        };
                        self.note(&Actor::Host, event);
                    }
                }
            }
        }
    }
}
