//! Break-glass: rules that an admin set aside for a while. Every generation reads
//! the same list at each decision; the clock decides, so that a grant ends even when
//! nobody takes it off the list.

use arc_swap::ArcSwapOption;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::policy::PolicyContext;
use selfheal_domain::policy_control::Grant;
use selfheal_domain::ports::Clock;
use std::sync::Arc;

/// The grants of a host; empty costs one atomic read.
#[derive(Default)]
pub(crate) struct Grants {
    list: ArcSwapOption<Listed>,
}

struct Listed {
    clock: Arc<dyn Clock>,
    grants: Vec<Grant>,
}

impl Grants {
    /// Replaces the list.
    pub(crate) fn put(&self, grants: Vec<Grant>, clock: &Arc<dyn Clock>) {
        let listed = (!grants.is_empty()).then(|| {
            Arc::new(Listed {
                clock: Arc::clone(clock),
                grants,
            })
        });
        self.list.store(listed);
    }

    /// Rules that count as allowed in `context`; none in nearly all cases.
    pub(crate) fn in_force(&self, context: &PolicyContext) -> Option<Vec<String>> {
        let listed = self.list.load();
        let listed = listed.as_ref()?;
        let now = listed.clock.now();
        let issue = context.run.map(|run| run.issue);
        let rules: Vec<String> = listed
            .grants
            .iter()
            .filter(|grant| grant.until > now && concerns(grant, issue))
            .map(|grant| grant.rule.clone())
            .collect();
        (!rules.is_empty()).then_some(rules)
    }
}

/// Whether the grant holds in this issue.
pub(crate) fn concerns(grant: &Grant, issue: Option<IssueNumber>) -> bool {
    grant.issue.is_none() || grant.issue == issue
}
