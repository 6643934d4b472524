//! Agents of other makers through the real binary: the real Claude Code, Codex and an
//! ACP agent, pinned, with a scripted model on loopback and the bundled policies, heal
//! a real bug; and a host that is killed while one of them works.

use crate::programs::{cart, healed_cart};
use selfheal_tests::{Dialect, Line, Project, ScriptedModel, TestHost, agent_program, eventually};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An agent, and how it is configured.
#[derive(Clone, Copy)]
struct Maker {
    provider: &'static str,
    title: &'static str,
    program: &'static str,
    dialect: Dialect,
}

const CLAUDE: Maker = Maker {
    provider: "claude-code",
    title: "Claude Code",
    program: "@anthropic-ai/claude-agent-sdk-linux-x64/claude",
    dialect: Dialect::Anthropic,
};

const CODEX: Maker = Maker {
    provider: "codex",
    title: "Codex",
    program: "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex",
    dialect: Dialect::OpenAi,
};

const ACP: Maker = Maker {
    provider: "acp",
    title: "claude-agent-acp",
    program: "@agentclientprotocol/claude-agent-acp/dist/index.js",
    dialect: Dialect::Anthropic,
};

/// The key that no agent may see.
const KEY: &str = "sk-of-this-installation-1234567890";

const MARK: &str = "SELFHEAL_E2E";

impl Maker {
    fn installed(self) -> Option<PathBuf> {
        let program = agent_program(self.program, self.title)?;
        Some(program.canonicalize().unwrap())
    }

    /// `[agent]` and `[agent.external]` in place of the built-in engine.
    fn configure(
        self,
        program: &std::path::Path,
        project: &Project,
        url: &str,
        config: &mut String,
    ) {
        let provider = format!("provider = \"{}\"", self.provider);
        *config = config.replacen("provider = \"builtin\"", &provider, 1);
        let key = project.outside().join("key");
        std::fs::write(&key, KEY).unwrap();
        let (command, visible) = match self.provider {
            "acp" => {
                let packages = program
                    .ancestors()
                    .find(|path| path.ends_with("node_modules"))
                    .unwrap();
                (json!(["node", program]), json!([packages]))
            }
            _ => (json!([program]), json!([])),
        };
        // Lists and texts of JSON are lists and texts of TOML.
        let base = match self.dialect {
            Dialect::OpenAi => format!("{url}/v1"),
            _ => url.to_owned(),
        };
        config.push_str(&format!(
            "\n[agent.external]\ncommand = {command}\nvisible = {visible}\nbase_url = {}\nkey_file = {}\n\
             environment = {{ {MARK} = {} }}\n",
            json!(base),
            json!(key),
            json!(project.outside()),
        ));
        if self.dialect == Dialect::Anthropic {
            config.push_str("model = \"claude-sonnet-4-5\"\n");
        }
    }

    fn run(self, command: &str) -> Line {
        let (name, input) = match self.dialect {
            Dialect::OpenAi => (
                "exec_command",
                json!({ "cmd": command, "yield_time_ms": 30_000 }),
            ),
            _ => ("Bash", json!({ "command": command, "description": "d" })),
        };
        Line::Call(name.to_owned(), input)
    }

    /// What its model says to find the bug.
    fn diagnosis(self, turn: usize) -> Line {
        match turn {
            0 => self.run("cat cart.py"),
            1 => self.run("python3 -m unittest -q"),
            2 => self.run("git reset --hard HEAD~1"),
            _ => Line::Text(
                json!({
                    "rootCause": "total in cart.py compares with > where >= is meant.",
                    "confidence": 0.9, "affectedFiles": ["cart.py"], "affectedServices": [],
                    "suggestedFix": "Compare with >=.", "reproduction": null,
                })
                .to_string(),
            ),
        }
    }

    /// What it says to mend it in `file`.
    fn draft(self, turn: usize, file: &str) -> Line {
        let (old, new) = (
            "    if amount > discount_from:",
            "    if amount >= discount_from:",
        );
        let call = |name: &str, input: Value| Line::Call(name.to_owned(), input);
        match (turn, self.dialect) {
            (0, Dialect::OpenAi) => self.run(&format!(
                "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: cart.py\n@@\n-{old}\n+{new}\n*** End Patch\nEOF"
            )),
            (0, _) => call("Read", json!({ "file_path": file })),
            (1, Dialect::OpenAi) | (2, _) => self.run("python3 -m unittest -q"),
            (1, _) => call(
                "Edit",
                json!({ "file_path": file, "old_string": old, "new_string": new }),
            ),
            _ => Line::Text(
                json!({ "rationale": "The limit itself counts.", "confidence": 0.9 }).to_string(),
            ),
        }
    }

    /// The whole script. While `holds` is set, the model is silent when the draft is half
    /// done, and says so in `held`.
    fn model(
        self,
        project: &Project,
        holds: &Arc<AtomicBool>,
        held: &Arc<AtomicBool>,
    ) -> ScriptedModel {
        let file = project.outside().join("app/cart.py").display().to_string();
        let (holds, held) = (Arc::clone(holds), Arc::clone(held));
        ScriptedModel::following(self.dialect, move |request, turn| {
            if !request
                .to_string()
                .contains("Fix the problem whose root cause was found")
            {
                return self.diagnosis(turn);
            }
            if turn == 2 && holds.load(Ordering::SeqCst) {
                held.store(true, Ordering::SeqCst);
                return Line::Silence;
            }
            self.draft(turn, &file)
        })
    }
}

/// What must be true of a heal, whoever drafted it.
fn must_be_healed(
    maker: Maker,
    project: &Project,
    host: &TestHost,
    number: u64,
    model: &ScriptedModel,
) {
    let issue = host.wait_for(number, &["PATCH_PENDING", "FAILED", "ESCALATED"]);
    assert_eq!(
        issue["status"],
        "PATCH_PENDING",
        "{issue}\n{}",
        model.last()
    );
    assert_eq!(
        issue["rootCause"],
        "total in cart.py compares with > where >= is meant."
    );
    assert_eq!(issue["affectedFiles"], json!(["cart.py"]));
    let agent = issue["runs"][0]["agent"].as_str().unwrap().to_owned();
    assert!(
        agent.starts_with(&format!("{}:", maker.provider)),
        "{agent}"
    );
    let patch = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let body = json!({ "patchDigest": patch["patchDigest"] });
    host.admin(
        "PATCH",
        &format!("/issues/{number}/patch/approve"),
        Some(body),
    );
    let issue = host.wait_for(number, &["RESOLVED", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(project.read("cart.py"), healed_cart());
    let message = project.git(&["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains(&format!("Assisted-by: {agent}")),
        "{message}"
    );
    // Each of its calls was judged, the harmful one refused, by the bundled policies.
    let decisions = host.admin("GET", "/decisions?limit=200", None);
    let verdicts = |part: &str| -> Vec<String> {
        let items = decisions["items"].as_array().unwrap();
        let mut found: Vec<String> = items
            .iter()
            .filter(|it| it["actor"] == json!(agent))
            .filter(|it| it.to_string().contains(part))
            .map(|it| it["verdict"].to_string())
            .collect();
        found.dedup();
        found
    };
    assert_eq!(verdicts("git reset --hard"), ["\"deny\""], "{decisions}");
    assert_eq!(verdicts("unittest"), ["\"allow\""], "{decisions}");
    let told = model.told();
    assert!(told.contains("FAILED"), "it saw the failing test");
    assert!(!told.contains(KEY), "no agent has the key");
    let verified = project.selfheal_in(&project.outside(), &["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

fn heals(maker: Maker) {
    let Some(program) = maker.installed() else {
        return;
    };
    let project = cart();
    let never = Arc::new(AtomicBool::new(false));
    let model = maker.model(&project, &never, &never);
    let host = TestHost::start(&project, |config, _| {
        maker.configure(&program, &project, model.url(), config);
        *config = config.replace("watch_seconds = 2.0", "watch_seconds = 0.5");
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    must_be_healed(maker, &project, &host, number, &model);
}

#[test]
fn claude_code_heals() {
    heals(CLAUDE);
}

#[test]
fn codex_heals() {
    heals(CODEX);
}

#[test]
fn an_acp_agent_heals() {
    heals(ACP);
}

/// Processes of this test's agent.
fn agents_of(project: &Project) -> Vec<String> {
    let mark = format!("{MARK}={}", project.outside().display());
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let environment = std::fs::read(path.join("environ")).ok()?;
            let ours = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes());
            ours.then(|| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_host_killed_while_claude_code_works_leaves_nothing_and_heals_after_its_next_start() {
    let maker = CLAUDE;
    let Some(program) = maker.installed() else {
        return;
    };
    let project = cart();
    let before = project.state();
    let (holds, held) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let model = maker.model(&project, &holds, &held);
    let host = TestHost::start(&project, |config, _| {
        maker.configure(&program, &project, model.url(), config);
        *config = config.replace("watch_seconds = 2.0", "watch_seconds = 0.5");
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let patience = Duration::from_secs(120);
    eventually("the draft is half done", patience, || {
        held.load(Ordering::SeqCst).then_some(())
    });
    assert!(!agents_of(&project).is_empty(), "it works");
    let admin = host.kill();
    eventually("nothing of it is left", patience, || {
        agents_of(&project).is_empty().then_some(())
    });
    let after = project.state();
    let changed = |name: &str| before.get(name) != after.get(name);
    assert!(
        !changed("cart.py") && !changed("git status --porcelain"),
        "the live tree is as it was"
    );
    holds.store(false, Ordering::SeqCst);
    let host = TestHost::restart(&project, admin);
    must_be_healed(maker, &project, &host, number, &model);
}

/// An abort does not wait for an agent that waits for its model.
fn aborts(maker: Maker) {
    let Some(program) = maker.installed() else {
        return;
    };
    let project = cart();
    let (holds, held) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let model = maker.model(&project, &holds, &held);
    let host = TestHost::start(&project, |config, _| {
        maker.configure(&program, &project, model.url(), config);
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let patience = Duration::from_secs(120);
    eventually("the draft is half done", patience, || {
        held.load(Ordering::SeqCst).then_some(())
    });
    let begun = Instant::now();
    let body = json!({ "reason": "enough" });
    host.admin("POST", &format!("/issues/{number}/abort"), Some(body));
    let issue = host.wait_for(number, &["ABORTED"]);
    eventually("nothing of it is left", patience, || {
        agents_of(&project).is_empty().then_some(())
    });
    println!("{}: aborted within {:?}", maker.title, begun.elapsed());
    assert_eq!(issue["runs"][0]["status"], "ABORTED", "{issue}");
}

#[test]
fn an_abort_ends_claude_code_and_all_that_it_started() {
    aborts(CLAUDE);
}

#[test]
#[ignore = "the same for the others; for a thorough look"]
fn an_abort_ends_every_agent() {
    aborts(CODEX);
    aborts(ACP);
}
