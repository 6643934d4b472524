//! What records do to the projection, before it is in sled: of the batch that is being
//! written, and of what was acknowledged since the table was last brought up to date.

use crate::projection::{Projection, Refusal};
use crate::reader::Location;
use crate::rows::{Meta, PolicyList};
use selfheal_domain::event::{Event, NewRecord, Record};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::Issue;
use selfheal_domain::user::{Account, UserName};
use selfheal_domain::view::SavedView;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) struct StagedIssue {
    /// As the table has it.
    pub(crate) before: Option<Arc<Issue>>,
    pub(crate) after: Arc<Issue>,
    /// More changed than its version and time.
    pub(crate) body: bool,
}

/// The effect of some records, not in the table yet.
pub(crate) struct Staged {
    pub(crate) meta: Meta,
    pub(crate) issues: BTreeMap<IssueNumber, StagedIssue>,
    pub(crate) ids: HashMap<IssueId, IssueNumber>,
    pub(crate) accounts: BTreeMap<UserName, Account>,
    /// By owner and name; none where it is kept no longer.
    pub(crate) views: BTreeMap<(UserName, String), Option<SavedView>>,
    pub(crate) places: Vec<(u64, Option<IssueNumber>, Location)>,
    pub(crate) policies: Vec<(PolicyList, u64)>,
    pub(crate) decisions: Vec<(DecisionId, u64)>,
}

impl Staged {
    /// Nothing, on top of what `meta` says.
    pub(crate) fn empty(meta: Meta) -> Self {
        Self {
            meta,
            issues: BTreeMap::new(),
            ids: HashMap::new(),
            accounts: BTreeMap::new(),
            views: BTreeMap::new(),
            places: Vec::new(),
            policies: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Takes what was staged on top of this.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.meta = later.meta;
        for (number, issue) in later.issues {
            match self.issues.entry(number) {
                Entry::Occupied(mut slot) => {
                    let ours = slot.get_mut();
                    ours.after = issue.after;
                    ours.body |= issue.body;
                }
                Entry::Vacant(slot) => {
                    slot.insert(issue);
                }
            }
        }
        self.ids.extend(later.ids);
        self.accounts.extend(later.accounts);
        self.views.extend(later.views);
        self.places.extend(later.places);
        self.policies.extend(later.policies);
        self.decisions.extend(later.decisions);
    }

    /// Where the staged records end.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Records staged.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The issue, if something staged is about it.
    pub(crate) fn known(&self, number: IssueNumber) -> Option<Arc<Issue>> {
        let staged = self.issues.get(&number)?;
        Some(Arc::clone(&staged.after))
    }

    fn issue(&self, projection: &Projection, number: IssueNumber) -> Result<Arc<Issue>, Refusal> {
        if let Some(issue) = self.known(number) {
            return Ok(issue);
        }
        projection
            .issue(number)?
            .ok_or(Refusal::NoSuchIssue(number))
    }

    /// The issue after the record, or why the record must not be taken. Nothing
    /// changes yet.
    pub(crate) fn fold(
        &self,
        projection: &Projection,
        record: &NewRecord,
    ) -> Result<Option<Issue>, Refusal> {
        let number = match (record.event.kind(), record.issue) {
            (None, None) => return Ok(None),
            (Some(_), Some(number)) => number,
            (Some(_), None) if stands_alone(&record.event) => return Ok(None),
            (None, Some(_)) | (Some(_), None) => return Err(Refusal::Misplaced),
        };
        if let Event::IssueOpened {
            id, number: own, ..
        } = &record.event
        {
            let expected = self.meta.last_issue + 1;
            if *own != number {
                return Err(Refusal::Misplaced);
            }
            if number.0 != expected {
                return Err(Refusal::Number {
                    expected,
                    found: number.0,
                });
            }
            let taken = match self.ids.get(id) {
                Some(number) => Some(*number),
                None => projection.issue_number(*id)?,
            };
            if let Some(other) = taken {
                return Err(Refusal::Taken(other));
            }
            return Ok(Some(Issue::open(record)?));
        }
        Ok(Some(self.issue(projection, number)?.after(record)?))
    }

    /// Adds a record with the issue that [`Staged::fold`] made of it.
    pub(crate) fn add(
        &mut self,
        projection: &Projection,
        record: &Record,
        after: Option<Issue>,
        location: Location,
    ) -> Result<(), Refusal> {
        if let Some(after) = after {
            let number = after.number;
            let opened = matches!(record.event, Event::IssueOpened { .. });
            let body = !matches!(
                record.event,
                Event::ToolCalled(_) | Event::ToolFinished { .. }
            );
            if opened {
                self.meta.last_issue = number.0;
                self.ids.insert(after.id, number);
            }
            let after = Arc::new(after);
            match self.issues.get_mut(&number) {
                Some(staged) => {
                    staged.after = after;
                    staged.body |= body;
                }
                None => {
                    let before = if opened {
                        None
                    } else {
                        Some(self.issue(projection, number)?)
                    };
                    self.issues.insert(
                        number,
                        StagedIssue {
                            before,
                            after,
                            body,
                        },
                    );
                }
            }
        }
        match &record.event {
            // Nobody's account any more.
            Event::UserSaved(account) if account.name == UserName::erased() => {}
            Event::UserSaved(account) => {
                self.accounts.insert(account.name.clone(), account.clone());
            }
            Event::UserChanged { name, change } => {
                self.change(projection, name, |account| account.change(change))?;
            }
            Event::TokenCreated { name, token } => {
                self.change(projection, name, |account| {
                    account.tokens.push(token.clone());
                })?;
            }
            Event::TokenRevoked { name, id } => {
                self.change(projection, name, |account| account.revoke(id))?;
            }
            Event::TokenUsed { name, id } => self.change(projection, name, |account| {
                let mut tokens = account.tokens.iter_mut();
                if let Some(token) = tokens.find(|token| token.id() == id) {
                    token.last_used = Some(record.at);
                }
            })?,
            Event::ViewSaved(view) if view.owner == UserName::erased() => {}
            Event::ViewSaved(view) => {
                let key = (view.owner.clone(), view.name.clone());
                self.views.insert(key, Some(view.clone()));
            }
            Event::ViewForgotten { owner, name } => {
                self.views.insert((owner.clone(), name.clone()), None);
            }
            Event::AutonomyChanged { level, .. } => self.meta.switches.autonomy = Some(*level),
            Event::FreezeChanged { frozen, .. } => self.meta.switches.frozen = *frozen,
            _ => {}
        }
        if let Some(list) = PolicyList::of(&record.event) {
            self.policies.push((list, record.seq));
        }
        if let Event::ToolCalled(decision) = &record.event {
            self.decisions.push((decision.id, record.seq));
        }
        self.places.push((record.seq, record.issue, location));
        self.meta.applied = record.seq + 1;
        self.meta.head = record.hash;
        Ok(())
    }

    /// Changes an account, if there is one of that name.
    fn change(
        &mut self,
        projection: &Projection,
        name: &UserName,
        change: impl FnOnce(&mut Account),
    ) -> Result<(), Refusal> {
        let account = match self.accounts.remove(name) {
            Some(staged) => Some(staged),
            None => projection.account(name)?,
        };
        if let Some(mut account) = account {
            change(&mut account);
            self.accounts.insert(name.clone(), account);
        }
        Ok(())
    }
}

/// Calls of agents that run on their own are about no issue.
fn stands_alone(event: &Event) -> bool {
    match event {
        Event::ToolCalled(call) => call.external.is_some(),
        Event::ToolFinished { .. } => true,
        _ => false,
    }
}
