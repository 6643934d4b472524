//! Services through the binary: told by the command line, adopted after a crash.

use crate::programs::cart;
use selfheal_tests::{Project, Ran, TestHost, eventually};
use serde_json::Value;
use std::time::Duration;

const SERVICES: &str = r#"
[[service]]
name = "web"
after = ["db"]
command = "trap 'echo reloaded' HUP; echo web $$ >> starts; echo up; while :; do sleep 0.05; done"
ready = { log = "up" }
reload = "HUP"
orphan_seconds = 120
[[service]]
name = "db"
command = "echo db $$ >> starts; exec sleep 98765"
orphan_seconds = 120
"#;

fn with_services(config: &mut String) {
    config.push_str(SERVICES);
}

fn service(project: &Project, host: &TestHost, arguments: &[&str]) -> Ran {
    let words: Vec<&str> = ["service"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let environment = [
        ("SELFHEAL_URL", host.url()),
        ("SELFHEAL_TOKEN", &host.admin),
    ];
    project.selfheal_with(&project.outside(), &words, &environment)
}

fn shown(project: &Project, host: &TestHost, name: &str) -> Value {
    let ran = service(project, host, &["show", name, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

#[test]
fn services_are_managed_by_command_line_and_adopted_after_a_crash() {
    let project = cart();
    let host = TestHost::start(&project, |config, _| with_services(config));
    let ran = service(&project, &host, &["list"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let order: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(order, ["db", "web"], "{ran:?}");
    let web = shown(&project, &host, "web");
    assert_eq!(web["state"], "running", "{web}");
    assert!(
        web["usage"]["residentBytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{web}"
    );
    assert!(
        web["uptimeSeconds"].is_u64() && web["after"][0] == "db",
        "{web}"
    );
    assert_eq!(service(&project, &host, &["reload", "web"]).code, 0);
    assert_eq!(shown(&project, &host, "web")["pid"], web["pid"]);
    eventually(
        "the log tells of the reload",
        Duration::from_secs(30),
        || {
            let log = service(&project, &host, &["logs", "web"]).stdout;
            log.contains("reloaded").then_some(())
        },
    );

    // Killed, started again: the same processes, none twice.
    let admin = host.kill();
    let host = TestHost::restart(&project, admin);
    let adopted = shown(&project, &host, "web");
    assert_eq!(adopted["pid"], web["pid"]);
    assert_eq!(adopted["adopted"], true, "{adopted}");
    assert_eq!(project.read("starts").lines().count(), 2);

    // And they obey.
    assert_eq!(service(&project, &host, &["stop", "web"]).code, 0);
    assert_eq!(shown(&project, &host, "web")["state"], "stopped");
    let refused = service(&project, &host, &["reload", "web"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("start it"),
        "{refused:?}"
    );
    assert_eq!(service(&project, &host, &["start", "web"]).code, 0);
    assert_ne!(shown(&project, &host, "web")["pid"], web["pid"]);
    assert_eq!(service(&project, &host, &["restart", "nothing"]).code, 1);
    assert_eq!(service(&project, &host, &["show", "../users"]).code, 2);
    for name in ["db", "web"] {
        assert_eq!(service(&project, &host, &["stop", name]).code, 0);
    }
    drop(host);
    let log = project.selfheal_in(&project.outside(), &["audit", "log", "--json"]);
    for wanted in [
        "\"what\":\"adopted\"",
        "\"operation\":\"stop\"",
        "\"operation\":\"reload\"",
    ] {
        assert!(
            log.stdout.contains(wanted),
            "{wanted} is missing in:\n{}",
            log.stdout
        );
    }
}

#[test]
fn services_that_wait_for_each_other_are_an_error_that_names_them() {
    let project = cart();
    let outside = project.outside();
    let ran = project.selfheal_in(&outside, &["init", "--app", "app", "--data", "data"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let file = outside.join("selfheal.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let cyclic = SERVICES.replace("name = \"db\"", "name = \"db\"\nafter = [\"web\"]");
    std::fs::write(&file, text + &cyclic).unwrap();
    let ran = project.selfheal_in(&outside, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("web after db after web"), "{ran:?}");
}
