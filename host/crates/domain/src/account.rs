//! What becomes of an account once it is made: another role, another password, off and
//! on again.

use crate::user::{Account, Role, UserName};
use serde::{Deserialize, Serialize};

/// Whether anybody comes in by an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its owner does.
    #[default]
    Open,
    /// Nobody, until it is enabled again. What it holds stays.
    Disabled,
    /// Nobody any more. It holds nothing, and nobody else gets its name.
    Closed,
}

impl Standing {
    /// Whether its owner comes in.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// A change of an account, as the log has it. Each ends the sessions that its owner has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum AccountChange {
    /// It may something else.
    Role {
        /// From then on.
        role: Role,
    },
    /// Its owner logs in by this password, and no longer at a provider of identities.
    Password {
        /// Argon2id hash in PHC string format.
        password_hash: String,
    },
    /// See [`Standing::Disabled`].
    Disabled,
    /// It is open again.
    Enabled,
}

impl AccountChange {
    /// The role that somebody comes to act in by this change of `account`; none where it
    /// only takes away.
    pub fn gives(&self, account: &Account) -> Option<Role> {
        match self {
            Self::Role { role } => Some(*role),
            Self::Password { .. } | Self::Enabled => Some(account.role),
            Self::Disabled => None,
        }
    }
}

/// What an account that was tied to a provider of identities logs in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ties {
    /// The provider is there: by that and by no password.
    Hold,
    /// None is configured any more: a password takes its place.
    Gone,
}

/// Why an account stays as it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotChanged {
    /// There is none of that name.
    #[error("there is no account {0}")]
    Unknown(UserName),
    /// It is closed for good.
    #[error("the account {0} is closed for good; make another one")]
    Closed(UserName),
    /// Nobody could administer the installation any more.
    #[error("{0} is the only admin who can log in; make another one first")]
    LastAdmin(UserName),
    /// Persons and agents' hooks have accounts of different kinds.
    #[error(
        "no account of a person becomes one of an agent's hook, or the other way round; make another one"
    )]
    Kind,
    /// Hooks ask with their token and in no other way.
    #[error("{0} is an agent's hook, which has a token and no password")]
    Hook(UserName),
    /// Its owner logs in elsewhere.
    #[error("{0} logs in at the provider of identities and has no password here")]
    Tied(UserName),
}

impl Account {
    /// What `change` makes of the account `name` of `all`; none where it is so already.
    ///
    /// # Errors
    /// See [`NotChanged`].
    pub fn changed(
        all: &[Self],
        name: &UserName,
        change: &AccountChange,
        ties: Ties,
    ) -> Result<Option<Self>, NotChanged> {
        let found = all.iter().find(|account| account.name == *name);
        let before = found.ok_or_else(|| NotChanged::Unknown(name.clone()))?;
        if before.standing == Standing::Closed {
            return Err(NotChanged::Closed(name.clone()));
        }
        match change {
            AccountChange::Role { role } => {
                if (*role == Role::Hook) != (before.role == Role::Hook) {
                    return Err(NotChanged::Kind);
                }
            }
            AccountChange::Password { .. } => {
                if before.role == Role::Hook {
                    return Err(NotChanged::Hook(name.clone()));
                }
                if before.subject.is_some() && ties == Ties::Hold {
                    return Err(NotChanged::Tied(name.clone()));
                }
            }
            AccountChange::Disabled | AccountChange::Enabled => {}
        }
        let mut after = before.clone();
        after.change(change);
        if before.is_only_admin(all) && !after.is_admin() {
            return Err(NotChanged::LastAdmin(name.clone()));
        }
        Ok((after != *before).then_some(after))
    }

    /// Carries a recorded change out.
    pub fn change(&mut self, change: &AccountChange) {
        match change {
            AccountChange::Role { role } => self.role = *role,
            AccountChange::Password { password_hash } => {
                self.password_hash = Some(password_hash.clone());
                self.subject = None;
            }
            AccountChange::Disabled => self.standing = Standing::Disabled,
            AccountChange::Enabled => self.standing = Standing::Open,
        }
    }

    /// An admin who can log in.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin && self.is_open()
    }

    /// Whether nobody else of `all` is an admin who can log in.
    pub fn is_only_admin(&self, all: &[Self]) -> bool {
        let other = |account: &&Self| account.name != self.name && account.is_admin();
        self.is_admin() && !all.iter().any(|account| other(&account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> UserName {
        UserName::new(name).expect("a name")
    }

    fn account(text: &str, role: Role) -> Account {
        Account {
            name: name(text),
            role,
            token_digest: Some("ab".repeat(32)),
            password_hash: None,
            tokens: Vec::new(),
            subject: None,
            standing: Standing::Open,
        }
    }

    fn password() -> AccountChange {
        AccountChange::Password {
            password_hash: "$argon2id$".to_owned(),
        }
    }

    fn role(role: Role) -> AccountChange {
        AccountChange::Role { role }
    }

    #[test]
    fn the_last_admin_stays_one_who_can_log_in() {
        let disabled = Account {
            standing: Standing::Disabled,
            ..account("old", Role::Admin)
        };
        let mut all = vec![account("ann", Role::Admin), disabled];
        let ann = name("ann");
        for change in [AccountChange::Disabled, role(Role::User)] {
            assert_eq!(
                Account::changed(&all, &ann, &change, Ties::Hold),
                Err(NotChanged::LastAdmin(ann.clone())),
                "somebody who is disabled administers nothing"
            );
        }
        all.push(account("bob", Role::Admin));
        for change in [AccountChange::Disabled, role(Role::User)] {
            let after = Account::changed(&all, &ann, &change, Ties::Hold);
            assert!(!after.expect("changed").expect("another").is_admin());
        }
    }

    #[test]
    fn a_change_is_made_once_and_of_accounts_that_are_there() {
        let closed = Account {
            standing: Standing::Closed,
            ..account("old", Role::Guest)
        };
        let all = [account("ann", Role::User), closed];
        let change = |who: &str, change| Account::changed(&all, &name(who), &change, Ties::Hold);
        assert_eq!(change("ann", role(Role::User)), Ok(None));
        assert_eq!(change("ann", AccountChange::Enabled), Ok(None));
        let disabled = change("ann", AccountChange::Disabled);
        assert!(!disabled.expect("changed").expect("another").is_open());
        for again in [AccountChange::Enabled, password(), role(Role::Admin)] {
            assert_eq!(change("old", again), Err(NotChanged::Closed(name("old"))));
        }
        let nobody = NotChanged::Unknown(name("bob"));
        assert_eq!(change("bob", AccountChange::Disabled), Err(nobody));
    }

    #[test]
    fn nobody_has_a_password_beside_a_provider_and_no_hook_has_one() {
        let tied = Account {
            subject: Some("cd".repeat(32)),
            ..account("ann", Role::User)
        };
        let all = [tied, account("robot", Role::Hook)];
        let set = |who: &str, ties| Account::changed(&all, &name(who), &password(), ties);
        assert_eq!(set("ann", Ties::Hold), Err(NotChanged::Tied(name("ann"))));
        let untied = set("ann", Ties::Gone).expect("changed").expect("another");
        assert!(untied.subject.is_none() && untied.password_hash.is_some());
        assert_eq!(
            set("robot", Ties::Gone),
            Err(NotChanged::Hook(name("robot")))
        );
        for (who, other) in [("robot", Role::Admin), ("ann", Role::Hook)] {
            let changed = Account::changed(&all, &name(who), &role(other), Ties::Hold);
            assert_eq!(changed, Err(NotChanged::Kind));
        }
    }
}
