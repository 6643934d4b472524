//! Closed sets of values, for `openapi.json` only: on the wire the domain's own types
//! are written. A test holds both together.

use utoipa::ToSchema;

macro_rules! schema_enum {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        #[allow(dead_code, reason = "exists for its schema only")]
        pub(crate) enum $name { $(#[schema(rename = $text)] $value),* }

        #[cfg(test)]
        impl $name {
            pub(crate) const VALUES: &'static [&'static str] = &[$($text),*];
        }
    };
}

schema_enum!(
    /// State of an issue.
    IssueStatus {
        Open = "OPEN", Approved = "APPROVED", Rejected = "REJECTED", Diagnosing = "DIAGNOSING",
        Diagnosed = "DIAGNOSED", PatchPending = "PATCH_PENDING", Patching = "PATCHING",
        Verifying = "VERIFYING", Resolved = "RESOLVED", Failed = "FAILED",
        Escalated = "ESCALATED", Aborted = "ABORTED",
    }
);
schema_enum!(
    /// Where a change of the policies came from.
    ChangeSource { Start = "start", File = "file", Api = "api", Return = "return" }
);
schema_enum!(
    /// What becomes of a module's answers.
    ModuleState {
        Enforcing = "enforcing", Shadow = "shadow", Off = "off", Quarantined = "quarantined",
    }
);
schema_enum!(
    /// How far a candidate is trusted with traffic.
    Rollout { Full = "full", Shadow = "shadow", Canary = "canary" }
);
schema_enum!(
    /// The step that another attempt begins with: the search for the cause, the draft with
    /// the diagnosis kept, or the proof with the patch kept too.
    RetryFrom { Diagnose = "diagnose", Draft = "draft", Prove = "prove" }
);
schema_enum!(
    /// Whether anybody comes in by an account: `disabled` until it is enabled again, `closed`
    /// for good.
    Standing { Open = "open", Disabled = "disabled", Closed = "closed" }
);
schema_enum!(
    /// How bad it is.
    Severity { Critical = "CRITICAL", High = "HIGH", Medium = "MEDIUM", Low = "LOW" }
);
schema_enum!(
    /// How soon it should be done.
    Priority { P0 = "P0", P1 = "P1", P2 = "P2", P3 = "P3" }
);
schema_enum!(
    /// Where a report came from.
    Source {
        Web = "web", Skill = "skill", Api = "api", Ci = "ci", Error = "error",
        Pattern = "pattern", Cli = "cli",
    }
);
schema_enum!(
    /// Kind of trouble.
    Category {
        Scalability = "scalability", Reliability = "reliability", Auditability = "auditability",
        Governance = "governance", Performance = "performance", Bug = "bug",
    }
);
schema_enum!(
    /// In which capacity a comment was written.
    CommentRole { User = "USER", Admin = "ADMIN", Agent = "AGENT", System = "SYSTEM" }
);
schema_enum!(
    /// Outcome of a verification.
    VerificationResult { Pass = "PASS", Fail = "FAIL", Inconclusive = "INCONCLUSIVE" }
);
schema_enum!(
    /// Band of the risk score.
    RiskLevel { Low = "LOW", Medium = "MEDIUM", High = "HIGH", Critical = "CRITICAL" }
);
schema_enum!(
    /// How a run stands.
    RunStatus {
        Active = "ACTIVE", Observed = "OBSERVED", Succeeded = "SUCCEEDED", Failed = "FAILED",
        Escalated = "ESCALATED", Aborted = "ABORTED", Rejected = "REJECTED",
        Interrupted = "INTERRUPTED",
    }
);
schema_enum!(
    /// What somebody may do.
    Role { Guest = "guest", Hook = "hook", User = "user", Auditor = "auditor", Admin = "admin" }
);
schema_enum!(
    /// What a token may be used for: reading; reporting and commenting; deciding about issues
    /// and patches; services, autonomy and freeze; policies; accounts and tokens; an agent's
    /// questions.
    Scope {
        Read = "read", Report = "report", Triage = "triage", Operate = "operate",
        Policies = "policies", Accounts = "accounts", Hook = "hook",
    }
);
schema_enum!(
    /// A guardrail's answer.
    VerdictName { Allow = "allow", Ask = "ask", Deny = "deny" }
);

#[cfg(test)]
mod tests {
    use selfheal_domain as domain;
    use selfheal_domain::verdict::{Reason, Verdict};
    use serde::de::DeserializeOwned;

    fn spelt<T: DeserializeOwned>(values: &[&str]) {
        for value in values {
            let json = serde_json::Value::String((*value).to_owned());
            assert!(serde_json::from_value::<T>(json).is_ok(), "{value}");
        }
        let error = serde_json::from_value::<T>("nonsense".into())
            .err()
            .unwrap()
            .to_string();
        assert_eq!(error.matches('`').count() / 2 - 1, values.len(), "{error}");
    }

    #[test]
    fn every_value_is_one_of_the_domain_and_none_is_missing() {
        spelt::<domain::state::IssueStatus>(super::IssueStatus::VALUES);
        spelt::<domain::issue::Severity>(super::Severity::VALUES);
        spelt::<domain::issue::Priority>(super::Priority::VALUES);
        spelt::<domain::issue::Source>(super::Source::VALUES);
        spelt::<domain::issue::Category>(super::Category::VALUES);
        spelt::<domain::issue::CommentRole>(super::CommentRole::VALUES);
        spelt::<domain::verification::VerificationResult>(super::VerificationResult::VALUES);
        spelt::<domain::risk::RiskLevel>(super::RiskLevel::VALUES);
        spelt::<domain::run::RunStatus>(super::RunStatus::VALUES);
        spelt::<domain::run::RetryFrom>(super::RetryFrom::VALUES);
        spelt::<domain::user::Role>(super::Role::VALUES);
        spelt::<domain::account::Standing>(super::Standing::VALUES);
        spelt::<domain::token::Scope>(super::Scope::VALUES);
        spelt::<domain::policy_control::ChangeSource>(super::ChangeSource::VALUES);
        spelt::<domain::policy_control::ModuleState>(super::ModuleState::VALUES);
        assert_eq!(super::Rollout::VALUES, ["full", "shadow", "canary"]);
        for (verdict, name) in [
            (Verdict::Allow, "allow"),
            (Verdict::Ask(Reason::new("r", "m")), "ask"),
            (Verdict::Deny(Reason::new("r", "m")), "deny"),
        ] {
            assert_eq!(serde_json::to_value(verdict).unwrap()["verdict"], name);
            assert!(super::VerdictName::VALUES.contains(&name));
        }
    }
}
