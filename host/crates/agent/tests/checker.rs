//! Calls of agents that run on their own: judged by the same facts and policies, on
//! record before the answer, and held to the host's own lines, because nothing else
//! holds them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

use chrono::{DateTime, Utc};
use selfheal_agent::{Checker, CheckerConfig, SandboxWorkbench, WorkbenchConfig};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolDecision, ToolOutcome};
use selfheal_domain::external::{ExternalAgent, ExternalCall, ExternalChecker, Situation};
use selfheal_domain::policy::{
    AgentPhase, IssueFacts, ModuleIdentity, PatchFacts, PolicyContext, PolicyHost, PolicySet,
    ToolCallFacts, TrackRecord,
};
use selfheal_domain::ports::{CallRecorder, Clock, IdSource, RecordRefused};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Judgement, Reason, Verdict};
use selfheal_sandbox::Sandbox;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl IdSource for Counting {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

/// Answers every question the same way and remembers what it was asked.
struct Fixed {
    verdict: Mutex<Verdict>,
    seen: Mutex<Vec<(PolicyContext, ToolCallFacts)>>,
}

struct Policies(Arc<Fixed>);

impl PolicyHost for Policies {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(Generation(Arc::clone(&self.0)))
    }
}

struct Generation(Arc<Fixed>);

impl PolicySet for Generation {
    fn generation(&self) -> u64 {
        7
    }
    fn digest(&self) -> Digest {
        Digest::of(b"test")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, context: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        let seen = (context.clone(), call.clone());
        self.0.seen.lock().expect("lock").push(seen);
        Judgement {
            verdict: self.0.verdict.lock().expect("lock").clone(),
            answers: Vec::new(),
            generation: 7,
            granted: Vec::new(),
            asked: None,
        }
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        unreachable!("calls only")
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        unreachable!("calls only")
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        unreachable!("calls only")
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        unreachable!("calls only")
    }
}

#[derive(Default)]
struct Memory {
    events: Mutex<Vec<(Actor, Event)>>,
    refuses: AtomicBool,
}

impl CallRecorder for Memory {
    fn record(&self, actor: &Actor, event: Event) -> Result<(), RecordRefused> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(RecordRefused("the disk is full".to_owned()));
        }
        let kept = (actor.clone(), event);
        self.events.lock().expect("lock").push(kept);
        Ok(())
    }
    fn progress(&self, _: &str) {}
}

/// A repository, another directory, the host's data, and a checker over them.
struct World {
    _top: tempfile::TempDir,
    base: PathBuf,
    policies: Arc<Fixed>,
    recorder: Arc<Memory>,
    checker: Checker,
}

impl World {
    fn new() -> Self {
        Self::with(&CheckerConfig::default())
    }

    fn with(config: &CheckerConfig) -> Self {
        let top = tempfile::tempdir().expect("temporary directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in ["app/src", "app/.git", "data", "other"] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        for (path, text) in [
            ("app/src/a.py", "value = 1\n"),
            ("app/.env", "API_KEY=x\n"),
            ("data/control.sock", ""),
            ("other/b.py", "x\n"),
        ] {
            fs::write(base.join(path), text).expect("file");
        }
        std::os::unix::fs::symlink(base.join("data"), base.join("app/src/way")).expect("link");
        let policies = Arc::new(Fixed {
            verdict: Mutex::new(Verdict::Allow),
            seen: Mutex::default(),
        });
        let bench = WorkbenchConfig {
            tracked: Arc::new(|path| path.starts_with("src/")),
            ..WorkbenchConfig::narrow(base.join("app"), &base.join("data"))
        };
        let workbench = SandboxWorkbench::new(
            bench,
            Arc::new(Policies(Arc::clone(&policies))),
            Sandbox::new(),
            Arc::new(Counting::default()),
            Arc::new(Still),
        )
        .expect("workbench");
        let mut config = config.clone();
        for directory in &mut config.directories {
            *directory = base.join(&*directory);
        }
        Self {
            checker: workbench.checker(&config).expect("checker"),
            _top: top,
            base,
            policies,
            recorder: Arc::default(),
        }
    }

    fn situation(&self) -> Situation {
        Situation {
            level: AutonomyLevel::default(),
            stopped: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.recorder) as Arc<dyn CallRecorder>,
        }
    }

    fn call(&self, tool: &str, input: Value) -> ExternalCall {
        ExternalCall {
            agent: ExternalAgent::ClaudeCode,
            session: "s-1".to_owned(),
            call: Some("toolu_1".to_owned()),
            tool: tool.to_owned(),
            input: self.placed(input),
            directory: self.base.join("app"),
        }
    }

    /// With `@` at the start of texts standing for the directory of this world.
    fn placed(&self, mut value: Value) -> Value {
        match &mut value {
            Value::String(text) => {
                *text = text.replace('@', &self.base.to_string_lossy());
            }
            Value::Array(items) => {
                for item in items {
                    *item = self.placed(item.take());
                }
            }
            Value::Object(fields) => {
                for (_, field) in fields.iter_mut() {
                    *field = self.placed(field.take());
                }
            }
            _ => {}
        }
        value
    }

    fn check(&self, tool: &str, input: Value) -> Verdict {
        let call = self.call(tool, input);
        self.checker.check(&call, &self.situation())
    }

    fn decisions(&self) -> Vec<ToolDecision> {
        let events = self.recorder.events.lock().expect("lock");
        let calls = events.iter().filter_map(|(_, event)| match event {
            Event::ToolCalled(decision) => Some(decision.clone()),
            _ => None,
        });
        calls.collect()
    }

    fn outcomes(&self) -> Vec<ToolOutcome> {
        let events = self.recorder.events.lock().expect("lock");
        let ends = events.iter().filter_map(|(_, event)| match event {
            Event::ToolFinished { outcome, .. } => Some(outcome.clone()),
            _ => None,
        });
        ends.collect()
    }

    fn facts(&self) -> ToolCallFacts {
        let seen = self.policies.seen.lock().expect("lock");
        seen.last().expect("the policies were asked").1.clone()
    }
}

/// `allow`, or the rule that asks or denies.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Ask(reason) => format!("ask {}", reason.rule),
        Verdict::Deny(reason) => format!("deny {}", reason.rule),
    }
}

#[test]
fn what_is_asked_is_judged_and_on_record_before_the_answer() {
    let world = World::new();
    let verdict = world.check("Bash", json!({"command": "echo hi > src/new.txt"}));
    assert_eq!(verdict, Verdict::Allow);
    let decisions = world.decisions();
    assert_eq!(decisions.len(), 1);
    let decision = &decisions[0];
    assert_eq!(decision.phase, AgentPhase::Drafting);
    assert_eq!(decision.facts.tool, "Bash");
    assert!(decision.facts.input.contains("echo hi > src/new.txt"));
    assert_eq!(decision.facts.commands[0].program.text, "echo");
    assert_eq!(
        decision.facts.paths[0].relative.as_deref(),
        Some("src/new.txt")
    );
    let origin = decision.external.as_ref().expect("origin");
    assert_eq!(origin.session, "s-1");
    assert_eq!(origin.agent, ExternalAgent::ClaudeCode);
    assert_eq!(origin.answer, Verdict::Allow);
    let (context, _) = world.policies.seen.lock().expect("lock")[0].clone();
    assert_eq!(context.actor, "external:claude-code");
    assert_eq!(context.trust, TrustClass::Machine);
    assert_eq!(context.counters.tool_calls, 1);
    let actor = world.recorder.events.lock().expect("lock")[0].0.clone();
    assert_eq!(actor, Actor::Agent("external:claude-code".to_owned()));
}

#[test]
fn what_cannot_be_recorded_is_denied() {
    let world = World::new();
    world.recorder.refuses.store(true, Ordering::SeqCst);
    let verdict = world.check("Read", json!({"file_path": "@/app/src/a.py"}));
    assert_eq!(told(&verdict), "deny host.no-record");
    assert!(
        verdict
            .reason()
            .expect("reason")
            .message
            .contains("the disk is full")
    );
}

#[test]
fn what_policies_say_is_told_and_the_stricter_counts() {
    let world = World::new();
    let set = |verdict: Verdict| *world.policies.verdict.lock().expect("lock") = verdict;
    let read = json!({"file_path": "@/app/src/a.py"});
    set(Verdict::Ask(Reason::new("a.b", "why")));
    assert_eq!(told(&world.check("Read", read.clone())), "ask a.b");
    set(Verdict::Deny(Reason::new("a.c", "no")));
    assert_eq!(told(&world.check("Read", read)), "deny a.c");
    // A denial is its own outcome; a question waits for what the person says.
    let denied = ToolOutcome::Failed("denied by a.c: no".to_owned());
    assert_eq!(world.outcomes(), [denied]);
    // The host's own line is not loosened by an ask.
    set(Verdict::Ask(Reason::new("a.b", "why")));
    let settings = json!({"file_path": "@/app/.claude/settings.json", "content": "{}"});
    assert_eq!(
        told(&world.check("Write", settings)),
        "deny host.agent-settings"
    );
}

#[test]
fn while_the_host_stands_still_everything_is_denied() {
    let world = World::new();
    let call = world.call("Read", json!({"file_path": "@/app/src/a.py"}));
    let situation = Situation {
        stopped: Some("frozen".to_owned()),
        ..world.situation()
    };
    assert_eq!(
        told(&world.checker.check(&call, &situation)),
        "deny host.stopped"
    );
    assert_eq!(world.decisions().len(), 1, "and still on record");
}

#[test]
fn only_the_configured_places_are_worked_in() {
    let world = World::with(&CheckerConfig {
        directories: vec![PathBuf::from("other")],
        tools: Vec::new(),
    });
    for (directory, expected) in [
        ("app", "allow"),
        ("app/src", "allow"),
        ("other", "allow"),
        ("data", "deny host.hook-workspace"),
        // A link that leads to the host's own data.
        ("app/src/way", "deny host.hook-workspace"),
        ("", "deny host.hook-workspace"),
        ("nowhere", "deny host.hook-workspace"),
    ] {
        let mut call = world.call("Read", json!({"file_path": "@/app/src/a.py"}));
        call.directory = world.base.join(directory);
        let verdict = world.checker.check(&call, &world.situation());
        assert_eq!(told(&verdict), expected, "{directory}");
    }
    let mut call = world.call("Read", json!({"file_path": "a.py"}));
    call.directory = PathBuf::from("app");
    let verdict = world.checker.check(&call, &world.situation());
    assert_eq!(told(&verdict), "deny host.hook-workspace");
    assert_eq!(world.decisions().len(), 8, "each is on record");
    // Files of one place, seen from the other, are outside of it.
    let mut call = world.call(
        "Write",
        json!({"file_path": "@/app/src/a.py", "content": "x"}),
    );
    call.directory = world.base.join("other");
    let verdict = world.checker.check(&call, &world.situation());
    assert_eq!(told(&verdict), "ask host.outside");
}

#[test]
#[rustfmt::skip]
fn nothing_contains_it_so_the_host_itself_holds_these_lines() {
    let world = World::new();
    for (tool, input, expected) in [
        // Ordinary work.
        ("Bash", json!({"command": "git status --short && ls src"}), "allow"),
        ("Bash", json!({"command": "python3 -m pytest -q 2>/dev/null"}), "allow"),
        ("Bash", json!({"command": "echo x > /tmp/scratch-file"}), "allow"),
        ("Read", json!({"file_path": "@/app/src/a.py"}), "allow"),
        ("Edit", json!({"file_path": "@/app/src/a.py", "old_string": "1", "new_string": "2"}), "allow"),
        ("MultiEdit", json!({"file_path": "src/a.py", "edits": [{"old_string": "1", "new_string": "2"}]}), "allow"),
        ("Write", json!({"file_path": "@/app/src/c.py", "content": "x"}), "allow"),
        ("NotebookEdit", json!({"notebook_path": "@/app/n.ipynb", "new_source": "x"}), "allow"),
        ("Grep", json!({"pattern": "x", "path": "@/app/src"}), "allow"),
        ("Glob", json!({"pattern": "**/*.py"}), "allow"),
        ("Agent", json!({"description": "d", "prompt": "p"}), "allow"),
        ("TodoWrite", json!({"todos": []}), "allow"),
        // What it may not read or write, whatever it is called.
        ("Read", json!({"file_path": "@/app/.env"}), "deny host.secret"),
        ("Bash", json!({"command": "cat .env"}), "deny host.secret"),
        ("Grep", json!({"pattern": "KEY", "path": "@/app/.env"}), "deny host.secret"),
        ("Grep", json!({"pattern": "KEY", "glob": ".env"}), "deny host.secret"),
        ("Read", json!({"file_path": "@/data/control.sock"}), "deny host.private"),
        ("Read", json!({"file_path": "@/app/src/way/control.sock"}), "deny host.private"),
        ("Bash", json!({"command": "curl --unix-socket @/data/control.sock x; rm @/data/control.sock"}), "deny host.private"),
        ("Glob", json!({"pattern": "@/data/*"}), "deny host.private"),
        ("Write", json!({"file_path": "@/app/.git/hooks/post-checkout", "content": "x"}), "deny host.protected"),
        ("Write", json!({"file_path": "@/app/policy.toml", "content": "x"}), "deny host.protected"),
        ("Write", json!({"file_path": "@/app/.claude/settings.local.json", "content": "{}"}), "deny host.agent-settings"),
        ("Bash", json!({"command": "echo '{\"disableAllHooks\":true}' > .claude/settings.json"}), "deny host.agent-settings"),
        ("Bash", json!({"command": "rm -f .GEMINI/settings.json"}), "deny host.agent-settings"),
        ("Edit", json!({"file_path": "/home/me/.codex/hooks.json", "old_string": "a", "new_string": "b"}), "deny host.agent-settings"),
        // What a person has to want.
        ("Write", json!({"file_path": "/opt/x", "content": "x"}), "ask host.outside"),
        ("Write", json!({"file_path": "~/x", "content": "x"}), "ask host.needs-person"),
        ("Bash", json!({"command": "echo x > \"$(cat src/a.py)\""}), "ask host.uncontained"),
        ("Bash", json!({"command": "ls", "dangerouslyDisableSandbox": true}), "ask host.needs-person"),
        ("Bash", json!({"command": "if then fi ((("}), "ask host.not-understood"),
        ("WebFetch", json!({"url": "https://example.org/?q=secret", "prompt": "p"}), "ask host.needs-person"),
        ("WebSearch", json!({"query": "x"}), "ask host.needs-person"),
        ("Skill", json!({"skill": "x"}), "ask host.needs-person"),
        // What nobody understands.
        ("mcp__web__confirm", json!({"what": "restart"}), "deny host.unknown-tool"),
        ("BrandNew", json!({}), "deny host.unknown-tool"),
        ("Bash", json!({"command": 7}), "deny host.unknown-tool"),
        ("Bash", json!("ls"), "deny host.unknown-tool"),
        ("Read", json!({}), "deny host.unknown-tool"),
        ("Write", json!({"file_path": "@/app/x"}), "deny host.unknown-tool"),
        ("WebFetch", json!({"url": "file:///etc/passwd"}), "deny host.unknown-tool"),
        // The host is operated by people.
        ("Bash", json!({"command": "selfheal issue list"}), "allow"),
        ("Bash", json!({"command": "selfheal heal -- pytest"}), "allow"),
        ("Bash", json!({"command": "selfheal heal --apply -- pytest"}), "deny host.own-command"),
        ("Bash", json!({"command": "cd src && env X=1 /usr/local/bin/selfheal policy rollback"}), "deny host.own-command"),
        ("Bash", json!({"command": "selfheal hook uninstall --agent claude-code"}), "deny host.own-command"),
        ("Bash", json!({"command": "selfheal $(echo issue) approve 1"}), "deny host.own-command"),
    ] {
        assert_eq!(told(&world.check(tool, input.clone())), expected, "{tool} {input}");
    }
}

#[test]
#[rustfmt::skip]
fn other_agents_tools_are_ours_under_other_names() {
    let world = World::new();
    let patch = "*** Begin Patch\n*** Update File: src/a.py\n@@\n-1\n+2\n*** End Patch\n".replace("@@", "@ @");
    let steals = "*** Begin Patch\n*** Update File: src/a.py\n*** Move to: .git/hooks/x\n*** End Patch\n";
    for (agent, tool, input, ours, expected) in [
        (ExternalAgent::Codex, "Bash", json!({"command": "ls"}), "Bash", "allow"),
        (ExternalAgent::Codex, "shell", json!({"command": ["bash", "-lc", "cat .env"]}), "Bash", "deny host.secret"),
        (ExternalAgent::Codex, "shell", json!({"command": ["rm", "a b"], "workdir": "src"}), "Bash", "allow"),
        (ExternalAgent::Codex, "apply_patch", json!({"command": patch}), "MultiEdit", "allow"),
        (ExternalAgent::Codex, "apply_patch", json!({"command": steals}), "MultiEdit", "deny host.protected"),
        (ExternalAgent::Codex, "apply_patch", json!({"command": "nothing"}), "apply_patch", "deny host.unknown-tool"),
        (ExternalAgent::Codex, "update_plan", json!({"plan": []}), "update_plan", "allow"),
        (ExternalAgent::Codex, "Agent", json!({"prompt": "p"}), "Agent", "deny host.unknown-tool"),
        (ExternalAgent::Gemini, "run_shell_command", json!({"command": "touch gm-ok"}), "Bash", "allow"),
        (ExternalAgent::Gemini, "run_shell_command", json!({"command": "rm .env", "dir_path": "@/app"}), "Bash", "deny host.secret"),
        (ExternalAgent::Gemini, "read_file", json!({"file_path": "src/a.py"}), "Read", "allow"),
        (ExternalAgent::Gemini, "read_many_files", json!({"include": ["src/*.py", ".env"]}), "Read", "deny host.secret"),
        (ExternalAgent::Gemini, "write_file", json!({"file_path": "@/app/n", "content": "x"}), "Write", "allow"),
        (ExternalAgent::Gemini, "replace", json!({"file_path": "@/app/src/a.py", "old_string": "a", "new_string": "b"}), "Edit", "allow"),
        (ExternalAgent::Gemini, "list_directory", json!({"dir_path": "@/data"}), "Glob", "deny host.private"),
        (ExternalAgent::Gemini, "web_fetch", json!({"prompt": "https://example.org"}), "web_fetch", "ask host.needs-person"),
    ] {
        let mut call = world.call(tool, input.clone());
        call.agent = agent;
        let verdict = world.checker.check(&call, &world.situation());
        assert_eq!(told(&verdict), expected, "{agent} {tool} {input}");
        assert_eq!(world.facts().tool, ours, "{agent} {tool}");
    }
}

#[test]
fn tools_that_are_listed_are_for_the_policies_alone() {
    let world = World::with(&CheckerConfig {
        directories: Vec::new(),
        tools: vec!["mcp__github__get_*".to_owned()],
    });
    let input = json!({"issue": 1, "apiToken": "abc", "text": "x"});
    let listed = world.check("mcp__github__get_issue", input.clone());
    assert_eq!(listed, Verdict::Allow);
    let facts = world.facts();
    assert!(!facts.parsed && facts.input.contains("\"issue\":1"));
    assert!(!facts.input.contains("abc"), "{}", facts.input);
    let other = world.check("mcp__github__delete_repo", input.clone());
    assert_eq!(told(&other), "deny host.unknown-tool");
    let no = Verdict::Deny(Reason::new("a.b", "no"));
    *world.policies.verdict.lock().expect("lock") = no;
    assert_eq!(
        told(&world.check("mcp__github__get_issue", input)),
        "deny a.b"
    );
}

#[test]
fn what_came_of_it_is_recorded_with_its_decision() {
    let world = World::new();
    let call = world.call("Bash", json!({"command": "ls"}));
    assert_eq!(
        world.checker.check(&call, &world.situation()),
        Verdict::Allow
    );
    let done = ToolOutcome::Succeeded("answered 5 bytes".to_owned());
    world
        .checker
        .finished(&call, done.clone(), &world.situation());
    assert_eq!(world.outcomes(), std::slice::from_ref(&done));
    // An agent that does not name its calls sends the input again.
    let mut unnamed = world.call("Bash", json!({"command": "pwd"}));
    unnamed.call = None;
    world.checker.check(&unnamed, &world.situation());
    world
        .checker
        .finished(&unnamed, done.clone(), &world.situation());
    assert_eq!(world.outcomes().len(), 2);
    assert_eq!(world.decisions().len(), 2);
    // One that was never asked about is on record as such.
    world.checker.finished(&call, done, &world.situation());
    assert_eq!(world.decisions().len(), 3);
    let ToolOutcome::Succeeded(text) = world.outcomes().pop().expect("outcome") else {
        panic!("{:?}", world.outcomes());
    };
    assert!(text.contains("this host was not asked before"), "{text}");
}

#[test]
fn a_session_has_counters_of_its_own() {
    let world = World::new();
    *world.policies.verdict.lock().expect("lock") = Verdict::Deny(Reason::new("a.b", "no"));
    for _ in 0..3 {
        world.check("Bash", json!({"command": "ls"}));
    }
    let mut other = world.call("Bash", json!({"command": "ls"}));
    other.session = "s-2".to_owned();
    world.checker.check(&other, &world.situation());
    let seen = world.policies.seen.lock().expect("lock");
    let counted: Vec<_> = seen
        .iter()
        .map(|(context, _)| (context.counters.tool_calls, context.counters.denied))
        .collect();
    assert_eq!(counted, [(1, 0), (2, 1), (3, 2), (1, 0)]);
}

#[test]
fn a_wrong_configuration_is_named() {
    let world = World::new();
    drop(world);
    let top = tempfile::tempdir().expect("temporary directory");
    let missing = CheckerConfig {
        directories: vec![top.path().join("missing")],
        tools: Vec::new(),
    };
    let result = std::panic::catch_unwind(|| World::with(&missing));
    assert!(result.is_err(), "a directory that is not there");
}

#[test]
fn a_secret_is_not_shown_by_a_wildcard_a_walk_or_a_name_that_is_computed() {
    let world = World::new();
    fs::write(world.base.join("app/prod.pem"), "x\n").expect("file");
    let mut wrong = Vec::new();
    for (command, shown) in [
        ("cat p*", true),
        ("cat *.p?m", true),
        ("cat .e*", true),
        ("cat {prod.pem,src/a.py}", true),
        ("cat src/../p*", true),
        ("cd src; cat ../p*", true),
        ("cat @/app/p*", true),
        ("cat < p*", true),
        ("echo \"$(< p*)\"", true),
        ("grep -r x .", true),
        ("grep -rn x", true),
        ("grep x -R", true),
        ("rg -uu x", true),
        ("tar cf - .", true),
        ("cp -r . /tmp/x", true),
        ("find . -type f -exec cat {} +", true),
        ("find . -name '*.pem' -exec cat {} +", true),
        ("find . -name 'p*' | xargs cat", true),
        ("ls | xargs cat", true),
        ("for f in *; do cat \"$f\"; done", true),
        ("ls | while read f; do cat $f; done", true),
        ("cat `echo prod.pem`", true),
        ("cat $(echo prod).pem", true),
        ("git grep --no-index x", true),
        ("gcc -E -x c p*", true),
        // Harmless twins.
        ("cat src/*.py", false),
        ("cat src/a.py", false),
        ("grep -rn x src", false),
        ("grep -n x src/a.py", false),
        ("ls *", false),
        ("cp -r src /tmp/x", false),
        ("cat *.py", false),
        ("find . -name '*.py' -exec grep x {} +", false),
        ("find . -name '*.pem'", false),
        ("rg x", false),
        ("git grep x", false),
        ("for f in src/*.py; do echo \"$f\"; done", false),
        ("pytest -q src/*.py", false),
        ("cat $HOME/.config/x.txt", false),
        ("cat \"$dir/readme.md\"", false),
    ] {
        let told = told(&world.check("Bash", json!({ "command": command })));
        let stopped = told == "ask host.secret-covered" || told.starts_with("deny host.secret");
        if stopped != shown {
            wrong.push(format!("{command}: {told}"));
        }
    }
    for (tool, input, shown) in [
        ("Grep", json!({"pattern": ".", "glob": "*"}), true),
        ("Grep", json!({"pattern": ".", "glob": "*.pem"}), true),
        ("Grep", json!({"pattern": ".", "glob": "*.py"}), false),
        ("Grep", json!({"pattern": "."}), false),
        ("Glob", json!({"pattern": "**/*"}), false),
    ] {
        let told = told(&world.check(tool, input.clone()));
        if (told == "ask host.secret-covered") != shown {
            wrong.push(format!("{tool} {input}: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_with_the_name_of_a_secret_leads_to_a_secret() {
    let world = World::new();
    fs::write(world.base.join("app/src/settings.txt"), "x\n").expect("file");
    std::os::unix::fs::symlink("src/settings.txt", world.base.join("app/.env.prod")).expect("link");
    for command in ["cat .env.prod", "cat < .env.prod", "head @/app/.env.prod"] {
        let verdict = world.check("Bash", json!({ "command": command }));
        assert_eq!(told(&verdict), "deny host.secret", "{command}");
    }
    let verdict = world.check("Read", json!({"file_path": "@/app/.env.prod"}));
    assert_eq!(told(&verdict), "deny host.secret");
}

#[test]
fn an_input_that_says_two_things_is_not_judged_by_one_of_them() {
    let world = World::new();
    for (tool, input) in [
        ("exec_command", json!({"cmd": "cat .env", "command": "ls"})),
        (
            "Write",
            json!({"file_path": "src/a.py", "path": ".env", "content": "x"}),
        ),
        (
            "shell",
            json!({"command": "ls", "workdir": "@/app", "cwd": "@/data"}),
        ),
    ] {
        let verdict = world.check(tool, input);
        assert_eq!(told(&verdict), "deny host.unknown-tool", "{tool}");
    }
    let same = json!({"command": "ls", "cmd": "ls"});
    assert_eq!(world.check("Bash", same), Verdict::Allow);
}

#[test]
fn the_hosts_own_command_gets_no_options_that_steer_it() {
    let world = World::new();
    for command in [
        "selfheal heal --agent model --config evil.toml -- ls",
        "selfheal heal --config=evil.toml -- ls",
        "selfheal heal --policy p.toml -- ls",
        "selfheal heal --audit /tmp/x -- ls",
        "selfheal heal --env GITHUB_TOKEN -- ls",
        "selfheal heal --apply -- ls",
        "selfheal issue list --url http://127.0.0.1:1",
        "selfheal user add x --role admin",
    ] {
        let verdict = world.check("Bash", json!({ "command": command }));
        assert_eq!(told(&verdict), "deny host.own-command", "{command}");
    }
    for command in [
        "selfheal heal --json -- pytest --config x",
        "selfheal issue list --json",
    ] {
        let verdict = world.check("Bash", json!({ "command": command }));
        assert_eq!(verdict, Verdict::Allow, "{command}");
    }
    let patch = "apply_patch <<'E'\n*** Begin Patch\n*** Add File: .env\n+x\n*** End Patch\nE";
    let verdict = world.check("Bash", json!({ "command": patch }));
    assert_eq!(told(&verdict), "ask host.not-understood");
}

#[test]
fn what_a_call_links_is_not_written_through_the_link() {
    let world = World::new();
    for command in [
        "ln -s .env l; echo x > l",
        "ln -s @/data d; echo x > d/y",
        "cp -s src/a.py b; echo x > b",
        "cp -l src/a.py b; echo x > b",
    ] {
        let verdict = world.check("Bash", json!({ "command": command }));
        assert_ne!(verdict, Verdict::Allow, "{command}");
    }
}
