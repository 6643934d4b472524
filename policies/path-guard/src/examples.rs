//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{
    AccessMode, Example, Expectation, Phase, Question, ToolCall, example, example_with, facts,
};

pub(crate) fn all() -> Vec<Example> {
    use AccessMode::{Create, Delete, Read, Write};
    let mut all = Vec::new();
    for (tool, path, mode, expect) in [
        ("Write", "src/app.py", Write, Expectation::Allow),
        ("Edit", "web/index.js", Write, Expectation::Allow),
        ("Write", "src/new.py", Create, Expectation::Allow),
        ("Read", "src/app.py", Read, Expectation::Allow),
        ("Read", "/usr/lib/python3/os.py", Read, Expectation::Allow),
        ("Read", ".github/workflows/ci.yml", Read, Expectation::Allow),
        ("Bash", "build/out.txt", Create, Expectation::Allow),
        ("Bash", "src/app.py", Delete, Expectation::Ask),
        ("Bash", "/tmp/out.txt", Create, Expectation::Allow),
        ("Write", "/tmp/out.txt", Create, Expectation::Deny),
        ("Write", "/etc/passwd", Write, Expectation::Deny),
        ("Bash", "/etc/passwd", Write, Expectation::Deny),
        ("Bash", "/home/user/.bashrc", Delete, Expectation::Deny),
        ("Edit", ".git/config", Write, Expectation::Deny),
        ("Bash", ".git/hooks/pre-commit", Create, Expectation::Deny),
        ("Bash", "vendor/lib/.GIT/config", Write, Expectation::Deny),
        (
            "Write",
            ".github/workflows/ci.yml",
            Write,
            Expectation::Deny,
        ),
        ("Write", "policy.toml", Write, Expectation::Deny),
        ("Write", ".env", Write, Expectation::Deny),
        ("Read", ".env", Read, Expectation::Deny),
        ("Read", "deploy/server.pem", Read, Expectation::Deny),
        ("Bash", "/root/.ssh/id_rsa", Read, Expectation::Deny),
        ("Bash", "/etc/shadow", Read, Expectation::Deny),
        ("Bash", "/proc/self/environ", Read, Expectation::Deny),
    ] {
        let name = format!("{tool} {mode:?} {path}");
        all.push(example(
            &name,
            facts::context(),
            facts::access(tool, path, mode),
            expect,
        ));
    }
    let mut diagnosis = facts::context();
    diagnosis.phase = Phase::Diagnosis;
    all.push(example(
        "no edits while diagnosing",
        diagnosis,
        facts::access("Edit", "a.py", Write),
        Expectation::Deny,
    ));
    all.push(example(
        "a plain patch",
        facts::context(),
        facts::patch(vec![facts::file("a.py", &["x"], &["y"])]),
        Expectation::Allow,
    ));
    for path in [
        ".git/config",
        "../a.py",
        "/etc/passwd",
        ".github/workflows/ci.yml",
        "deploy/.env",
    ] {
        let patch = facts::patch(vec![facts::file(path, &["x"], &["y"])]);
        all.push(example(
            &format!("no patch of {path}"),
            facts::context(),
            patch,
            Expectation::Deny,
        ));
    }
    let settings =
        r#"{"protected_paths": ["billing/**"], "secret_paths": ["vault"], "scratch_paths": []}"#;
    for (tool, path, mode, expect) in [
        ("Write", "billing/tax.py", Write, Expectation::Deny),
        ("Read", "vault/key", Read, Expectation::Deny),
        ("Bash", "/tmp/x", Create, Expectation::Deny),
        ("Write", "shop/cart.py", Write, Expectation::Allow),
    ] {
        all.push(example_with(
            settings,
            path,
            facts::context(),
            facts::access(tool, path, mode),
            expect,
        ));
    }
    of_settings(&mut all);
    all
}

/// Settings beside the defaults, and facts that a plain path does not have.
fn of_settings(all: &mut Vec<Example>) {
    use AccessMode::{Create, Delete, Read, Write};
    let mut add = |settings: &str, name: &str, call: ToolCall, expect| {
        all.push(example_with(
            settings,
            name,
            facts::context(),
            Question::ToolCall(call),
            expect,
        ));
    };
    let src = r#"{"allowed_paths": ["src/**"]}"#;
    let call = facts::access_call;
    add(
        src,
        "a listed path",
        call("Edit", "src/a.py", Write),
        Expectation::Allow,
    );
    add(
        src,
        "a path that is not listed",
        call("Edit", "web/a.js", Write),
        Expectation::Deny,
    );
    add(
        src,
        "reading is not writing",
        call("Read", "web/a.js", Read),
        Expectation::Allow,
    );
    let denied = r#"{"denied_paths": ["private/**", "/srv/**"]}"#;
    add(
        denied,
        "a denied path",
        call("Read", "private/a", Read),
        Expectation::Deny,
    );
    add(
        denied,
        "a denied path outside",
        call("Read", "/srv/a", Read),
        Expectation::Deny,
    );
    let drafting = r#"{"command_write_phases": ["verification"]}"#;
    add(
        drafting,
        "a command that writes now",
        call("Bash", "a.txt", Create),
        Expectation::Deny,
    );
    let asked = r#"{"tracked_deletes": "ask", "links": "ask"}"#;
    add(
        asked,
        "a tracked file deleted",
        call("Bash", "a.py", Delete),
        Expectation::Ask,
    );
    let mut untracked = call("Bash", "a.py", Delete);
    let mut linked = call("Edit", "a.py", Write);
    let mut guessed = call("Bash", "/opt/x", Write);
    let mut protected = call("Edit", "a.py", Write);
    let mut private = call("Read", "/var/lib/selfheal/journal", Read);
    let mut large = call("Write", "a.py", Write);
    for access in &mut untracked.paths {
        access.tracked = false;
    }
    for access in &mut linked.paths {
        access.link = Some("b.py".into());
    }
    for access in &mut guessed.paths {
        access.certain = false;
    }
    for access in protected.paths.iter_mut().chain(&mut private.paths) {
        access.protected = true;
    }
    large.bytes = 2 << 20;
    add(
        asked,
        "one that git does not know",
        untracked,
        Expectation::Allow,
    );
    add(
        asked,
        "a write through a link",
        linked.clone(),
        Expectation::Ask,
    );
    add(
        "{}",
        "a link inside the workspace",
        linked,
        Expectation::Allow,
    );
    add("{}", "a guess outside is asked", guessed, Expectation::Ask);
    add("{}", "what the host protects", protected, Expectation::Deny);
    add("{}", "what is the host's own", private, Expectation::Deny);
    add(
        "{}",
        "two MiB in one call",
        large.clone(),
        Expectation::Deny,
    );
    add(
        r#"{"max_write_bytes": 4194304}"#,
        "where that is allowed",
        large,
        Expectation::Allow,
    );
    let mut unknown = call("Edit", "a.py", Write);
    unknown.paths.clear();
    add(
        "{}",
        "a write to nobody knows where",
        unknown,
        Expectation::Deny,
    );
    let mut context = facts::context();
    context.counters.files_written = 1_000;
    all.push(example(
        "the thousand and first file of a run",
        context,
        facts::access("Write", "a.py", Write),
        Expectation::Deny,
    ));
}
