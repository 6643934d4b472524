//! `selfheal hook install` writes settings that work, and says so only where it was
//! seen to be so.

use crate::programs::cart;
use selfheal_tests::{Project, Ran, TestHost};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Desk {
    project: Project,
    host: TestHost,
}

impl Desk {
    fn new() -> Self {
        let project = cart();
        let host = TestHost::start(&project, |_, _| {});
        std::fs::create_dir_all(project.outside().join("home")).unwrap();
        Self { project, host }
    }

    fn home(&self) -> PathBuf {
        self.project.outside().join("home")
    }

    fn hook(&self, arguments: &[&str]) -> Ran {
        let home = self.home().display().to_string();
        let mut all = vec!["hook"];
        all.extend(arguments);
        let environment = [
            ("HOME", home.as_str()),
            ("XDG_CONFIG_HOME", ""),
            ("CLAUDE_CONFIG_DIR", ""),
            ("CODEX_HOME", ""),
            ("SELFHEAL_CONFIG", "../selfheal.toml"),
            ("SELFHEAL_URL", self.host.url()),
        ];
        self.project
            .selfheal_with(&self.project.app(), &all, &environment)
    }
}

fn read(file: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn settings_are_written_proved_and_taken_out_again() {
    let desk = Desk::new();
    let mut tokens = Vec::new();
    for (agent, file) in [
        ("claude-code", ".claude/settings.json"),
        ("codex", ".codex/hooks.json"),
        ("gemini", ".gemini/settings.json"),
    ] {
        let file = desk.home().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let theirs = json!({ "theme": "dark", "hooks": { "Stop": [{ "hooks": [
            { "type": "command", "command": "bell" }
        ] }] } });
        std::fs::write(&file, theirs.to_string()).unwrap();
        // Nothing yet.
        let ran = desk.hook(&["status", "--agent", agent]);
        assert_eq!(ran.code, 1, "{ran:?}");
        // Only shown.
        let ran = desk.hook(&["install", "--agent", agent, "--dry-run"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("would write"), "{ran:?}");
        assert_eq!(read(&file), theirs);
        // Written and proved.
        let ran = desk.hook(&["install", "--agent", agent, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let report = ran.json();
        assert_eq!(report["proved"], true);
        assert_eq!(report["account"], format!("hook-{agent}-1"));
        assert!(!report["warnings"].as_array().unwrap().is_empty());
        let backup = PathBuf::from(report["backup"].as_str().unwrap());
        assert_eq!(read(&backup), theirs);
        let written = read(&file);
        assert_eq!(written["theme"], "dark");
        assert_eq!(written["hooks"]["Stop"], theirs["hooks"]["Stop"]);
        assert!(
            !written.to_string().contains("sfh_"),
            "no token in the settings"
        );
        let kept = desk
            .home()
            .join(format!(".config/selfheal/hooks/{agent}.json"));
        let mode = std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        // Again: nothing changes, no other account.
        let ran = desk.hook(&["install", "--agent", agent, "--json"]);
        assert_eq!(ran.json()["account"], Value::Null, "{ran:?}");
        assert_eq!(read(&file), written);
        let ran = desk.hook(&["status", "--agent", agent]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("proved"), "{ran:?}");
        // A token that is gone is noticed.
        let token = std::fs::read_to_string(&kept).unwrap();
        tokens.push(serde_json::from_str::<Value>(&token).unwrap()["token"].clone());
        std::fs::write(&kept, token.replace("sfh_", "sfh_0")).unwrap();
        let ran = desk.hook(&["status", "--agent", agent]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stdout.contains("not proved"), "{ran:?}");
        let ran = desk.hook(&["uninstall", "--agent", agent]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let closed = format!("the account hook-{agent}-1 is closed");
        assert!(ran.stdout.contains(&closed), "{ran:?}");
        assert_eq!(read(&file), theirs);
        assert!(!kept.exists());
        let ran = desk.hook(&["uninstall", "--agent", agent]);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
    // The marker calls are on record, and nothing else happened.
    let decisions = desk.host.admin("GET", "/decisions?limit=200", None);
    let of_hooks = decisions["items"].as_array().unwrap().iter();
    let asked: Vec<_> = of_hooks.filter(|it| it["external"].is_object()).collect();
    assert!(asked.len() >= 6, "{asked:?}");
    assert!(asked.iter().all(|it| it["external"]["answer"] == "deny"));
    let users = desk.host.admin("GET", "/users", None);
    let hooks = users["items"].as_array().unwrap().iter();
    let closed = hooks.filter(|it| it["name"].as_str().unwrap().starts_with("hook-"));
    let closed: Vec<_> = closed.map(|it| &it["hasToken"]).collect();
    assert_eq!(closed, [false, false, false]);
    for token in tokens {
        let refused = desk
            .host
            .send(token.as_str().unwrap(), "GET", "/session", None);
        assert_eq!(refused.status, 401, "{refused:?}");
    }
}

#[test]
fn only_an_account_of_a_hook_is_closed_and_only_if_wanted() {
    let desk = Desk::new();
    let kept = desk.home().join(".config/selfheal/hooks/gemini.json");
    for (account, more, said) in [
        (None, Some("--keep-account"), "stays open, as you asked"),
        // Whoever writes this file must not close an admin's account.
        (Some("admin"), None, "no account of role hook"),
    ] {
        let ran = desk.hook(&["install", "--agent", "gemini"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        if let Some(account) = account {
            let mut credentials = read(&kept);
            credentials["account"] = json!(account);
            std::fs::write(&kept, credentials.to_string()).unwrap();
        }
        let mut arguments = vec!["uninstall", "--agent", "gemini"];
        arguments.extend(more);
        let ran = desk.hook(&arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(said), "{ran:?}");
    }
    let users = desk.host.admin("GET", "/users", None);
    let open = users["items"].as_array().unwrap().iter();
    assert_eq!(
        open.filter(|it| it["hasToken"] == false).count(),
        0,
        "{users}"
    );
}

#[test]
fn over_http_the_token_is_in_settings_that_only_the_user_reads() {
    let desk = Desk::new();
    let ran = desk.hook(&[
        "install",
        "--agent",
        "claude-code",
        "--http",
        "--scope",
        "project",
        "--json",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(
        (&report["proved"], &report["way"]),
        (&json!(true), &json!("http"))
    );
    let file = desk.project.app().join(".claude/settings.local.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let written = read(&file);
    assert_eq!(written["disableAllHooks"], false);
    assert_eq!(
        written["hooks"]["PreToolUse"][0]["hooks"][0]["onFailure"],
        "block"
    );
    let ran = desk.hook(&["status", "--agent", "claude-code", "--scope", "project"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for agent in ["codex", "gemini"] {
        let ran = desk.hook(&["install", "--agent", agent, "--http"]);
        assert_eq!(ran.code, 2, "{ran:?}");
    }
}

#[test]
fn without_a_host_it_is_not_called_proved() {
    let desk = Desk::new();
    let ran = desk.hook(&["install", "--agent", "gemini"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let Desk { project, host } = desk;
    let url = host.url().to_owned();
    host.kill();
    let home = project.outside().join("home").display().to_string();
    for arguments in [
        &["hook", "status", "--agent", "gemini"][..],
        &[
            "hook",
            "install",
            "--agent",
            "claude-code",
            "--token",
            "sfh_x",
            "--url",
            &url,
        ],
    ] {
        let environment = [("HOME", home.as_str()), ("XDG_CONFIG_HOME", "")];
        let ran = project.selfheal_with(&project.app(), arguments, &environment);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stdout.contains("not proved"), "{ran:?}");
    }
    // Settings that are none are left alone.
    let file = project.outside().join("home/.codex/hooks.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{ not json").unwrap();
    let arguments = [
        "hook", "install", "--agent", "codex", "--token", "sfh_x", "--url", &url,
    ];
    let ran = project.selfheal_with(&project.app(), &arguments, &[("HOME", &home)]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("nothing was changed"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ not json");
}
