//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{
    ChangeKind, Context, Example, Expectation, Patch, PatchFile, Question, example, example_with,
    facts,
};

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
    let mut all: Vec<Example> = [
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
    .collect();
    all.extend(of_facts());
    all.extend(of_settings());
    all
}

/// Every factor that hangs on facts beyond the lines, and its twin without.
fn of_facts() -> Vec<Example> {
    let fix = || one("shop/cart.py", &["return a - b"], &["return a + b"]);
    let with = |change: &dyn Fn(&mut PatchFile)| {
        changed(fix(), |patch| patch.files.iter_mut().for_each(change))
    };
    let owned = |owners: &[&str]| {
        let names: Vec<String> = owners.iter().map(|name| (*name).to_owned()).collect();
        with(&move |file| file.owners.clone_from(&names))
    };
    let two_owners = || {
        let mut files = vec![
            facts::file("a.py", &["x = 1"], &["x = 2"]),
            facts::file("b.py", &["y = 1"], &["y = 2"]),
        ];
        for (file, owner) in files.iter_mut().zip(["@org/shop", "@org/stock"]) {
            file.owners.push(owner.to_owned());
        }
        facts::patch_of(files)
    };
    let new_file = |path: &str, lines: &[&str]| {
        changed(one(path, &[], lines), |patch| {
            for file in &mut patch.files {
                file.change = ChangeKind::Added;
            }
        })
    };
    let undone = || {
        let mut context = facts::context();
        context.earned.healed = 3;
        context.earned.rolled_back = 1;
        context
    };
    let failing = || {
        let mut context = facts::context();
        context.earned.failed = 3;
        context
    };
    let plain = facts::context;
    let rows: Vec<(&str, Context, Patch, (u32, u32))> = vec![
        (
            "three files import it",
            plain(),
            with(&|file| file.dependents = 3),
            (8, 24),
        ),
        (
            "a hundred files import it",
            plain(),
            with(&|file| file.dependents = 100),
            (30, 49),
        ),
        (
            "nobody knows how many do",
            plain(),
            with(&|file| file.dependents = u32::MAX),
            (30, 49),
        ),
        ("a team owns it", plain(), owned(&["@org/shop"]), (6, 6)),
        (
            "the security team owns it",
            plain(),
            owned(&["@org/security"]),
            (18, 24),
        ),
        ("two teams own it", plain(), two_owners(), (14, 24)),
        (
            "it was healed four times",
            plain(),
            with(&|file| file.earlier_heals = 4),
            (14, 14),
        ),
        (
            "its last heal was undone",
            plain(),
            with(&|file| file.earlier_rollbacks = 1),
            (18, 18),
        ),
        (
            "two were",
            plain(),
            with(&|file| file.earlier_rollbacks = 9),
            (30, 30),
        ),
        (
            "the service's last heal was undone",
            undone(),
            fix(),
            (16, 16),
        ),
        ("runs mostly fail here", failing(), fix(), (10, 10)),
        (
            "a public signature changes",
            plain(),
            one("shop/cart.py", &["def total(a):"], &["def total(a, b):"]),
            (18, 24),
        ),
        (
            "a private one does not count",
            plain(),
            one("shop/cart.py", &["def _total(a):"], &["def _total(a, b):"]),
            (6, 6),
        ),
        (
            "a new public function",
            plain(),
            one("src/lib.rs", &[], &["pub fn total() -> u32 { 3 }"]),
            (9, 9),
        ),
        (
            "an interface description",
            plain(),
            one("api/openapi.yaml", &["a: 1"], &["a: 2"]),
            (17, 24),
        ),
        (
            "a new file",
            plain(),
            new_file("shop/tax.py", &["RATE = 3"]),
            (11, 11),
        ),
        (
            "a new import",
            plain(),
            one("shop/cart.py", &[], &["import decimal"]),
            (8, 8),
        ),
        (
            "talking to others",
            plain(),
            one("shop/cart.py", &["x = 1"], &["x = requests.get(url)"]),
            (16, 16),
        ),
        (
            "swallowing errors",
            plain(),
            one(
                "shop/cart.py",
                &["f()"],
                &["try:", "    f()", "except ValueError:", "    pass"],
            ),
            (22, 24),
        ),
        (
            "a condition changes",
            plain(),
            one("shop/cart.py", &["if a < b:"], &["if a <= b:"]),
            (11, 11),
        ),
        (
            "a refusal goes",
            plain(),
            one("shop/cart.py", &["raise ValueError(a)"], &["return None"]),
            (16, 16),
        ),
        (
            "generated code",
            plain(),
            one("shop/gen.py", &["x = 1  # generated by protoc"], &["x = 2"]),
            (14, 14),
        ),
        (
            "a file goes",
            plain(),
            changed(fix(), |patch| {
                for file in &mut patch.files {
                    file.change = ChangeKind::Deleted;
                }
            }),
            (25, 49),
        ),
        (
            "core code",
            plain(),
            one("core/a.py", &["x = 1"], &["x = 2"]),
            (26, 49),
        ),
        (
            "concurrency",
            plain(),
            one("a.py", &["x = 1"], &["lock = 2"]),
            (11, 11),
        ),
    ];
    rows.into_iter()
        .map(|(name, context, patch, range)| {
            example(
                name,
                context,
                Question::Patch(patch),
                Expectation::Score(range),
            )
        })
        .collect()
}

fn of_settings() -> Vec<Example> {
    let rows: [(&str, &str, Patch, (u32, u32)); 4] = [
        (
            r#"{"payment_paths": ["tills/**"]}"#,
            "a path that is about money here",
            one("tills/a.py", &["a"], &["b"]),
            (36, 36),
        ),
        (
            r#"{"authentication_words": ["Badge"]}"#,
            "a word that is about authentication here",
            one("a.py", &["x"], &["read(badge)"]),
            (21, 21),
        ),
        (
            r#"{"weights": {"changes-code": 200}}"#,
            "a factor that weighs double here",
            one("a.py", &["x"], &["y"]),
            (12, 12),
        ),
        (
            r#"{"guardians": ["payments"]}"#,
            "an owner who guards here",
            changed(one("a.py", &["x"], &["y"]), |patch| {
                for file in &mut patch.files {
                    file.owners = vec!["@org/Payments".into()];
                }
            }),
            (18, 18),
        ),
    ];
    rows.into_iter()
        .map(|(settings, name, patch, range)| {
            example_with(
                settings,
                name,
                facts::context(),
                Question::Patch(patch),
                Expectation::Score(range),
            )
        })
        .collect()
}
