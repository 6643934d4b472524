//! Guardrail whose rules an admin writes as text, in Rego, in `policy.toml`:
//! nothing is compiled, and a change is swapped like any other setting.
//!
//! ```toml
//! [[module]]
//! name = "team-rules"
//! kind = "guardrail"
//! source = "bundled:rules"
//! [module.settings]
//! rules = '''
//! package rules
//!
//! deny contains {"id": "team.no-push", "message": "only people push"} if {
//!     some command in input.call.commands
//!     command.name == "git"
//!     "push" in command.words
//! }
//! '''
//! ```
//!
//! # Why Rego, by `regorus`
//!
//! Both candidates were built for this target and tried.
//!
//! - *What can be said.* The facts are lists: commands with words, files with lines.
//!   Rego asks "some command whose name is git and whose words have push". Cedar has
//!   sets of values and no quantifier, so each such rule would need a fact made for it
//!   in advance, by us.
//! - *Size.* The engines alone, built for this target: 1.1 MiB against 2.5 MiB, and
//!   about a tenth of the time to build. With fast patterns, the SDK and the examples
//!   this module has 2.2 MiB.
//! - *Imports.* Neither needs any: without its `std` feature `regorus` has no clock,
//!   no randomness and no network; with none of them a question has one answer.
//! - *Messages.* Both give line, column and the line itself.
//!
//! Rules are parsed and their patterns compiled in `configure`; the host keeps what an
//! instance looks like after that, so that no question pays for it.
//!
//! The interpreter and not the bytecode machine: it passes OPA's conformance suite,
//! names line and column at run time too and is 0.3 MiB smaller; the machine answers
//! a third sooner on a call with thirty commands (93 against 58 µs natively).
//!
//! # What makes it fit for a gate
//!
//! - Rego swallows errors: a call that fails is undefined, and the rule does not fire.
//!   Here evaluation is strict, and a rule that cannot be evaluated denies (`rules.error`),
//!   naming the rule.
//! - In Rego a misspelt name is undefined too. `names` follows facts through the text
//!   and refuses what does not exist, with line, column and the names that do.
//! - An answer that is none (no id, an unknown key, not a text) denies.
//! - Rules, at most 64 KiB, are parsed, their names and patterns checked and a plain call and
//!   patch asked before they go into force. The host's deadline and memory bound the rest.

mod facts;
mod names;
mod outcome;
mod rule_set;

use rule_set::RuleSet;
use selfheal_policy_sdk::{
    AccessMode, Context, Description, Example, Expectation, Guardrail, Kind, PastCall, Patch,
    Policy, Question, Settings, ToolCall, Trust, Verdict, example_with, facts as sample,
};
use serde_json::json;

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["rules"],
  "properties": {
    "rules": {"type": "string", "maxLength": 65536, "description": "Rego, `package rules`, with `deny contains {…} if {…}` and `ask contains {…} if {…}`"},
    "data": {"type": "object", "description": "Lists, limits and switches that the rules read as `data.…`"}
  }
}"#;

/// Calls of the run that rules may look back at.
#[cfg(target_arch = "wasm32")]
const HISTORY: u32 = 64;

/// The rules in force.
pub struct Rules(RuleSet);

impl Policy for Rules {
    fn describe() -> Description {
        Description {
            name: "rules".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Guardrail,
            settings_schema: SCHEMA.into(),
            examples: examples(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&["rules", "data"])?;
        let rules = settings.text("rules")?.ok_or(
            "setting `rules` is missing: a text with `package rules` and `deny contains {\"id\": …, \"message\": …} if { … }`",
        )?;
        let set = RuleSet::new(rules, settings.value("data"))?;
        // Asked once, so that what fails at the first question fails now, and so that
        // nothing is left to prepare when an agent waits.
        for input in plain_questions() {
            set.try_judge(input)?;
        }
        Ok(Self(set))
    }
}

impl Guardrail for Rules {
    fn judge_tool_call(&self, context: &Context, call: &ToolCall) -> Verdict {
        let history = self.history();
        self.0
            .judge(facts::of_call(context, call, history.as_deref()))
    }

    fn judge_patch(&self, context: &Context, patch: &Patch) -> Verdict {
        let history = self.history();
        self.0
            .judge(facts::of_patch(context, patch, history.as_deref()))
    }
}

impl Rules {
    /// The run's latest calls, when a rule looks at them.
    fn history(&self) -> Option<Vec<PastCall>> {
        self.0.uses_history().then(past_calls)
    }
}

#[cfg(target_arch = "wasm32")]
fn past_calls() -> Vec<PastCall> {
    selfheal_policy_sdk::host::run_history(HISTORY)
}

/// There is no run outside of the host.
#[cfg(not(target_arch = "wasm32"))]
fn past_calls() -> Vec<PastCall> {
    Vec::new()
}

/// A call and a patch that every installation sees.
fn plain_questions() -> [regorus::Value; 2] {
    let context = sample::context();
    let mut call = sample::bash_call("pytest -q");
    call.paths = sample::access_call("Bash", "src/a.py", AccessMode::Read).paths;
    let patch = sample::patch_of(vec![sample::file("src/a.py", &["x = 1"], &["x = 2"])]);
    [
        facts::of_call(&context, &call, Some(&[])),
        facts::of_patch(&context, &patch, Some(&[])),
    ]
}

/// The worked examples of this module's documentation, each with what it is about
/// and what it leaves alone.
fn examples() -> Vec<Example> {
    use Expectation::{Allow, Ask, Deny};
    let mut all = Vec::new();
    let mut add = |rules: &str,
                   data: serde_json::Value,
                   cases: Vec<(&str, Context, Question, Expectation)>| {
        let settings = json!({"rules": rules, "data": data}).to_string();
        for (name, context, question, expect) in cases {
            all.push(example_with(&settings, name, context, question, expect));
        }
    };
    let plain = sample::context;
    let stranger = || Context {
        trust: Trust::External,
        ..sample::context()
    };
    let diagnosis = || Context {
        phase: selfheal_policy_sdk::Phase::Diagnosis,
        ..sample::context()
    };
    let service = |name: &str| Context {
        service: Some(name.into()),
        ..sample::context()
    };
    let edit = |path: &str| sample::access("Edit", path, AccessMode::Write);
    let patch = |path: &str| sample::patch(vec![sample::file(path, &["x"], &["y"])]);
    let talks = |host: &str| {
        let mut call = sample::bash_call("fetch");
        call.network.push(host.into());
        Question::ToolCall(call)
    };
    let owned = || {
        let mut file = sample::file("src/tax.py", &["x"], &["y"]);
        file.owners.push("@finance".into());
        sample::patch(vec![file])
    };

    add(
        include_str!("../examples/no-push.rego"),
        json!({}),
        vec![
            (
                "no pushes",
                plain(),
                sample::bash("git push origin main"),
                Deny,
            ),
            (
                "not by another path either",
                plain(),
                sample::bash("cd x && /usr/bin/git -C . push"),
                Deny,
            ),
            (
                "other git commands",
                plain(),
                sample::bash("git status --short"),
                Allow,
            ),
        ],
    );
    add(
        include_str!("../examples/no-new-dependencies.rego"),
        json!({}),
        vec![
            (
                "no installation",
                plain(),
                sample::bash("pip install leftpad"),
                Deny,
            ),
            ("a manifest asks", plain(), patch("web/package.json"), Ask),
            ("other files do not", plain(), patch("src/a.py"), Allow),
        ],
    );
    add(
        include_str!("../examples/strangers-stay-in-src.rego"),
        json!({}),
        vec![
            ("strangers in src", stranger(), edit("src/a.py"), Allow),
            ("strangers elsewhere", stranger(), edit("deploy/a.py"), Deny),
            ("strangers outside", stranger(), edit("/etc/motd"), Deny),
            ("members elsewhere", plain(), edit("deploy/a.py"), Allow),
            ("a stranger's patch", stranger(), patch("deploy/a.py"), Deny),
        ],
    );
    let lines = vec!["x"; 60];
    add(
        include_str!("../examples/large-patches-ask.rego"),
        json!({"most_lines": 100}),
        vec![
            (
                "a large patch",
                plain(),
                sample::patch(vec![sample::file("a.py", &lines, &lines)]),
                Ask,
            ),
            ("a small patch", plain(), patch("a.py"), Allow),
            ("a call", plain(), sample::bash("ls"), Allow),
        ],
    );
    add(
        include_str!("../examples/network-by-list.rego"),
        json!({"hosts": ["pypi.org"]}),
        vec![
            ("a host of the list", plain(), talks("pypi.org"), Allow),
            ("another host", plain(), talks("example.org"), Deny),
        ],
    );
    add(
        include_str!("../examples/migrations.rego"),
        json!({}),
        vec![
            (
                "a migration",
                plain(),
                edit("shop/migrations/0001_cart.py"),
                Deny,
            ),
            (
                "reading one",
                plain(),
                sample::access("Read", "shop/migrations/0001_cart.py", AccessMode::Read),
                Allow,
            ),
            ("a patch of one", plain(), patch("migrations/2.sql"), Deny),
            ("another file", plain(), edit("shop/cart.py"), Allow),
        ],
    );
    add(
        include_str!("../examples/per-phase.rego"),
        json!({}),
        vec![
            (
                "building while diagnosing",
                diagnosis(),
                sample::bash("make all"),
                Deny,
            ),
            ("writing while diagnosing", diagnosis(), edit("a.py"), Deny),
            (
                "building while drafting",
                plain(),
                sample::bash("make all"),
                Allow,
            ),
        ],
    );
    add(
        include_str!("../examples/per-service.rego"),
        json!({"frozen": ["checkout"], "careful": ["billing"], "streak": 5}),
        vec![
            ("a frozen service", service("checkout"), patch("a.py"), Deny),
            ("a careful one", service("billing"), patch("a.py"), Ask),
            ("any other", service("search"), patch("a.py"), Allow),
            ("no service", plain(), patch("a.py"), Allow),
        ],
    );
    add(
        include_str!("../examples/owners.rego"),
        json!({"ask_owners": ["@finance"]}),
        vec![
            ("a file with such an owner", plain(), owned(), Ask),
            ("a file without", plain(), patch("a.py"), Allow),
        ],
    );
    add(
        include_str!("../examples/cloud-and-keys.rego"),
        json!({}),
        vec![
            (
                "a cloud tool",
                plain(),
                sample::bash("kubectl get pods"),
                Deny,
            ),
            (
                "a key",
                plain(),
                sample::bash("echo AKIAIOSFODNN7EXAMPLE"),
                Deny,
            ),
            ("tests", plain(), sample::bash("pytest -q"), Allow),
        ],
    );
    all
}

selfheal_policy_sdk::export_guardrail!(Rules);

#[cfg(test)]
mod tests;
