//! The broker over a real sandbox and real files: what happens is on record first, and
//! nothing happens outside of what the host allows. `effects.rs` lists every way.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

mod support;

use selfheal_agent::BenchRules;
use selfheal_domain::event::ToolOutcome;
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::policy::Environment;
use selfheal_domain::ports::{RunWorktree, ToolSessionSpec, Workbench};
use selfheal_domain::tools::{
    Ended, Replacement, ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Bench, bash, edited, mcp, one_of_each, read, text, write};

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

/// The session has looked around already when they come.
#[test]
fn secrets_that_are_made_later_are_out_of_reach_too() {
    let bench = Bench::new();
    let app = bench.base.join("app");
    let tools = bench.diagnosis();
    let sizes = || {
        let command = "wc -c src/.env notes.txt token src/plain 2>&1 | grep -v total";
        text(tools.call(bash(command, WorkspaceAccess::Discard)))
    };
    assert!(sizes().contains("16 notes.txt"), "{}", sizes());
    fs::write(app.join("src/.env"), "API_KEY=made-later\n").expect("file");
    fs::write(app.join("notes.txt"), "key AKIAIOSFODNN7EXAMPLE\n").expect("file");
    fs::write(
        app.join("token"),
        "ghp_0123456789abcdefghijABCDEFGHIJ456789\n",
    )
    .expect("file");
    fs::write(app.join("src/plain"), "x\n").expect("file");
    // What a secret name leads to is secret as well.
    symlink("src/plain", app.join("id_rsa")).expect("link");
    let shown = sizes();
    for line in ["0 src/.env", "0 notes.txt", "0 token", "0 src/plain"] {
        assert!(
            shown.lines().any(|shown| shown.trim() == line),
            "{line}: {shown}"
        );
    }
    for path in ["src/.env", "src/plain", "id_rsa"] {
        let error = tools.call(read(path)).expect_err(path);
        assert!(matches!(error, ToolError::Denied(_)), "{path}: {error}");
    }
    // And what holds none any more is shown again.
    fs::write(app.join("notes.txt"), "no key\n").expect("file");
    fs::remove_file(app.join("id_rsa")).expect("link");
    let shown = sizes();
    assert!(
        shown.contains("7 notes.txt") && shown.contains("2 src/plain"),
        "{shown}"
    );
}

/// What strays counts against the run, in whatever session it happened.
#[test]
fn a_run_has_one_account_of_what_it_changed_unasked() {
    let bench = Bench::new();
    let run = |number| RunRef {
        issue: IssueNumber(1),
        run: RunNumber(number),
        id: RunId(uuid::Uuid::from_u128(u128::from(number))),
    };
    let session = |number| {
        let worktree = RunWorktree {
            upper: bench.base.join("data/upper"),
            work: bench.base.join("data/work"),
        };
        let spec = ToolSessionSpec {
            run: Some(run(number)),
            ..bench.spec()
        };
        bench.workbench.for_drafting(spec, &worktree)
    };
    let stray = |tools: &dyn Tools, name: &str| {
        let command = format!("python3 -c \"open('src/{name}', 'w').write('x')\"");
        tools.call(bash(&command, WorkspaceAccess::Keep)).map(drop)
    };
    for pair in [["a", "b"], ["c", "d"]] {
        let tools = session(1);
        for name in pair {
            stray(tools.as_tools(), name).expect("ran");
        }
    }
    let stopped = stray(session(1).as_tools(), "e");
    assert!(
        matches!(&stopped, Err(ToolError::Unavailable(why)) if why.contains("max_surplus_calls")),
        "{stopped:?}"
    );
    assert_eq!(
        bench
            .policies
            .contexts
            .lock()
            .expect("lock")
            .last()
            .expect("asked")
            .counters
            .surplus,
        4,
        "policies see it"
    );
    stray(session(2).as_tools(), "e").expect("another run has its own");
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
fn a_link_with_the_name_of_a_secret_leads_to_a_secret() {
    let bench = Bench::new();
    let elsewhere = bench.base.join("outside/settings");
    fs::write(&elsewhere, "KEY=far-away\n").expect("file");
    fs::write(bench.base.join("app/src/prod.txt"), "KEY=close-by\n").expect("file");
    symlink(&elsewhere, bench.base.join("app/.env.far")).expect("link");
    symlink("src/prod.txt", bench.base.join("app/.env.near")).expect("link");
    let tools = bench.diagnosis();
    for path in [".env.far", ".env.near", "src/prod.txt"] {
        assert!(tools.call(read(path)).is_err(), "{path}");
    }
    let everything = format!(
        "cat .env.far .env.near src/prod.txt {} 2>&1",
        elsewhere.display()
    );
    let output = text(tools.call(bash(&everything, WorkspaceAccess::Discard)));
    assert!(
        !output.contains("far-away") && !output.contains("close-by"),
        "{output}"
    );
    let grep = ToolRequest::Grep {
        pattern: "KEY".to_owned(),
        glob: None,
    };
    assert_eq!(text(tools.call(grep)), "");
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
fn a_search_shows_no_line_of_a_key() {
    let bench = Bench::new();
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    // In program text, which is shown but for the key.
    let program = format!(
        "KEY = '''-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----'''\nx = 1\n"
    );
    std::fs::write(bench.base.join("app/src/a.py"), program).expect("written");
    let tools = bench.diagnosis();
    let grep = |pattern: &str| {
        text(tools.call(ToolRequest::Grep {
            pattern: pattern.to_owned(),
            glob: None,
        }))
    };
    for pattern in ["^MII", "KEY", "."] {
        let found = grep(pattern);
        assert!(!found.contains(body), "{pattern}: {found}");
    }
    assert!(grep("x = 1").contains("src/a.py"));
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
            server: "elsewhere".to_owned(),
            tool: "close".to_owned(),
            arguments: serde_json::json!({"password": "hunter22", "deep": [{"token": "API_TOKEN=abcdef123"}]}),
        })
        .expect_err("not configured");
    assert!(error.to_string().contains("[[agent.mcp]]"), "{error}");
    let seen = bench.policies.seen.lock().expect("lock");
    let facts = seen.last().expect("judged");
    assert_eq!(facts.tool, "mcp__elsewhere__close");
    assert!(!facts.input.contains("abcdef123"), "{}", facts.input);
}

#[test]
fn an_mcp_tool_answers_and_a_broken_server_harms_its_call_only() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let answer = text(tools.call(mcp("tickets", "close")));
    assert!(answer.starts_with("closed {\"number\":1}"), "{answer}");
    assert!(!answer.contains("AKIA"), "{answer}");
    let echoed = text(tools.call(mcp("local", "echo")));
    assert_eq!(echoed, "{\"number\":1}");
    for _ in 0..6 {
        let error = tools.call(mcp("tickets", "die")).expect_err("dead");
        assert!(matches!(error, ToolError::Unavailable(_)), "{error}");
    }
    let connected = |server: &str| {
        let reached = bench.servers.reached.lock().expect("lock");
        let connect = format!("{server}:connect");
        reached.iter().filter(|seen| **seen == connect).count()
    };
    assert_eq!((connected("tickets"), connected("local")), (4, 1));
    assert_eq!(text(tools.call(mcp("local", "echo"))), "{\"number\":1}");
    for (tool, arguments, why) in [
        ("nothing", serde_json::json!({}), "it has close, die, echo"),
        ("a/b", serde_json::json!({}), "no name of a tool"),
        ("echo", serde_json::json!([1]), "a JSON object"),
        (
            "echo",
            serde_json::json!({"x": "y".repeat(300_000)}),
            "256 KiB",
        ),
    ] {
        let request = ToolRequest::Mcp {
            server: "local".to_owned(),
            tool: tool.to_owned(),
            arguments,
        };
        let error = tools.call(request).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
    }
    let verification = bench.workbench.for_verification(bench.spec(), None);
    assert!(matches!(
        verification.call(mcp("local", "echo")),
        Err(ToolError::Invalid(_))
    ));
}

#[test]
fn a_variable_named_a_secret_later_is_masked_and_withheld_in_open_sessions() {
    let bench = Bench::new();
    let tools = bench.diagnosis();
    let home = || text(tools.call(bash("printf %s \"[$HOME]\"", WorkspaceAccess::ReadOnly)));
    let rules = |secret_paths: &[&str]| BenchRules {
        secret_paths: secret_paths.iter().map(ToString::to_string).collect(),
        protected_paths: Vec::new(),
        environment: Environment::Production,
        network: Vec::new(),
        max_surplus_calls: 3,
        secret_variables: vec![("HOME".to_owned(), "value of nobody".to_owned())],
    };
    let before = home();
    assert!(before.len() > 2, "{before}");
    // What cannot be used changes nothing.
    assert!(bench.workbench.prepare(rules(&["[a"])).is_err());
    assert_eq!(home(), before);
    let bring_into_force = bench.workbench.prepare(rules(&[])).expect("rules");
    assert_eq!(home(), before);
    bring_into_force();
    assert_ne!(home(), before);
    let notes = text(tools.call(read("notes.txt")));
    assert!(notes.contains("[masked-secret:"), "{notes}");
}
