//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{Example, Expectation, Patch, PatchFile, Question, example, facts};

const LOW: (u32, u32) = (0, 24);
const HIGH_OR_MORE: (u32, u32) = (50, 100);

fn one(path: &str, removed: &[&str], added: &[&str]) -> Patch {
    facts::patch_of(vec![facts::file(path, removed, added)])
}

fn changed(mut patch: Patch, change: impl FnOnce(&mut Patch)) -> Patch {
    change(&mut patch);
    patch
}

fn edits_tests(path: &str) -> Patch {
    let mut file: PatchFile = facts::file(path, &["assert f() == 3"], &["assert f() == 4"]);
    file.test = true;
    facts::patch_of(vec![file])
}

pub(crate) fn all() -> Vec<Example> {
    let fix = || one("shop/cart.py", &["return a - b"], &["return a + b"]);
    let long: Vec<String> = (0..120).map(|n| format!("step_{n}()")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let many = (0..6)
        .map(|n| facts::file(&format!("src/m{n}.py"), &["a = 1"], &["a = 2"]))
        .collect();
    [
        ("a one-line fix with proof is low", fix(), LOW),
        (
            "still low with a severe issue and rivals",
            changed(fix(), |patch| {
                patch.severity = "CRITICAL".into();
                patch.rivals = 4;
            }),
            LOW,
        ),
        (
            "without proof it is not",
            changed(fix(), |patch| patch.reproduction_proved = false),
            (25, 60),
        ),
        (
            "a log line is very low",
            one("a.py", &[], &["logger.warning('slow')"]),
            (0, 5),
        ),
        (
            "formatting is nothing",
            one("a.js", &["if(a){b()}"], &["  if(a){b()}"]),
            (0, 2),
        ),
        (
            "indentation in Python is no formatting",
            one("a.py", &["return x"], &["    return x"]),
            (3, 24),
        ),
        (
            "configuration is low",
            one("config/app.json", &["\"retries\": 1"], &["\"retries\": 3"]),
            (0, 10),
        ),
        (
            "documents are nothing",
            one("docs/a.md", &["teh"], &["the"]),
            (0, 2),
        ),
        (
            "edited tests are high",
            edits_tests("tests/test_a.py"),
            (60, 100),
        ),
        (
            "authentication is not low",
            one("app/auth/session.py", &["ttl = 10"], &["ttl = 20"]),
            (25, 74),
        ),
        (
            "nor by its words alone in a larger change",
            changed(
                one("app/a.py", &["check(a)"], &["verify(password)"]),
                |patch| patch.rivals = 9,
            ),
            (25, 60),
        ),
        (
            "payment is not low",
            one("payments/charge.py", &["a"], &["b"]),
            (25, 74),
        ),
        (
            "nor a migration",
            one("db/migrations/1.sql", &["a"], &["b"]),
            (25, 74),
        ),
        (
            "a dangerous operation is high",
            one("a.py", &["int(x)"], &["eval(x)", "os.system(y)"]),
            (40, 100),
        ),
        ("many lines are not low", one("a.py", &[], &long), (25, 100)),
        ("many files are not low", facts::patch_of(many), (25, 100)),
        (
            "nothing but deletion is not low",
            one(
                "a.py",
                &["if not ok:", "    raise E", "check(a)", "check(b)"],
                &[],
            ),
            (25, 100),
        ),
        (
            "an unsure agent counts",
            changed(fix(), |patch| patch.claimed_confidence = 0.1),
            (12, 24),
        ),
        (
            "all of it is critical",
            changed(edits_tests("payments/test_auth.py"), |patch| {
                patch.reproduction_proved = false
            }),
            (75, 100),
        ),
        (
            "a workflow is not low",
            one(".github/workflows/ci.yml", &["a"], &["b"]),
            (25, 100),
        ),
        (
            "weakened tests are worse",
            changed(edits_tests("test_a.py"), |patch| {
                for file in &mut patch.files {
                    file.added.clear();
                }
            }),
            HIGH_OR_MORE,
        ),
    ]
    .into_iter()
    .map(|(name, patch, range)| {
        example(
            name,
            facts::context(),
            Question::Patch(patch),
            Expectation::Score(range),
        )
    })
    .collect()
}
