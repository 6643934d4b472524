//! Bundled policy module.

use selfheal_policy_sdk::{Context, Description, Guardrail, Kind, Patch, Policy, Settings, ToolCall, Verdict};

struct ShellGuard;

impl Policy for ShellGuard {
    fn describe() -> Description {
        Description {
            name: "shell-guard".into(),
            version: "1.0.0".into(),
            kind: Kind::Guardrail,
            settings_schema: "{}".into(),
            examples: vec![],
        }
    }
    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&[])?;
        Ok(Self)
    }
}

impl Guardrail for ShellGuard {
    fn judge_tool_call(&self, _context: &Context, _call: &ToolCall) -> Verdict {
        Verdict::Allow
    }
    fn judge_patch(&self, _context: &Context, _patch: &Patch) -> Verdict {
        Verdict::Allow
    }
}

selfheal_policy_sdk::export_guardrail!(ShellGuard);
