//! People whom others vouch for: a trusted proxy, or a provider of identities.

use crate::handlers::accounts::MAKING;
use crate::problem::Problem;
use crate::state::Shared;
use selfheal_domain::account::Standing;
use selfheal_domain::event::Event;
use selfheal_domain::sign_in::Identified;
use selfheal_domain::user::{Account, Actor, Role, UserName};
use std::sync::PoisonError;

/// The account of somebody whom a trusted proxy names. One that is there is taken as it
/// is: no header changes what anybody may do.
pub(crate) fn named_by_proxy(
    shared: &Shared,
    name: &UserName,
    newcomers: Option<Role>,
) -> Result<Account, Problem> {
    let known = |shared: &Shared| {
        let accounts = shared.accounts()?;
        let found = accounts.iter().find(|account| account.name == *name);
        Ok::<_, Problem>(found.cloned())
    };
    if let Some(account) = known(shared)? {
        return admitted(account);
    }
    let role = newcomers.ok_or_else(|| unknown(name))?;
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match known(shared)? {
        Some(account) => admitted(account),
        None => make(shared, fresh(name, role, None)),
    }
}

/// The account of somebody whom a provider of identities vouches for. It belongs to the
/// first subject that came with its name, an admin's or auditor's only to one that the
/// operators listed, and has no password from then on; its role follows the provider's claims only
/// where they decide about roles, and never out of being closed.
pub(crate) fn identified(
    shared: &Shared,
    person: &Identified,
    newcomers: Option<Role>,
) -> Result<Account, Problem> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let accounts = shared.accounts()?;
    let Some(known) = accounts.iter().find(|account| account.name == person.name) else {
        let role = newcomers.ok_or_else(|| unknown(&person.name))?;
        let role = person.role.unwrap_or(role);
        let subject = Some(person.subject.clone());
        return make(shared, fresh(&person.name, role, subject));
    };
    let mut account = admitted(known.clone())?;
    match &account.subject {
        Some(subject) if *subject != person.subject => {
            return Err(Problem::unauthenticated(format!(
                "the account {} belongs to somebody else at the provider",
                person.name
            )));
        }
        Some(_) => {}
        // At many providers people choose what they are called.
        None if !person.listed && matches!(account.role, Role::Admin | Role::Auditor) => {
            return Err(Problem::unauthenticated(format!(
                "{} is an {} here already; [server.oidc.users] ties such an account to a person \
                 of the provider",
                person.name, account.role
            )));
        }
        None => {
            account.subject = Some(person.subject.clone());
            account.password_hash = None;
        }
    }
    if let Some(role) = person.role.filter(|_| account.role != Role::Guest) {
        account.role = role;
    }
    if account == *known {
        return Ok(account);
    }
    let account = make(shared, account)?;
    shared.sessions.close_all(&account.name);
    Ok(account)
}

/// Whether somebody whom a provider vouches for has an account here that is disabled: told
/// to nobody else.
pub(crate) fn is_disabled(shared: &Shared, person: &Identified) -> bool {
    let theirs = |account: &Account| account.subject.as_deref() == Some(person.subject.as_str());
    let disabled = |account: &Account| account.standing == Standing::Disabled;
    let accounts = shared.accounts();
    accounts.is_ok_and(|all| (all.iter()).any(|account| theirs(account) && disabled(account)))
}

/// Hooks ask with their token and in no other way.
fn admitted(account: Account) -> Result<Account, Problem> {
    if !account.standing.is_open() {
        let why = format!("the account {} is not open", account.name);
        return Err(Problem::unauthenticated(why));
    }
    match account.role {
        Role::Hook => Err(unknown(&account.name)),
        Role::Guest | Role::User | Role::Auditor | Role::Admin => Ok(account),
    }
}

fn unknown(name: &UserName) -> Problem {
    Problem::unauthenticated(format!("{name} has no account here; an admin can make one"))
}

fn fresh(name: &UserName, role: Role, subject: Option<String>) -> Account {
    Account {
        name: name.clone(),
        role,
        token_digest: None,
        password_hash: None,
        tokens: Vec::new(),
        subject,
        standing: Standing::Open,
    }
}

fn make(shared: &Shared, account: Account) -> Result<Account, Problem> {
    let event = Event::UserSaved(account.clone());
    shared.desk.record_account(Actor::Host, event)?;
    Ok(account)
}
