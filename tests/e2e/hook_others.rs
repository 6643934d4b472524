//! The real Codex and Gemini CLI on loopback, with scripted models and our hooks in
//! their settings, everything else switched off: what policies deny does not run.

use crate::programs::cart;
use selfheal_tests::{Dialect, Project, ScriptedModel, TestHost, agent_program, foreign_command};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Output, Stdio};

const CODEX: &str = "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex";
const GEMINI: &str = "@google/gemini-cli/bundle/gemini.js";

/// Harmless, harmful, and one that needs a person.
const COMMANDS: [&str; 4] = [
    "echo ok > harmless.txt",
    "git reset --hard HEAD~1; touch harmful-1.txt",
    "x=$(date +%s); echo y > \"harmful-2-$x.txt\"",
    "echo ok > harmless-2.txt",
];

fn host(project: &Project) -> TestHost {
    TestHost::start(project, |_, policy| {
        *policy = policy.replace("environment = \"production\"", "environment = \"local\"");
    })
}

fn home(project: &Project) -> PathBuf {
    let home = project.outside().join("home");
    std::fs::create_dir_all(&home).unwrap();
    home
}

fn install(project: &Project, host: &TestHost, agent: &str) {
    let home = home(project).display().to_string();
    let config = project
        .outside()
        .join("selfheal.toml")
        .display()
        .to_string();
    let arguments = [
        "hook",
        "install",
        "--agent",
        agent,
        "--config",
        &config,
        "--url",
        host.url(),
    ];
    let environment = [("HOME", home.as_str()), ("XDG_CONFIG_HOME", "")];
    let ran = project.selfheal_with(&project.app(), &arguments, &environment);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("proved"), "{ran:?}");
}

fn start(project: &Project, program: &str, arguments: &[&str], model: &ScriptedModel) -> Output {
    foreign_command(program)
        .args(arguments)
        .current_dir(project.app())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home(project))
        .env("TMPDIR", project.outside())
        .env("LOOP_KEY", "dummy")
        .env("GEMINI_API_KEY", "dummy")
        .env("GEMINI_CLI_TRUST_WORKSPACE", "true")
        .env("GOOGLE_GEMINI_BASE_URL", model.url())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn harmful(project: &Project) -> bool {
    let entries = std::fs::read_dir(project.app()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .into_iter()
        .any(|name| name.to_string_lossy().starts_with("harmful"))
}

fn must_be_guarded(project: &Project, model: &ScriptedModel, output: &Output) {
    let shown = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    for name in ["harmless.txt", "harmless-2.txt"] {
        assert!(project.app().join(name).exists(), "{name}: {shown} {said}");
    }
    assert!(!harmful(project), "{shown} {said}");
    assert!(model.last().contains("selfheal, rule "), "{}", model.last());
    assert!(
        model.last().contains("nobody can be asked here"),
        "{}",
        model.last()
    );
}

#[test]
fn codex_asks_us_before_each_command_and_obeys() {
    let Some(program) = agent_program(CODEX, "Codex") else {
        return;
    };
    let program = program.display().to_string();
    let project = cart();
    let host = host(&project);
    install(&project, &host, "codex");
    let calls = COMMANDS.map(|command| ("exec_command", json!({ "cmd": command })));
    let model = ScriptedModel::speaking(Dialect::OpenAi, &calls);
    let configure = |model: &ScriptedModel| {
        let config = format!(
            "model = \"test\"\nmodel_provider = \"loop\"\n[model_providers.loop]\nname = \"loop\"\n\
             base_url = \"{}/v1\"\nwire_api = \"responses\"\nenv_key = \"LOOP_KEY\"\n",
            model.url()
        );
        std::fs::write(home(&project).join(".codex/config.toml"), config).unwrap();
    };
    // Nothing of its own holds it back; the trust in our hooks is taken as given.
    let arguments = [
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-bypass-hook-trust",
        "go",
    ];
    configure(&model);
    let output = start(&project, &program, &arguments, &model);
    must_be_guarded(&project, &model, &output);
    // After the host is gone nothing runs.
    host.kill();
    let late = [("exec_command", json!({ "cmd": "touch harmful-late.txt" }))];
    let model = ScriptedModel::speaking(Dialect::OpenAi, &late);
    configure(&model);
    start(&project, &program, &arguments, &model);
    assert!(!harmful(&project));
    assert!(
        model.last().contains("host.unreachable"),
        "{}",
        model.last()
    );
}

#[test]
fn gemini_asks_us_before_each_command_and_obeys() {
    let Some(script) = agent_program(GEMINI, "Gemini CLI") else {
        return;
    };
    let script = script.display().to_string();
    let project = cart();
    let host = host(&project);
    let settings = home(&project).join(".gemini/settings.json");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let theirs = json!({ "security": { "auth": { "selectedType": "gemini-api-key" } } });
    std::fs::write(&settings, theirs.to_string()).unwrap();
    install(&project, &host, "gemini");
    let call = |command: &str| json!({ "command": command, "description": "d" });
    let calls = COMMANDS.map(|command| ("run_shell_command", call(command)));
    let model = ScriptedModel::speaking(Dialect::Gemini, &calls);
    let arguments = [
        script.as_str(),
        "--yolo",
        "-m",
        "gemini-2.5-flash",
        "-p",
        "go",
    ];
    let output = start(&project, "node", &arguments, &model);
    must_be_guarded(&project, &model, &output);
    host.kill();
    let late = [("run_shell_command", call("touch harmful-late.txt"))];
    let model = ScriptedModel::speaking(Dialect::Gemini, &late);
    start(&project, "node", &arguments, &model);
    assert!(!harmful(&project));
    assert!(
        model.last().contains("host.unreachable"),
        "{}",
        model.last()
    );
}
