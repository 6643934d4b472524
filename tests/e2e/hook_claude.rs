//! The real Claude Code CLI on loopback, with a scripted model and our hooks in its
//! settings: what policies deny must not run, whatever becomes of the hook or the host.

use crate::programs::cart;
use selfheal_tests::{
    Project, Ran, ScriptedModel, TestHost, agent_program, eventually, foreign_command, signal,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// The pinned CLI, if it is installed (`tests/agents`).
fn claude() -> Option<PathBuf> {
    agent_program(
        "@anthropic-ai/claude-agent-sdk-linux-x64/claude",
        "Claude Code",
    )
}

/// A home, a repository, and a model that asks for these calls.
struct Session {
    project: Project,
    model: ScriptedModel,
    program: PathBuf,
}

impl Session {
    fn new(program: PathBuf, project: Project, calls: &[(&str, Value)]) -> Self {
        std::fs::create_dir_all(project.outside().join("home")).unwrap();
        Self {
            model: ScriptedModel::calling(calls),
            project,
            program,
        }
    }

    fn home(&self) -> PathBuf {
        self.project.outside().join("home")
    }

    /// Settings of the user.
    fn settings(&self, settings: &Value) {
        let file = self.home().join(".claude/settings.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, settings.to_string()).unwrap();
    }

    fn command(&self, sources: &str) -> Command {
        let mut command = foreign_command(&self.program);
        command
            .current_dir(self.project.app())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("TMPDIR", self.project.outside())
            .env("ANTHROPIC_BASE_URL", self.model.url())
            .env("ANTHROPIC_API_KEY", "dummy")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .args(["-p", "go", "--output-format", "stream-json", "--verbose"])
            .args(["--strict-mcp-config", "--setting-sources", sources])
            // Without hooks of ours, everything would run.
            .args([
                "--tools",
                "Bash,Read,Edit,Write",
                "--allowedTools",
                "Bash,Read,Edit,Write",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, sources: &str) -> Ran {
        let output = self.command(sources).output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // It ran to the end of its script, whatever was denied on the way.
        assert!(ran.stdout.contains("\"type\":\"result\""), "{ran:?}");
        ran
    }

    fn exists(&self, name: &str) -> bool {
        self.project.app().join(name).exists()
    }

    /// `selfheal hook install` with this session's home.
    fn install(&self, arguments: &[&str]) -> Value {
        let home = self.home().display().to_string();
        let config = self.project.outside().join("selfheal.toml");
        let config = config.display().to_string();
        let mut all = vec!["hook", "install", "--agent", "claude-code", "--json"];
        all.extend(["--config", &config]);
        all.extend(arguments);
        let environment = [("HOME", home.as_str()), ("XDG_CONFIG_HOME", "")];
        let ran = self
            .project
            .selfheal_with(&self.project.app(), &all, &environment);
        assert_eq!(ran.code, 0, "{ran:?}");
        let report = ran.json();
        assert_eq!(report["proved"], true, "{report}");
        report
    }
}

fn bash(command: &str) -> (&'static str, Value) {
    ("Bash", json!({ "command": command, "description": "d" }))
}

fn host(project: &Project) -> TestHost {
    TestHost::start(project, |_, policy| {
        *policy = policy.replace("environment = \"production\"", "environment = \"local\"");
    })
}

/// Harmless and harmful calls, and what must be there afterwards.
fn calls() -> Vec<(&'static str, Value)> {
    vec![
        bash("echo ok > harmless.txt"),
        bash("rm -rf . ; touch harmful-1.txt"),
        bash("git reset --hard HEAD~1; touch harmful-2.txt"),
        bash("touch harmful-3.txt; cat ../data/installation"),
        bash("echo '{\"disableAllHooks\":true}' > .claude/settings.json; touch harmful-4.txt"),
        (
            "Write",
            json!({ "file_path": "/opt/selfheal-harmful", "content": "x" }),
        ),
        bash("x=$(date +%s); echo y > \"harmful-5-$x.txt\""),
        bash("git status --short > harmless-2.txt"),
    ]
}

fn must_be_guarded(session: &Session) {
    for name in ["harmless.txt", "harmless-2.txt"] {
        assert!(
            session.exists(name),
            "{name}: {:?}",
            session.model.results()
        );
    }
    let left = std::fs::read_dir(session.project.app()).unwrap();
    for entry in left {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with("harmful"), "{name:?}");
    }
    assert!(!Path::new("/opt/selfheal-harmful").exists());
    assert!(!session.exists(".claude/settings.json"));
    let results = session.model.results();
    let denied: Vec<_> = results.iter().map(|(error, _)| *error).collect();
    let expected = [false, true, true, true, true, true, true, false];
    assert_eq!(denied, expected, "{results:?}");
    assert!(results[1].1.contains("selfheal, rule "), "{results:?}");
}

#[test]
fn claude_code_asks_us_before_each_call_and_obeys() {
    let Some(program) = claude() else { return };
    for way in [&[][..], &["--http"]] {
        let project = cart();
        let host = host(&project);
        let url = host.url().to_owned();
        let session = Session::new(program.clone(), project, &calls());
        let mut arguments = vec!["--url", &url];
        arguments.extend(way);
        let report = session.install(&arguments);
        assert_eq!(
            report["way"],
            if way.is_empty() { "command" } else { "http" }
        );
        session.run("user");
        must_be_guarded(&session);
        // Each call is on record, with what came of it.
        let decisions = host.admin("GET", "/decisions?limit=200", None);
        let of_it: Vec<_> = decisions["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["actor"] == "external:claude-code")
            .filter(|it| it["external"]["session"] != "selfheal-hook-proof")
            .collect();
        assert_eq!(of_it.len(), calls().len(), "{way:?}");
        let id = of_it[0]["id"].as_str().unwrap();
        let first = host.admin("GET", &format!("/decisions/{id}"), None);
        assert_eq!(first["outcome"]["outcome"], "succeeded", "{first}");
        // Again, after the host is gone: nothing runs.
        let again = Session {
            model: ScriptedModel::calling(&[bash("echo late > late.txt")]),
            ..session
        };
        host.kill();
        again.run("user");
        assert!(!again.exists("late.txt"), "{way:?}");
        let results = again.model.results();
        assert!(results[0].0, "{way:?}: {results:?}");
    }
}

#[test]
fn a_host_killed_in_the_middle_of_a_call_stops_it() {
    let Some(program) = claude() else { return };
    for way in [&[][..], &["--http"]] {
        let project = cart();
        let host = host(&project);
        let url = host.url().to_owned();
        let calls = [
            bash("touch before.txt"),
            bash("touch middle.txt"),
            bash("touch after.txt"),
        ];
        let session = Session::new(program.clone(), project, &calls);
        let mut arguments = vec!["--url", &url];
        arguments.extend(way);
        session.install(&arguments);
        // The second question never gets an answer: the host stops before, and is
        // killed while the agent waits.
        let child = session.command("user").spawn().unwrap();
        eventually("the first call ran", PATIENCE, || {
            session.exists("before.txt").then_some(())
        });
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        signal("STOP", host.pid());
        eventually("a question waits", PATIENCE, || {
            waits_on(port).then_some(())
        });
        host.kill();
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("\"type\":\"result\""), "{shown}");
        let results = session.model.results();
        // The host may have answered the second question before it stood still; from
        // where it stopped on nothing ran.
        assert!(!session.exists("after.txt"), "{way:?}: {results:?}");
        assert!(results.last().unwrap().0, "{way:?}: {results:?}");
    }
}

/// A client has sent something to this port that nobody read.
fn waits_on(port: u16) -> bool {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    connections.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let unread = columns.get(4).and_then(|queues| queues.split(':').nth(1));
        columns.get(1) == Some(&local.as_str())
            && columns.get(3) == Some(&"01")
            && unread.is_some_and(|unread| unread != "00000000")
    })
}

/// What Claude Code lets through by default when a hook fails, and our settings close.
#[test]
fn every_way_in_which_its_hooks_fail_open_is_closed() {
    let Some(program) = claude() else { return };
    let refused = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!(
            "http://{}/api/v1/hook/claude-code",
            free.local_addr().unwrap()
        )
    };
    let command = |text: &str| json!({ "type": "command", "command": text, "timeout": 2 });
    let http = |url: &str| json!({ "type": "http", "url": url, "timeout": 2 });
    let failing = [
        ("exit 1", command("exit 1")),
        ("SIGKILL", command("kill -KILL $$")),
        ("time-out", command("sleep 30")),
        ("not executable", command("/nowhere/selfheal hook")),
        (
            "bad word",
            command(
                r#"echo '{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"maybe"}}'"#,
            ),
        ),
        ("HTTP refused", http(&refused)),
        (
            "HTTP 500",
            http(&answering(
                b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
            )),
        ),
        (
            "HTTP not JSON",
            http(&answering(
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            )),
        ),
    ];
    for (what, hook) in failing {
        for closed in [false, true] {
            let mut hook = hook.clone();
            if closed {
                // As `selfheal hook install` writes it.
                hook["onFailure"] = json!("block");
            }
            let session = Session::new(program.clone(), cart(), &[bash("touch ran.txt")]);
            session.settings(&json!({
                "hooks": { "PreToolUse": [{ "matcher": "*", "hooks": [hook] }] }
            }));
            session.run("user");
            assert_eq!(
                session.exists("ran.txt"),
                !closed,
                "{what}, closed: {closed}"
            );
        }
    }
    // A command that ends well without an answer is not closed by that setting: ours
    // always answers, or ends with the code that denies.
    let session = Session::new(program, cart(), &[bash("touch ran.txt")]);
    session.settings(
        &json!({ "hooks": { "PreToolUse": [{ "matcher": "*", "hooks": [
        { "type": "command", "command": "echo hello", "timeout": 2, "onFailure": "block" }
    ] }] } }),
    );
    session.run("user");
    assert!(
        session.exists("ran.txt"),
        "a later version closes this: say so in the docs"
    );
}

fn answering(bytes: &'static [u8]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 64 * 1024];
            // The client may be gone already.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(bytes);
        }
    });
    url
}

/// A repository's own settings cannot switch off what is installed for the project.
#[test]
fn a_repository_cannot_switch_the_hooks_off() {
    let Some(program) = claude() else { return };
    let project = cart();
    project.write(".claude/settings.json", "{\"disableAllHooks\": true}\n");
    let host = host(&project);
    let url = host.url().to_owned();
    let harmful = bash("git reset --hard HEAD~1; touch harmful.txt");
    let session = Session::new(program, project, &[harmful]);
    session.install(&["--url", &url, "--scope", "project"]);
    session.run("user,project,local");
    assert!(
        !session.exists("harmful.txt"),
        "{:?}",
        session.model.results()
    );
}

/// The same policies as the answer to `--permission-prompt-tool`.
#[test]
fn the_permission_tool_decides_what_would_be_asked() {
    let Some(program) = claude() else { return };
    let project = cart();
    let host = host(&project);
    let token = host.user(&project, "prompt", "hook");
    let calls = [
        bash("touch harmless.txt"),
        bash("git reset --hard HEAD~1; touch harmful.txt"),
    ];
    let session = Session::new(program, project, &calls);
    let servers = json!({ "mcpServers": { "selfheal": {
        "command": selfheal_tests::binary(),
        "args": ["mcp", "permission"],
        "env": { "SELFHEAL_URL": host.url(), "SELFHEAL_TOKEN": token },
    } } });
    let file = session.project.outside().join("mcp.json");
    std::fs::write(&file, servers.to_string()).unwrap();
    let output = foreign_command(&session.program)
        .current_dir(session.project.app())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", session.home())
        .env("ANTHROPIC_BASE_URL", session.model.url())
        .env("ANTHROPIC_API_KEY", "dummy")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .args(["-p", "go", "--output-format", "stream-json", "--verbose"])
        .args(["--strict-mcp-config", "--mcp-config"])
        .arg(&file)
        .args(["--setting-sources", "", "--tools", "Bash"])
        .args(["--permission-prompt-tool", "mcp__selfheal__approve"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let results = session.model.results();
    assert!(session.exists("harmless.txt"), "{results:?} {shown}");
    assert!(!session.exists("harmful.txt"), "{results:?}");
    assert!(results[1].1.contains("selfheal, rule "), "{results:?}");
}
