//! `selfheal heal` on repositories that have never heard of Selfheal.

use crate::programs::{TEST_COMMAND, cart, healed_cart, hopeless};
use selfheal_tests::{Project, Ran, foreign_command};

#[path = "../../host/crates/worktree/src/tests/trapped.rs"]
mod trapped;

fn heal(project: &Project, options: &[&str]) -> Ran {
    let mut arguments = vec!["heal", "--timeout", "60"];
    arguments.extend(options);
    arguments.push("--");
    arguments.extend(TEST_COMMAND.split(' '));
    project.selfheal(&arguments)
}

#[test]
fn a_failing_command_is_healed_and_nothing_is_left_behind() {
    let project = cart();
    let before = project.state();
    let ran = heal(&project, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer = ran.json();
    assert_eq!(answer["healed"], true);
    assert_eq!(answer["affectedFiles"], serde_json::json!(["cart.py"]));
    assert_eq!(answer["verification"]["result"], "PASS");
    assert!(
        answer["rootCause"]
            .as_str()
            .is_some_and(|cause| cause.contains("cart.py")),
        "{answer}"
    );
    assert!(answer["candidatesTried"].as_u64() > Some(0));
    assert_eq!(
        project.state(),
        before,
        "the repository is exactly as it was"
    );

    std::fs::write(
        project.outside().join("fix.patch"),
        answer["patch"].as_str().unwrap(),
    )
    .unwrap();
    project.git(&["apply", "../fix.patch"]);
    assert_eq!(project.read("cart.py"), healed_cart());
    let again = heal(&project, &[]);
    assert_eq!(again.code, 0);
    assert!(again.stdout.contains("nothing to heal"), "{again:?}");
}

#[test]
fn apply_makes_the_heal_commit_and_nothing_else() {
    let project = cart();
    project.write("notes.txt", "one\nmine, uncommitted\n");
    project.write("untracked.txt", "mine\n");
    let status = project.git(&["status", "--porcelain"]);
    let ran = heal(&project, &["--apply"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(project.read("cart.py"), healed_cart());
    assert_eq!(
        project.git(&["status", "--porcelain"]),
        status,
        "uncommitted work is as before"
    );
    let message = project.git(&["log", "-1", "--format=%B"]);
    assert!(
        message.contains("Selfheal-Kind: heal") && message.contains("Assisted-by: engine:builtin"),
        "{message}"
    );
    assert_eq!(
        project
            .git(&["show", "--name-only", "--format=", "HEAD"])
            .trim(),
        "cart.py"
    );
    assert_eq!(project.git(&["rev-list", "--count", "HEAD"]).trim(), "2");
}

#[test]
fn apply_is_refused_when_a_touched_file_is_dirty() {
    let project = cart();
    project.write("cart.py", &format!("# mine\n{}", project.read("cart.py")));
    let before = project.state();
    let ran = heal(&project, &["--apply"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("cart.py") && ran.stderr.contains("uncommitted"),
        "{ran:?}"
    );
    assert_eq!(project.state(), before);
}

#[test]
fn no_fix_is_said_plainly() {
    let project = hopeless();
    let before = project.state();
    let ran = project.selfheal(&[
        "heal",
        "--timeout",
        "30",
        "--json",
        "--",
        "python3",
        "-m",
        "unittest",
        "-q",
    ]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let answer = ran.json();
    assert_eq!(answer["healed"], false);
    assert!(
        answer["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{answer}"
    );
    assert_eq!(project.state(), before);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let project = cart();
    assert_eq!(project.selfheal(&["heal"]).code, 2);
    assert_eq!(
        project
            .selfheal(&["heal", "--timeout", "0", "--", "true"])
            .code,
        2
    );
    let outside = project.selfheal_in(&project.outside(), &["heal", "--", "false"]);
    assert_eq!(outside.code, 2, "{outside:?}");
    assert!(outside.stderr.contains("git"), "{outside:?}");
}

#[test]
fn a_mistyped_command_is_not_taken_for_a_broken_program() {
    let project = cart();
    for command in [&["pyhton3", "-m", "pytest"][..], &["./no-such-script"]] {
        let arguments: Vec<&str> = ["heal", "--"].iter().chain(command).copied().collect();
        let ran = project.selfheal(&arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        let expected = format!("command not found: {}", command.first().unwrap());
        assert!(ran.stderr.contains(&expected), "{ran:?}");
    }
}

/// Git as anybody runs it, whose own settings are those of the repository alone.
fn git(project: &Project, arguments: &[&str]) -> String {
    let output = foreign_command("git")
        .args(arguments)
        .current_dir(project.app())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Hooks, filters, drivers, includes, submodules, false objects: nothing of a hostile
/// repository runs while one command in it is healed, and the heal is the right one.
#[test]
fn no_trap_of_a_hostile_repository_is_sprung() {
    let project = cart();
    let app = project.app();
    trapped::lay(&app, &|arguments| git(&project, arguments));
    for options in [&["--json"][..], &["--apply"]] {
        let ran = heal(&project, options);
        assert_eq!(ran.code, 0, "{options:?}: {ran:?}");
        assert_eq!(trapped::sprung(&app), Vec::<String>::new(), "{options:?}");
    }
    assert_eq!(project.read("cart.py"), healed_cart());
    // The traps are real: git itself steps into them.
    git(&project, &["status"]);
    let sprung = trapped::sprung(&app);
    assert!(
        sprung.iter().any(|name| name.contains("fsmonitor")),
        "{sprung:?}"
    );
}
