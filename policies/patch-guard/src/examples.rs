//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{
    Example, Expectation, PatchFile, Question, example, example_with, facts,
};

fn one(path: &str, removed: &[&str], added: &[&str]) -> Vec<PatchFile> {
    vec![facts::file(path, removed, added)]
}

fn many(count: usize) -> Vec<PatchFile> {
    (0..count)
        .map(|n| facts::file(&format!("src/m{n}.py"), &["a = 1"], &["a = 2"]))
        .collect()
}

fn long(lines: usize) -> Vec<PatchFile> {
    let text: Vec<String> = (0..lines).map(|n| format!("x{n} = {n}")).collect();
    let lines: Vec<&str> = text.iter().map(String::as_str).collect();
    one("src/long.py", &[], &lines)
}

fn test_edit() -> Vec<PatchFile> {
    let mut files = one(
        "tests/test_a.py",
        &["assert f() == 3"],
        &["assert f() == 4"],
    );
    for file in &mut files {
        file.test = true;
    }
    files
}

fn binary() -> Question {
    let mut patch = facts::patch_of(one("logo.png", &[], &["x"]));
    patch.diff = "diff --git a/logo.png b/logo.png\nGIT binary patch\nliteral 3\n".into();
    Question::Patch(patch)
}

fn link() -> Question {
    let mut patch = facts::patch_of(one("data", &[], &["/etc/passwd"]));
    patch.diff = "diff --git a/data b/data\nnew file mode 120000\n+/etc/passwd\n".into();
    Question::Patch(patch)
}

pub(crate) fn all() -> Vec<Example> {
    let context = facts::context;
    let secret = ["API_KEY = '", "q8Zx71LwPq9RtVbN3c", "'"].concat();
    let mut all = vec![
        example(
            "a fix in one line",
            context(),
            facts::patch(one("src/a.py", &["return a - b"], &["return a + b"])),
            Expectation::Allow,
        ),
        example(
            "a guard",
            context(),
            facts::patch(one("web/a.js", &[], &["if (!user) return null;"])),
            Expectation::Allow,
        ),
        example(
            "five files",
            context(),
            facts::patch(many(5)),
            Expectation::Allow,
        ),
        example(
            "a dangerous line that only moves",
            context(),
            facts::patch(one(
                "a.py",
                &["  os.system(x)"],
                &["    os.system(x)", "y = 1"],
            )),
            Expectation::Allow,
        ),
        example(
            "six files",
            context(),
            facts::patch(many(6)),
            Expectation::Deny,
        ),
        example(
            "201 lines",
            context(),
            facts::patch(long(201)),
            Expectation::Deny,
        ),
        example(
            "nothing at all",
            context(),
            facts::patch(Vec::new()),
            Expectation::Deny,
        ),
        example(
            "a secret",
            context(),
            facts::patch(one("a.py", &[], &[&secret])),
            Expectation::Deny,
        ),
        example(
            "eval",
            context(),
            facts::patch(one("a.py", &["int(x)"], &["eval(x)"])),
            Expectation::Deny,
        ),
        example(
            "a shell",
            context(),
            facts::patch(one("a.py", &[], &["subprocess.run(x, shell=True)"])),
            Expectation::Deny,
        ),
        example(
            "another program from JavaScript",
            context(),
            facts::patch(one("a.js", &[], &["require('child_process').exec(x)"])),
            Expectation::Deny,
        ),
        example(
            "rmtree",
            context(),
            facts::patch(one("a.py", &[], &["shutil.rmtree(p)"])),
            Expectation::Deny,
        ),
        example(
            "drop table",
            context(),
            facts::patch(one("a.sql", &[], &["DROP TABLE users;"])),
            Expectation::Deny,
        ),
        example(
            "delete everything",
            context(),
            facts::patch(one("a.py", &[], &["db.execute('DELETE FROM users')"])),
            Expectation::Deny,
        ),
        example(
            "delete one row",
            context(),
            facts::patch(one(
                "a.py",
                &[],
                &["db.execute('DELETE FROM users WHERE id = ?', (i,))"],
            )),
            Expectation::Allow,
        ),
        example(
            "a new dependency",
            context(),
            facts::patch(one("requirements.txt", &[], &["left-pad==1"])),
            Expectation::Deny,
        ),
        example(
            "a new script in package.json",
            context(),
            facts::patch(one("web/package.json", &[], &["\"postinstall\": \"x\""])),
            Expectation::Deny,
        ),
        example(
            "a workflow",
            context(),
            facts::patch(one(".github/workflows/ci.yml", &["a"], &["b"])),
            Expectation::Deny,
        ),
        example(
            "tests edited",
            context(),
            facts::patch(test_edit()),
            Expectation::Ask,
        ),
        example("binary content", context(), binary(), Expectation::Deny),
        example("a symbolic link", context(), link(), Expectation::Deny),
    ];
    let settings = r#"{"max_files": 2, "max_changed_lines": 10, "allowed_paths": ["src/**"], "dependencies": "ask", "dangerous_operations": "ask", "tests": "deny"}"#;
    for (name, files, expect) in [
        ("inside the allowed paths", many(2), Expectation::Allow),
        ("more files than set", many(3), Expectation::Deny),
        ("more lines than set", long(11), Expectation::Deny),
        (
            "outside the allowed paths",
            one("web/a.js", &["a"], &["b"]),
            Expectation::Deny,
        ),
        (
            "dependencies are asked",
            one("src/requirements.txt", &[], &["a==1"]),
            Expectation::Ask,
        ),
        (
            "danger is asked",
            one("src/a.py", &[], &["eval(x)"]),
            Expectation::Ask,
        ),
    ] {
        all.push(example_with(
            settings,
            name,
            context(),
            facts::patch(files),
            expect,
        ));
    }
    all
}
