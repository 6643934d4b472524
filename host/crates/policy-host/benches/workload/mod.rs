//! What is asked when latency is measured, in the words of the host and, for the
//! native floor, in the words of the policies themselves: the same rules, compiled
//! for this machine, without any isolation.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each program uses its part; a measurement may stop at a surprise"
)]

use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{
    AccessMode, AgentPhase, ChangeKind, Environment, PatchFacts, PatchFileFacts, PathAccess,
    PolicyContext, RunCounters, SimpleCommand, ToolCallFacts, TrackRecord, Word,
};
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::TrustClass;
use selfheal_policy_host::{BundledModules, PolicyConfig};
use selfheal_policy_patch_guard::PatchGuard;
use selfheal_policy_path_guard::PathGuard;
use selfheal_policy_sdk::{self as sdk, Guardrail, Policy, Settings, facts};
use selfheal_policy_shell_guard::ShellGuard;
use std::borrow::Cow;
use std::path::Path;

/// The bundled guardrails, in the order of the default configuration.
pub const GUARDRAILS: [&str; 3] = ["shell-guard", "path-guard", "patch-guard"];

/// A call of the `Bash` tool of just over 1 KiB, as an agent writes it: programs,
/// options, quotes, pipes and paths; allowed by all guardrails.
pub fn bash_text() -> String {
    let tests: Vec<String> = (0..16)
        .map(|n| format!("tests/checkout/test_cart_totals_{n:02}.py::test_discount_is_rounded"))
        .collect();
    format!(
        "cd services/cart && python3 -m pytest -q --maxfail=1 -k 'discount or total' {} | tail -40 ; \
         grep -rn 'def total' src/shop/cart.py src/shop/order.py | head -20 ; git diff --stat HEAD",
        tests.join(" ")
    )
}

/// The situation, as the host says it.
pub fn context() -> PolicyContext {
    PolicyContext {
        run: None,
        phase: AgentPhase::Drafting,
        environment: Environment::Dev,
        level: AutonomyLevel::AutoAll,
        actor: "engine:builtin".to_owned(),
        trust: TrustClass::Member,
        service: None,
        earned: TrackRecord::default(),
        counters: RunCounters::default(),
    }
}

/// The call in the policies' words.
pub fn bash() -> sdk::ToolCall {
    facts::bash_call(&bash_text())
}

/// A call of the `Edit` tool with 16 KiB of source text.
pub fn edit() -> sdk::ToolCall {
    let mut call = facts::access_call("Edit", "src/shop/cart.py", sdk::AccessMode::Write);
    let line = "    def total(self, items, discount=0.0):  # sums what the customer pays, rounded to cents\n        return round(sum(item.price * item.count for item in items) * (1.0 - discount), 2)\n";
    let text = line.repeat(16_384_usize.div_ceil(line.len()));
    let input = serde_json::json!({"path": "src/shop/cart.py", "old": "return 0", "new": text});
    call.input = input.to_string();
    call.bytes = text.len() as u64;
    call
}

fn word(word: &sdk::Word) -> Word {
    Word {
        text: word.text.clone(),
        certain: word.certain,
    }
}

/// The same facts in the host's words.
pub fn in_host_words(call: &sdk::ToolCall) -> ToolCallFacts {
    let command = |command: &sdk::SimpleCommand| SimpleCommand {
        program: word(&command.program),
        resolved: command.resolved.clone(),
        arguments: command.arguments.iter().map(word).collect(),
        certain: command.certain,
    };
    let path = |access: &sdk::PathAccess| PathAccess {
        path: access.path.clone(),
        relative: access.relative.clone(),
        mode: match access.mode {
            sdk::AccessMode::Read => AccessMode::Read,
            sdk::AccessMode::Write => AccessMode::Write,
            sdk::AccessMode::Create => AccessMode::Create,
            sdk::AccessMode::Delete => AccessMode::Delete,
        },
        certain: access.certain,
        tracked: access.tracked,
        protected: access.protected,
        link: access.link.clone(),
    };
    ToolCallFacts {
        tool: call.tool.clone(),
        input: call.input.clone(),
        commands: call.commands.iter().map(command).collect(),
        parsed: call.parsed,
        paths: call.paths.iter().map(path).collect(),
        network: call.network.clone(),
        bytes: call.bytes,
    }
}

/// A patch of two files with 16 KiB of diff, in the policies' words.
pub fn patch() -> sdk::Patch {
    let lines: Vec<String> = (0..74)
        .map(|n| format!("    total_{n:02} = sum(item.price * item.count for item in items) * (1.0 - discount)"))
        .collect();
    let before: Vec<&str> = lines.iter().map(String::as_str).collect();
    let after: Vec<String> = lines
        .iter()
        .map(|line| line.replace("1.0 - discount", "1.0 - rebate(x)"))
        .collect();
    let after: Vec<&str> = after.iter().map(String::as_str).collect();
    let half = before.len() / 2;
    facts::patch_of(vec![
        facts::file("src/shop/cart.py", &before[..half], &after[..half]),
        facts::file("src/shop/order.py", &before[half..], &after[half..]),
    ])
}

/// The same patch in the host's words.
pub fn patch_in_host_words(patch: &sdk::Patch) -> PatchFacts {
    let file = |file: &sdk::PatchFile| PatchFileFacts {
        path: file.path.clone(),
        change: ChangeKind::Modified,
        added: file.added.clone(),
        removed: file.removed.clone(),
        test: file.test,
        protected: file.protected,
        dependents: file.dependents,
        owners: file.owners.clone(),
        earlier_heals: file.earlier_heals,
        earlier_rollbacks: file.earlier_rollbacks,
    };
    PatchFacts {
        digest: Digest::of(patch.diff.as_bytes()),
        diff: patch.diff.clone(),
        files: patch.files.iter().map(file).collect(),
        claimed_confidence: patch.claimed_confidence,
        reproduction_proved: patch.reproduction_proved,
        rivals: patch.rivals,
        severity: patch.severity.clone(),
    }
}

/// The bundled guardrails as native code, configured once.
pub struct Native {
    shell: ShellGuard,
    path: PathGuard,
    patch: PatchGuard,
    context: sdk::Context,
}

impl Native {
    /// With default settings.
    pub fn new() -> Self {
        let none = Settings::default();
        Self {
            shell: ShellGuard::configure(&none).unwrap(),
            path: PathGuard::configure(&none).unwrap(),
            patch: PatchGuard::configure(&none).unwrap(),
            context: facts::context(),
        }
    }

    /// The shell guard alone.
    pub fn shell(&self, call: &sdk::ToolCall) -> sdk::Verdict {
        self.shell.judge_tool_call(&self.context, call)
    }

    /// What the patch guard says to a finished patch.
    pub fn finished(&self, patch: &sdk::Patch) -> sdk::Verdict {
        self.patch.judge_patch(&self.context, patch)
    }

    /// All guardrails, strictest answer.
    pub fn chain(&self, call: &sdk::ToolCall) -> sdk::Verdict {
        let path = self.path.judge_tool_call(&self.context, call);
        let patch = self.patch.judge_tool_call(&self.context, call);
        self.shell(call).stricter(path).stricter(patch)
    }
}

/// Modules as `cargo xtask build-policies` left them.
pub fn bundled() -> BundledModules {
    let built = |above: &Path| above.join("target/policies");
    let directory = std::env::var_os("SELFHEAL_POLICIES_DIR").map_or_else(
        || {
            // Included by programs of other crates, too.
            let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(built);
            above.find(|directory| directory.is_dir()).unwrap()
        },
        Into::into,
    );
    let read = |name: &str| std::fs::read(directory.join(name).with_extension("wasm")).unwrap();
    let names = [
        "shell-guard",
        "path-guard",
        "patch-guard",
        "risk-score",
        "autonomy",
    ];
    BundledModules(
        names
            .map(|name| (name.to_owned(), Cow::Owned(read(name))))
            .into(),
    )
}

/// A policy file with these bundled guardrails.
pub fn chain_of(names: &[&str]) -> PolicyConfig {
    let mut text = "environment = \"dev\"\n".to_owned();
    for name in names {
        text.push_str(&format!(
            "[[module]]\nname = \"{name}\"\nkind = \"guardrail\"\nsource = \"bundled:{name}\"\n"
        ));
    }
    PolicyConfig::parse(&text, "policy.toml", Path::new("/nowhere")).unwrap()
}
