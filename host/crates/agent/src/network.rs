//! Which destinations a judged command may reach: those that `policy.toml` lists and
//! the judged facts name. The verdict allowed the call with these facts, so both said
//! yes; a destination that only one of them knows stays out of reach.

use crate::workbench::Bench;
use selfheal_domain::policy::ToolCallFacts;
use selfheal_domain::tools::ToolError;
use selfheal_sandbox::Grant;

impl Bench {
    /// Ways out for a call that was allowed with these facts.
    pub(crate) fn grants(&self, facts: &ToolCallFacts) -> Result<Vec<Grant>, ToolError> {
        let reach = self.reach();
        let granted = reach
            .network
            .iter()
            .map(String::as_str)
            .filter(|destination| facts.network.iter().any(|named| names(named, destination)));
        Grant::for_destinations(granted).map_err(|error| ToolError::Unavailable(error.to_string()))
    }
}

/// `named`, a host with or without a port, means this `host:port`.
fn names(named: &str, destination: &str) -> bool {
    let named = named.to_ascii_lowercase();
    let destination = destination.to_ascii_lowercase();
    named == destination
        || destination
            .rsplit_once(':')
            .is_some_and(|(host, _)| host == named)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_destination_is_meant_by_its_host() {
        for (named, destination, expected) in [
            ("example.org", "example.org:443", true),
            ("Example.org", "example.ORG:443", true),
            ("example.org:443", "example.org:443", true),
            ("example.org:80", "example.org:443", false),
            ("evil-example.org", "example.org:443", false),
            ("example.org.evil", "example.org:443", false),
            ("unknown", "example.org:443", false),
        ] {
            assert_eq!(names(named, destination), expected, "{named} {destination}");
        }
    }
}
