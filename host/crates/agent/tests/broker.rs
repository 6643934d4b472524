//! The broker over a real sandbox and real files: what policies, recorder and
//! host refuse does not happen, and what happens is on record first.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

use chrono::{DateTime, Utc};
use selfheal_agent::{
    DEFAULT_PROTECTED_PATHS, DEFAULT_SECRET_PATHS, SandboxWorkbench, WorkbenchConfig,
};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::policy::{
    Environment, IssueFacts, ModuleIdentity, PatchFacts, PolicyContext, PolicyHost, PolicySet,
    ToolCallFacts, TrackRecord,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, DraftingTools, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::tools::{
    Asset, Ended, Replacement, ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess,
};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Judgement, Reason, Verdict};
use selfheal_sandbox::{Limits, Sandbox, allowed_environment};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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

/// Answers every question the same way and remembers the facts.
struct Fixed {
    verdict: Verdict,
    seen: Mutex<Vec<ToolCallFacts>>,
    generation: AtomicU64,
}

impl Fixed {
    fn new(verdict: Verdict) -> Arc<Self> {
        Arc::new(Self {
            verdict,
            seen: Mutex::default(),
            generation: AtomicU64::new(0),
        })
    }
}

struct Policies(Arc<Fixed>);

impl PolicyHost for Policies {
    fn current(&self) -> Arc<dyn PolicySet> {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        Arc::new(Generation(Arc::clone(&self.0)))
    }
}

struct Generation(Arc<Fixed>);

impl PolicySet for Generation {
    fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::SeqCst)
    }
    fn digest(&self) -> Digest {
        Digest::of(b"test")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, _: &PolicyContext, call: &ToolCallFacts) -> Judgement {
        self.0.seen.lock().expect("lock").push(call.clone());
        Judgement {
            verdict: self.0.verdict.clone(),
            answers: Vec::new(),
            generation: self.generation(),
            granted: Vec::new(),
            asked: None,
        }
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        Judgement::merge(0, Vec::new())
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        unreachable!("the broker never assesses")
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        unreachable!("the broker never decides")
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        unreachable!("the broker never admits")
    }
}

#[derive(Default)]
struct Memory {
    events: Mutex<Vec<Event>>,
    refuses: AtomicBool,
}

impl CallRecorder for Memory {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(RecordRefused("the disk is full".to_owned()));
        }
        self.events.lock().expect("lock").push(event);
        Ok(())
    }
    fn progress(&self, _: &str) {}
}

impl Memory {
    fn names(&self) -> Vec<&'static str> {
        let name = |event: &Event| match event {
            Event::ToolCalled(_) => "called",
            Event::ToolFinished { .. } => "finished",
            _ => "other",
        };
        self.events.lock().expect("lock").iter().map(name).collect()
    }

    fn outcome(&self) -> ToolOutcome {
        match self.events.lock().expect("lock").last() {
            Some(Event::ToolFinished { outcome, .. }) => outcome.clone(),
            other => panic!("the last event is {other:?}"),
        }
    }
}

/// One repository, its data directory, and a workbench on them.
struct Bench {
    _top: tempfile::TempDir,
    base: PathBuf,
    policies: Arc<Fixed>,
    recorder: Arc<Memory>,
    cancel: CancelToken,
    workbench: SandboxWorkbench,
}

impl Bench {
    fn new() -> Self {
        Self::with(Verdict::Allow)
    }

    fn with(verdict: Verdict) -> Self {
        let top = tempfile::tempdir().expect("temporary directory");
        let base = top.path().canonicalize().expect("canonical");
        for directory in [
            "app/src",
            "app/.git/hooks",
            "data/upper",
            "data/work",
            "outside",
        ] {
            fs::create_dir_all(base.join(directory)).expect("directory");
        }
        for (path, text) in [
            ("app/src/a.py", "value = 1\nother = 2\n"),
            ("app/src/b.py", "import a\n"),
            ("app/.gitignore", "ignored/\n"),
            ("app/.env", "API_KEY=do-not-read-this\n"),
            ("app/policy.toml", "level = 0\n"),
            ("app/.git/config", "[core]\n"),
            ("data/key", "host-secret\n"),
            ("outside/secret", "outside-secret\n"),
        ] {
            fs::write(base.join(path), text).expect("file");
        }
        symlink("../../outside/secret", base.join("app/src/leak")).expect("link");
        let policies = Fixed::new(verdict);
        let own = |globs: &[&str]| globs.iter().map(ToString::to_string).collect();
        let limits = Limits {
            wall: Duration::from_secs(20),
            ..Limits::default()
        };
        let config = WorkbenchConfig {
            repository_root: base.join("app"),
            git_dir: base.join("app/.git"),
            private_dirs: vec![base.join("data")],
            secret_paths: own(DEFAULT_SECRET_PATHS),
            protected_paths: own(DEFAULT_PROTECTED_PATHS),
            environment: Environment::Local,
            environment_variables: allowed_environment(&[]),
            assets: vec![Asset {
                name: "worker/run.py".to_owned(),
                content: b"print('asset')\n".to_vec(),
            }],
            assets_dir: base.join("data/assets"),
            scratch_dir: base.join("data/scratch"),
            limits,
            tracked: Arc::new(|path| path.starts_with("src/")),
        };
        let workbench = SandboxWorkbench::new(
            config,
            Arc::new(Policies(Arc::clone(&policies))),
            Sandbox::new(),
            Arc::new(Counting::default()),
            Arc::new(Still),
        )
        .expect("workbench");
        Self {
            _top: top,
            base,
            policies,
            recorder: Arc::default(),
            cancel: CancelToken::default(),
            workbench,
        }
    }

    fn spec(&self) -> ToolSessionSpec {
        ToolSessionSpec {
            run: None,
            actor: Actor::Agent("engine:test".to_owned()),
            trust: TrustClass::Member,
            level: AutonomyLevel::default(),
            service: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.recorder) as Arc<dyn CallRecorder>,
            cancel: self.cancel.clone(),
        }
    }

    fn diagnosis(&self) -> Box<dyn Tools> {
        self.workbench.for_diagnosis(self.spec())
    }

    fn drafting(&self) -> Box<dyn DraftingTools> {
        let worktree = RunWorktree {
            upper: self.base.join("data/upper"),
            work: self.base.join("data/work"),
        };
        self.workbench.for_drafting(self.spec(), &worktree)
    }

    /// Everything in repository and worktree that must not change when denied.
    fn picture(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for top in ["app", "data/upper", "outside"] {
            picture(&self.base.join(top), &mut found);
        }
        found.sort();
        found
    }
}

fn picture(at: &Path, found: &mut Vec<(PathBuf, Option<Vec<u8>>)>) {
    for entry in fs::read_dir(at).expect("directory") {
        let entry = entry.expect("entry");
        let kind = entry.file_type().expect("type");
        let content = kind
            .is_file()
            .then(|| fs::read(entry.path()).expect("file"));
        found.push((entry.path(), content));
        if kind.is_dir() {
            picture(&entry.path(), found);
        }
    }
}

fn bash(command: &str, access: WorkspaceAccess) -> ToolRequest {
    ToolRequest::Bash {
        command: command.to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(15),
        access,
    }
}

fn read(path: &str) -> ToolRequest {
    ToolRequest::read(path)
}

fn edited(old: &str, new: &str, replace_all: bool) -> Replacement {
    Replacement {
        old: old.to_owned(),
        new: new.to_owned(),
        replace_all,
    }
}

fn write(path: &str, content: &str) -> ToolRequest {
    ToolRequest::Write {
        path: path.to_owned(),
        content: content.to_owned(),
    }
}

fn text(output: Result<ToolOutput, ToolError>) -> String {
    match output.expect("allowed") {
        ToolOutput::Text(text) => text,
        ToolOutput::Command(output) => format!("{}{}", output.stdout, output.stderr),
        ToolOutput::Written => String::new(),
    }
}

/// One of each kind, each with an effect that shows. The match makes a new kind
/// fail to compile until it is listed.
fn one_of_each() -> Vec<ToolRequest> {
    let all = vec![
        bash("echo effect > src/a.py; echo seen", WorkspaceAccess::Keep),
        bash("echo seen", WorkspaceAccess::Discard),
        bash("echo seen", WorkspaceAccess::ReadOnly),
        read("src/a.py"),
        ToolRequest::Grep {
            pattern: "value".to_owned(),
            glob: None,
        },
        ToolRequest::Glob {
            pattern: "**/*.py".to_owned(),
        },
        write("src/a.py", "effect"),
        ToolRequest::edit("src/a.py", "value = 1", "effect"),
        ToolRequest::MultiEdit {
            path: "src/a.py".to_owned(),
            edits: vec![edited("value = 1", "effect", false)],
        },
        ToolRequest::Task {
            description: "look".to_owned(),
            prompt: "look at src".to_owned(),
        },
        ToolRequest::Mcp {
            server: "tickets".to_owned(),
            tool: "close".to_owned(),
            arguments: serde_json::json!({"number": 1}),
        },
    ];
    for request in &all {
        match request {
            ToolRequest::Bash { .. }
            | ToolRequest::Read { .. }
            | ToolRequest::Grep { .. }
            | ToolRequest::Glob { .. }
            | ToolRequest::Write { .. }
            | ToolRequest::Edit { .. }
            | ToolRequest::MultiEdit { .. }
            | ToolRequest::Task { .. }
            | ToolRequest::Mcp { .. } => {}
        }
    }
    all
}

#[test]
fn what_policies_deny_or_ask_has_no_effect_and_is_recorded() {
    let reason = Reason::new("test.no", "not today");
    for verdict in [Verdict::Deny(reason.clone()), Verdict::Ask(reason)] {
        let bench = Bench::with(verdict);
        let before = bench.picture();
        let tools = bench.drafting();
        let mut expected = Vec::new();
        for request in one_of_each() {
            let error = tools.call(request.clone()).expect_err("denied");
            assert!(
                matches!(&error, ToolError::Denied(reason) if reason.rule == "test.no"),
                "{request:?}: {error}"
            );
            expected.extend(["called", "finished"]);
            assert!(matches!(bench.recorder.outcome(), ToolOutcome::Failed(_)));
            if matches!(request, ToolRequest::Bash { .. }) {
                assert!(matches!(tools.session(request), Err(ToolError::Denied(_))));
                expected.extend(["called", "finished"]);
            }
        }
        assert_eq!(bench.recorder.names(), expected);
        assert_eq!(bench.picture(), before);
        assert_eq!(tools.changes().expect("readable"), []);
    }
}

#[test]
fn without_a_record_nothing_happens() {
    let bench = Bench::new();
    bench.recorder.refuses.store(true, Ordering::SeqCst);
    let before = bench.picture();
    let tools = bench.drafting();
    for request in one_of_each() {
        let error = tools.call(request.clone()).expect_err("no record");
        assert!(
            matches!(error, ToolError::Unavailable(_)),
            "{request:?}: {error}"
        );
        if matches!(request, ToolRequest::Bash { .. }) {
            assert!(matches!(
                tools.session(request),
                Err(ToolError::Unavailable(_))
            ));
        }
    }
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_cancelled_run_does_nothing_more() {
    let bench = Bench::new();
    bench.cancel.cancel();
    let before = bench.picture();
    let tools = bench.drafting();
    for request in one_of_each() {
        assert!(matches!(tools.call(request), Err(ToolError::Cancelled)));
    }
    assert_eq!(bench.picture(), before);
    assert!(tools.cancelled());
}

#[test]
fn cancelling_ends_what_runs() {
    let bench = Bench::new();
    let tools = bench.drafting();
    let request = ToolRequest::Bash {
        command: "sleep 600; echo effect > src/a.py".to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(600),
        access: WorkspaceAccess::Keep,
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| tools.call(request));
        while bench.recorder.names().is_empty() {
            std::thread::yield_now();
        }
        bench.cancel.cancel();
        assert!(matches!(
            running.join().expect("no panic"),
            Err(ToolError::Cancelled)
        ));
    });
    assert_eq!(bench.recorder.names(), ["called", "finished"]);
}

#[test]
fn the_intent_is_recorded_before_and_the_outcome_after() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let output = tools
        .call(bash(
            "echo one; echo two >&2; exit 3",
            WorkspaceAccess::Discard,
        ))
        .expect("ran");
    let ToolOutput::Command(output) = output else {
        panic!("no command output");
    };
    assert_eq!(output.ended, Ended::Exit(3));
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("one\n", "two\n")
    );
    assert_eq!(bench.recorder.names(), ["called", "finished"]);
    let ToolOutcome::Failed(outcome) = bench.recorder.outcome() else {
        panic!("exit 3 is a failure");
    };
    assert!(outcome.starts_with("exit 3 after "), "{outcome}");
    assert!(outcome.contains("two"), "{outcome}");
    assert_eq!(bench.policies.generation.load(Ordering::SeqCst), 1);
}

#[test]
fn diagnosis_leaves_nothing_behind() {
    let bench = Bench::new();
    let before = bench.picture();
    let tools = bench.diagnosis();
    assert!(matches!(
        tools.call(bash("true", WorkspaceAccess::Keep)),
        Err(ToolError::Invalid(_))
    ));
    assert!(matches!(
        tools.call(write("src/a.py", "x")),
        Err(ToolError::Invalid(_))
    ));
    let discard = text(tools.call(bash(
        "echo x > src/a.py && cat src/a.py",
        WorkspaceAccess::Discard,
    )));
    assert_eq!(discard, "x\n");
    let refused = tools
        .call(bash("echo x > src/a.py", WorkspaceAccess::ReadOnly))
        .expect("ran");
    assert!(matches!(refused, ToolOutput::Command(output) if !output.ended.success()));
    assert_eq!(bench.picture(), before);
}

#[test]
fn secrets_git_and_data_are_out_of_reach() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    for path in [
        ".env",
        ".git/config",
        "src/../.env",
        "src/leak",
        "../outside/secret",
    ] {
        let error = tools.call(read(path)).expect_err(path);
        assert!(
            matches!(error, ToolError::Denied(_) | ToolError::Invalid(_)),
            "{path}: {error}"
        );
    }
    let data = bench.base.join("data/key");
    let everything = format!("cat .env .git/config {} 2>&1; printenv", data.display());
    let output = text(tools.call(bash(&everything, WorkspaceAccess::Discard)));
    for secret in ["do-not-read-this", "[core]", "host-secret"] {
        assert!(!output.contains(secret), "{output}");
    }
    let grep = text(tools.call(ToolRequest::Grep {
        pattern: "API_KEY|core|secret".to_owned(),
        glob: None,
    }));
    assert_eq!(grep, "");
}

#[test]
fn drafting_writes_only_its_worktree() {
    let bench = Bench::new();
    let live = fs::read_to_string(bench.base.join("app/src/a.py")).expect("file");
    let tools = bench.drafting();
    tools
        .call(write("src/new/c.py", "c = 3\n"))
        .expect("written");
    tools
        .call(ToolRequest::edit("src/a.py", "value = 1", "value = 7"))
        .expect("edited");
    tools
        .call(bash("rm src/b.py; echo 'd = 4' > src/d.py; mkdir -p __pycache__ ignored; echo > __pycache__/x.pyc; echo > ignored/y", WorkspaceAccess::Keep))
        .expect("ran");
    assert_eq!(text(tools.call(read("src/a.py"))), "value = 7\nother = 2\n");
    assert!(matches!(
        tools.call(read("src/b.py")),
        Err(ToolError::Invalid(_))
    ));
    let listed = text(tools.call(ToolRequest::Glob {
        pattern: "src/**/*.py".to_owned(),
    }));
    assert_eq!(listed, "src/a.py\nsrc/d.py\nsrc/new/c.py\n");
    let seen = text(tools.call(bash("cat src/a.py src/d.py", WorkspaceAccess::Discard)));
    assert_eq!(seen, "value = 7\nother = 2\nd = 4\n");
    let change = |path: &str, before: Option<&str>, after: Option<&str>| FileChange {
        path: path.to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    assert_eq!(
        tools.changes().expect("a patch"),
        [
            change("src/a.py", Some(&live), Some("value = 7\nother = 2\n")),
            change("src/b.py", Some("import a\n"), None),
            change("src/d.py", None, Some("d = 4\n")),
            change("src/new/c.py", None, Some("c = 3\n")),
        ]
    );
    assert_eq!(
        fs::read_to_string(bench.base.join("app/src/a.py")).expect("file"),
        live
    );
}

#[test]
fn the_host_itself_refuses_protected_and_foreign_places() {
    let bench = Bench::new();
    let before = bench.picture();
    let tools = bench.drafting();
    let inside = bench.base.join("data/key");
    for path in [
        "policy.toml",
        ".git/hooks/pre-commit",
        ".GIT/config",
        ".env",
        "src/leak",
        "../outside/x",
        "/etc/x",
        "",
        ".",
        "src",
        inside.to_str().expect("text"),
    ] {
        let error = tools.call(write(path, "x")).expect_err(path);
        assert!(
            matches!(error, ToolError::Denied(_) | ToolError::Invalid(_)),
            "{path}: {error}"
        );
    }
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_link_that_a_command_makes_leads_no_write_outside() {
    let bench = Bench::new();
    let tools = bench.drafting();
    let target = bench.base.join("outside");
    let link = format!("ln -s {} src/out; ln -s /etc src/etc", target.display());
    tools.call(bash(&link, WorkspaceAccess::Keep)).expect("ran");
    assert!(tools.call(write("src/out/x", "x")).is_err());
    assert!(tools.call(read("src/etc/hostname")).is_err());
    assert!(!target.join("x").exists());
    let error = tools.changes().expect_err("a link is no patch");
    assert!(error.starts_with("src/etc: "), "{error}");
}

#[test]
fn what_no_patch_can_hold_is_named() {
    for (command, path) in [
        ("printf '\\0\\1' > src/a.py", "src/a.py"),
        ("chmod +x src/a.py", "src/a.py"),
        ("ln -sf b.py src/a.py", "src/a.py"),
        ("echo x > policy.toml", "policy.toml"),
    ] {
        let bench = Bench::new();
        let tools = bench.drafting();
        tools
            .call(bash(command, WorkspaceAccess::Keep))
            .expect("ran");
        let error = tools.changes().expect_err(command);
        assert!(error.starts_with(path), "{command}: {error}");
    }
}

#[test]
fn what_a_command_did_not_declare_is_on_record() {
    let bench = Bench::new();
    let tools = bench.drafting();
    tools
        .call(bash(
            "echo x > src/a.py; python3 -c \"open('src/sly.py','w').write('')\"",
            WorkspaceAccess::Keep,
        ))
        .expect("ran");
    let ToolOutcome::Succeeded(outcome) = bench.recorder.outcome() else {
        panic!("it succeeded");
    };
    assert!(outcome.contains("also changed: src/sly.py"), "{outcome}");
    assert!(!outcome.contains("src/a.py"), "{outcome}");
}

#[test]
fn verification_sees_the_patch_and_keeps_nothing() {
    let bench = Bench::new();
    let before = bench.picture();
    let patch = Patch::of(vec![
        FileChange {
            path: "src/a.py".to_owned(),
            before: Some("value = 1\nother = 2\n".to_owned()),
            after: Some("value = 9\n".to_owned()),
        },
        FileChange {
            path: "src/b.py".to_owned(),
            before: Some("import a\n".to_owned()),
            after: None,
        },
        FileChange {
            path: "src/deep/n.py".to_owned(),
            before: None,
            after: Some("n = 1\n".to_owned()),
        },
    ]);
    let tools = bench.workbench.for_verification(bench.spec(), Some(&patch));
    let seen = text(tools.call(bash(
        "cat src/a.py src/deep/n.py; ls src; echo x > src/a.py",
        WorkspaceAccess::Discard,
    )));
    assert_eq!(seen, "value = 9\nn = 1\na.py\ndeep\nleak\n");
    assert_eq!(text(tools.call(read("src/a.py"))), "value = 9\n");
    drop(tools);
    let plain = bench.workbench.for_verification(bench.spec(), None);
    let seen = text(plain.call(bash("cat src/a.py", WorkspaceAccess::Discard)));
    assert_eq!(seen, "value = 1\nother = 2\n");
    let left = fs::read_dir(bench.base.join("data/scratch")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_patch_that_leads_elsewhere_is_not_laid_out() {
    let bench = Bench::new();
    for path in ["../outside/x", ".git/hooks/x", "src/leak/x"] {
        let patch = Patch::of(vec![FileChange {
            path: path.to_owned(),
            before: None,
            after: Some("x".to_owned()),
        }]);
        let tools = bench.workbench.for_verification(bench.spec(), Some(&patch));
        let result = tools.call(bash("true", WorkspaceAccess::Discard));
        assert!(matches!(result, Err(ToolError::Unavailable(_))), "{path}");
        assert!(matches!(bench.recorder.outcome(), ToolOutcome::Failed(_)));
    }
    assert!(!bench.base.join("outside/x").exists());
}

#[test]
fn a_session_answers_lines_and_its_end_is_recorded() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let command = format!("python3 {}/worker/run.py; cat", tools.assets());
    let mut session = tools
        .session(bash(&command, WorkspaceAccess::Discard))
        .expect("started");
    assert_eq!(
        session.receive(Duration::from_secs(20)).as_deref(),
        Ok("asset")
    );
    session.send("hello").expect("sent");
    assert_eq!(
        session.receive(Duration::from_secs(20)).as_deref(),
        Ok("hello")
    );
    assert_eq!(bench.recorder.names(), ["called"]);
    drop(session);
    assert_eq!(
        bench.recorder.outcome(),
        ToolOutcome::Succeeded("session: 1 lines sent, 2 received".to_owned())
    );
    assert!(matches!(
        tools.session(read("src/a.py")),
        Err(ToolError::Invalid(_))
    ));
}

#[test]
fn recorded_facts_and_answers_hold_no_secrets() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let output = text(tools.call(bash(
        "echo AKIAIOSFODNN7EXAMPLE; DB_PASSWORD=hunter2hunter2 true",
        WorkspaceAccess::Discard,
    )));
    assert!(output.starts_with("[masked-secret:"), "{output}");
    let record = format!("{:?}", bench.recorder.events.lock().expect("lock"));
    for secret in ["AKIAIOSFODNN7EXAMPLE", "hunter2hunter2"] {
        assert!(!record.contains(secret), "{record}");
    }
}

#[test]
fn several_edits_are_made_all_or_none() {
    let bench = Bench::new();
    let tools = bench.drafting();
    let call = |edits: Vec<Replacement>| {
        tools.call(ToolRequest::MultiEdit {
            path: "src/a.py".to_owned(),
            edits,
        })
    };
    let refused = [
        (vec![], "1 to 200 edits"),
        (
            vec![
                edited("value = 1", "value = 2", false),
                edited("nowhere", "x", false),
            ],
            "edit 2 of 2",
        ),
        // Seen after the first made it two.
        (
            vec![edited("other", "value", false), edited("value", "x", false)],
            "occurs 2 times",
        ),
        (vec![edited("", "x", false)], "does not occur"),
        (
            vec![edited(" ", &"x".repeat(2 << 20), true)],
            "more than 4 MiB",
        ),
    ];
    for (edits, why) in refused {
        let error = call(edits).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(tools.changes().expect("readable"), []);
    }
    call(vec![
        edited("value = 1", "value = 7", false),
        edited("other", "value", false),
        edited("value", "total", true),
    ])
    .expect("edited");
    assert_eq!(text(tools.call(read("src/a.py"))), "total = 7\ntotal = 2\n");
    let error = tools
        .call(ToolRequest::edit("src/a.py", "total", "x"))
        .expect_err("twice");
    assert!(error.to_string().contains("2 times"), "{error}");
}

#[test]
fn some_lines_of_a_file_are_read() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let some = |offset, limit| {
        text(tools.call(ToolRequest::Read {
            path: "src/a.py".to_owned(),
            offset,
            limit,
        }))
    };
    assert_eq!(some(Some(2), None), "other = 2\n");
    assert_eq!(some(None, Some(1)), "value = 1\n");
    assert_eq!(some(Some(0), Some(9)), "value = 1\nother = 2\n");
    assert_eq!(some(Some(u64::MAX), Some(u64::MAX)), "");
}

#[test]
fn a_task_is_recorded_and_an_unknown_mcp_server_is_named() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let task = |prompt: &str| ToolRequest::Task {
        description: "look".to_owned(),
        prompt: prompt.to_owned(),
    };
    assert_eq!(text(tools.call(task("look at src"))), "");
    assert!(matches!(
        bench.recorder.outcome(),
        ToolOutcome::Succeeded(_)
    ));
    assert!(tools.call(task(&"x".repeat(65 * 1024))).is_err());
    let error = tools
        .call(ToolRequest::Mcp {
            server: "tickets".to_owned(),
            tool: "close".to_owned(),
            arguments: serde_json::json!({"password": "hunter22", "deep": [{"token": "API_TOKEN=abcdef123"}]}),
        })
        .expect_err("not configured");
    assert!(error.to_string().contains("[[agent.mcp]]"), "{error}");
    let seen = bench.policies.seen.lock().expect("lock");
    let facts = seen.last().expect("judged");
    assert_eq!(facts.tool, "mcp__tickets__close");
    assert!(!facts.input.contains("abcdef123"), "{}", facts.input);
}
