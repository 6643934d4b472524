//! What a guardrail says to do instead is itself allowed, by the whole bundled chain
//! as a new installation has it: an agent that does as it is told gets on.
//!
//! An alternative to a call is one shell command; its facts are made as the broker
//! makes them. An alternative in a patch is one line of code, to stand where the
//! evidence stands. Advice in words belongs into the message.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_agent::{FactPreview, PreviewConfig};
use selfheal_domain::policy::{AgentPhase, ModuleKind, PatchFacts, PolicyContext, ToolCallFacts};
use selfheal_domain::tools::{ToolRequest, WorkspaceAccess};
use selfheal_domain::verdict::{Reason, Verdict};
use selfheal_policy_host::{
    Capabilities, CodeCache, DEFAULT_POLICY_TOML, ExampleQuestion, Limits, PolicyEngine, RunAs,
    SingleModule,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use support::{config, context, patch, policies_dir};

/// Files that commands of the corpora and alternatives are about. Those below
/// `path/to` are the agent's own; the others are known to git.
const FILES: [&str; 11] = [
    "CANARY/f",
    "PROT",
    "SECRET",
    "repo/f",
    "repo/.git/HEAD",
    "path/to/file",
    "path/to/script",
    "path/to/script.sh",
    "path/to/script.py",
    "path/to/script.js",
    "tests/test_app.py",
];

/// The bundled guardrails: those of the default `policy.toml` with its settings, and
/// the others as they come.
struct Chain {
    /// Judge everything.
    inside: Vec<SingleModule>,
    /// Only suggest.
    beside: Vec<SingleModule>,
}

impl Chain {
    fn load() -> Self {
        let directory = policies_dir();
        let engine = PolicyEngine::new().unwrap();
        let standard = config(DEFAULT_POLICY_TOML);
        let (mut inside, mut beside) = (Vec::new(), Vec::new());
        let listed = std::fs::read_dir(&directory).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; run `cargo xtask build-policies` first",
                directory.display()
            )
        });
        for entry in listed {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "wasm") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = standard.modules.iter().find(|module| module.name == name);
            let run_as =
                run_as(module.map_or("{}".to_owned(), |module| module.settings.to_string()));
            let bytes = std::fs::read(&path).unwrap();
            let loaded = SingleModule::load(&engine, &CodeCache::none(), &bytes, run_as);
            let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
            match (loaded.kind(), module) {
                (ModuleKind::Guardrail, Some(_)) => inside.push(loaded),
                (ModuleKind::Guardrail, None) => beside.push(loaded),
                (ModuleKind::Risk | ModuleKind::Autonomy, _) => {}
            }
        }
        assert!(inside.len() >= 3, "{} bundled guardrails", inside.len());
        Self { inside, beside }
    }

    fn call(&self, context: &PolicyContext, call: &ToolCallFacts) -> Vec<Reason> {
        let ask = |module: &SingleModule| module.judge_tool_call(context, call).unwrap();
        self.inside
            .iter()
            .filter_map(|module| stopped(ask(module)))
            .collect()
    }

    fn patch(&self, context: &PolicyContext, patch: &PatchFacts) -> Vec<Reason> {
        let ask = |module: &SingleModule| module.judge_patch(context, patch).unwrap();
        self.inside
            .iter()
            .filter_map(|module| stopped(ask(module)))
            .collect()
    }
}

fn run_as(settings: String) -> RunAs {
    RunAs {
        name: "alternatives".to_owned(),
        settings,
        limits: Limits::DEFAULT,
        capabilities: Capabilities::NONE,
    }
}

fn stopped(verdict: Verdict) -> Option<Reason> {
    verdict.reason().cloned()
}

/// What was suggested, with one place where it was.
#[derive(Default)]
struct Suggestions {
    commands: BTreeMap<String, String>,
    /// By the path of the file and the line.
    lines: BTreeMap<(String, String), String>,
}

impl Suggestions {
    fn of_call(&mut self, reasons: Vec<Reason>, origin: &str) {
        for reason in reasons {
            let Some(command) = reason.alternative else {
                continue;
            };
            let origin = format!("{} at {origin}", reason.rule);
            self.commands.entry(command).or_insert(origin);
        }
    }

    fn of_patch(&mut self, reasons: Vec<Reason>, patch: &PatchFacts, origin: &str) {
        for reason in reasons {
            let Some(line) = reason.alternative else {
                continue;
            };
            let evidence = reason.evidence.map_or_else(String::new, |part| part.text);
            let holds = |text: &String| text.contains(evidence.trim());
            let file = patch
                .files
                .iter()
                .find(|file| file.added.iter().any(holds))
                .or(patch.files.first());
            let path = file.map_or("a.py".to_owned(), |file| file.path.clone());
            let origin = format!("{} at {origin}", reason.rule);
            self.lines.entry((path, line)).or_insert(origin);
        }
    }
}

fn bash(preview: &FactPreview, command: &str) -> ToolCallFacts {
    preview.facts(&ToolRequest::Bash {
        command: command.to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(60),
        access: WorkspaceAccess::Keep,
    })
}

#[test]
fn every_alternative_is_itself_allowed() {
    let home = tempfile::tempdir().unwrap();
    for name in FILES {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x\n").unwrap();
    }
    let preview = FactPreview::new(PreviewConfig {
        root: home.path().to_owned(),
        environment_variables: BTreeMap::from([(
            "PATH".to_owned(),
            "/usr/local/bin:/usr/bin:/bin".to_owned(),
        )]),
        secret_paths: vec!["SECRET".to_owned()],
        protected_paths: vec!["PROT".to_owned()],
        tracked: FILES
            .iter()
            .filter(|name| !name.starts_with("path/to/"))
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>(),
    })
    .unwrap();
    let chain = Chain::load();
    let mut suggestions = Suggestions::default();

    // What modules promise of themselves, under the settings of each promise, and what
    // the others say to it.
    for module in chain.inside.iter().chain(&chain.beside) {
        let mut configured: BTreeMap<String, SingleModule> = BTreeMap::new();
        for example in module.examples().unwrap() {
            let settings = example.settings.unwrap_or_else(|| "{}".to_owned());
            let own = configured
                .entry(settings.clone())
                .or_insert_with(|| module.again(run_as(settings)).unwrap());
            match &example.question {
                ExampleQuestion::ToolCall(call) => {
                    let mut reasons = chain.call(&example.context, call);
                    reasons.extend(stopped(
                        own.judge_tool_call(&example.context, call).unwrap(),
                    ));
                    suggestions.of_call(reasons, &example.name);
                }
                ExampleQuestion::Patch(patch) => {
                    let mut reasons = chain.patch(&example.context, patch);
                    reasons.extend(stopped(own.judge_patch(&example.context, patch).unwrap()));
                    suggestions.of_patch(reasons, patch, &example.name);
                }
                ExampleQuestion::Assessed(..) | ExampleQuestion::Issue(_) => {}
            }
        }
    }
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/corpora");
    for corpus in ["shell-bypass.jsonl", "shell-twins.jsonl"] {
        for line in std::fs::read_to_string(corpora.join(corpus))
            .unwrap()
            .lines()
        {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let command = entry["cmd"].as_str().unwrap();
            let reasons = chain.call(&context(), &bash(&preview, command));
            suggestions.of_call(reasons, command);
        }
    }

    let mut wrong = Vec::new();
    for (command, origin) in &suggestions.commands {
        for phase in [AgentPhase::Diagnosis, AgentPhase::Drafting] {
            let mut context = context();
            context.phase = phase;
            for reason in chain.call(&context, &bash(&preview, command)) {
                wrong.push(format!(
                    "`{command}` ({origin}): {} says {}",
                    reason.rule, reason.message
                ));
            }
        }
    }
    for ((path, line), origin) in &suggestions.lines {
        for reason in chain.patch(&context(), &patch(path, "x", line)) {
            wrong.push(format!(
                "{line:?} in {path} ({origin}): {} says {}",
                reason.rule, reason.message
            ));
        }
        if reads_as_words(line) {
            wrong.push(format!("{line:?} ({origin}) is advice, not code"));
        }
    }
    let seen = (suggestions.commands.len(), suggestions.lines.len());
    assert!(wrong.is_empty(), "of {seen:?}:\n{}", wrong.join("\n"));
    assert!(seen.0 >= 15, "only {seen:?} alternatives were suggested");
}

/// Four small words in a row, with nothing but blanks or commas between them.
fn reads_as_words(line: &str) -> bool {
    let plain = |word: &&str| word.chars().all(|c| c.is_lowercase());
    let words: Vec<&str> = line
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(4).any(|row| row.iter().all(plain))
}
