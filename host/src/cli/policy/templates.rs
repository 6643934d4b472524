//! What a new project begins with.

use super::project::{Kind, Language};

/// What templates are filled with.
struct Words<'a> {
    name: &'a str,
    kind: Kind,
    language: Language,
    sdk: &'a str,
}

impl Words<'_> {
    fn fill(&self, template: &str) -> String {
        let check = match self.language {
            Language::Rust => "cargo test                    # plain Rust, no WebAssembly needed",
            Language::Javascript => "node --check policy.js        # no WebAssembly needed",
            Language::Python => "python3 -m py_compile policy.py",
        };
        let (starts_with, settings, corpus) = match self.kind {
            Kind::Guardrail => (
                "two rules: programs that no agent may start, and files whose patches a person looks at",
                "denied_programs = [\"docker\"]",
                ", and the shell corpus",
            ),
            Kind::Risk => (
                "two factors: files that are touched with care, and size",
                "careful_points = 60",
                "",
            ),
            Kind::Autonomy => (
                "one rule for patches (the score) and one for issues (critical, outside production)",
                "highest_score = 20",
                "",
            ),
        };
        let pairs = [
            ("{{name}}", self.name),
            ("{{prefix}}", self.name),
            ("{{kind}}", self.kind.name()),
            ("{{language}}", self.language.name()),
            ("{{source}}", self.language.source()),
            ("{{sdk}}", self.sdk),
            ("{{check_command}}", check),
            ("{{starts_with}}", starts_with),
            ("{{settings_example}}", settings),
            ("{{corpus_hint}}", corpus),
        ];
        let filled = template.replace("{{type}}", &type_name(self.name));
        pairs
            .iter()
            .fold(filled, |text, (key, value)| text.replace(key, value))
    }
}

/// Path and text of every file but the project file and what is vendored.
pub(crate) fn files(
    name: &str,
    kind: Kind,
    language: Language,
    sdk: &str,
) -> Vec<(String, String)> {
    let words = Words {
        name,
        kind,
        language,
        sdk,
    };
    let mut templates = vec![
        ("README.md", include_str!("templates/README.md.template")),
        (language.source(), source(kind, language)),
    ];
    match language {
        Language::Rust => templates.extend([
            (
                "Cargo.toml",
                include_str!("templates/rust/Cargo.toml.template"),
            ),
            (
                ".gitignore",
                include_str!("templates/rust/gitignore.template"),
            ),
        ]),
        Language::Javascript => templates.extend([
            (
                "selfheal.js",
                include_str!("templates/javascript/selfheal.js.template"),
            ),
            (
                "package.json",
                "{ \"name\": \"{{name}}\", \"private\": true, \"type\": \"module\" }\n",
            ),
            (
                ".gitignore",
                include_str!("templates/javascript/gitignore.template"),
            ),
        ]),
        Language::Python => templates.extend([
            (
                "selfheal.py",
                include_str!("templates/python/selfheal.py.template"),
            ),
            (
                ".gitignore",
                include_str!("templates/python/gitignore.template"),
            ),
        ]),
    }
    let mut files: Vec<(String, String)> = templates
        .into_iter()
        .map(|(path, template)| (path.to_owned(), words.fill(template)))
        .collect();
    for (case, input, expect) in cases(kind) {
        files.push((format!("cases/{case}/input.json"), format!("{input}\n")));
        files.push((
            format!("cases/{case}/expect"),
            format!("{}\n", words.fill(expect)),
        ));
    }
    files
}

fn source(kind: Kind, language: Language) -> &'static str {
    match (language, kind) {
        (Language::Rust, Kind::Guardrail) => include_str!("templates/rust/guardrail.rs.template"),
        (Language::Rust, Kind::Risk) => include_str!("templates/rust/risk.rs.template"),
        (Language::Rust, Kind::Autonomy) => include_str!("templates/rust/autonomy.rs.template"),
        (Language::Javascript, Kind::Guardrail) => {
            include_str!("templates/javascript/guardrail.js.template")
        }
        (Language::Javascript, Kind::Risk) => include_str!("templates/javascript/risk.js.template"),
        (Language::Javascript, Kind::Autonomy) => {
            include_str!("templates/javascript/autonomy.js.template")
        }
        (Language::Python, Kind::Guardrail) => {
            include_str!("templates/python/guardrail.py.template")
        }
        (Language::Python, Kind::Risk) => include_str!("templates/python/risk.py.template"),
        (Language::Python, Kind::Autonomy) => include_str!("templates/python/autonomy.py.template"),
    }
}

/// Name, input and expected answer.
fn cases(kind: Kind) -> &'static [(&'static str, &'static str, &'static str)] {
    const CART: &str = r#"{"patch": "--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1,2 +1,2 @@\n def total(a, b):\n-    return a - b\n+    return a + b\n"}"#;
    const TAX: &str = r#"{"patch": "--- a/billing/tax.py\n+++ b/billing/tax.py\n@@ -1,2 +1,2 @@\n def tax(a):\n-    return a * 0.9\n+    return a * 0.19\n"}"#;
    match kind {
        Kind::Guardrail => &[
            (
                "tests-run",
                r#"{"tool": "Bash", "input": {"command": "python3 -m pytest -q 2>&1 | tail -20"}}"#,
                "allow",
            ),
            (
                "containers-inside-a-pipe",
                r#"{"tool": "Bash", "input": {"command": "cd web && FOO=1 env docker ps | grep web"}}"#,
                "deny {{prefix}}.program",
            ),
            (
                "reading-is-fine",
                r##"{"tool": "Read", "input": {"path": "billing/tax.py"}, "workspace": {"billing/tax.py": "RATE = 0.19\n"}}"##,
                "allow",
            ),
            ("a-plain-patch", CART, "allow"),
            ("money-is-looked-at", TAX, "ask {{prefix}}.reviewed"),
        ],
        Kind::Risk => &[
            ("a-plain-patch", CART, "score 0..10"),
            ("money-is-risky", TAX, "score 60..100"),
        ],
        Kind::Autonomy => &[
            (
                "a-high-score",
                r#"{"patch": "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n", "assessment": {"score": 55}}"#,
                "review",
            ),
            (
                "a-low-score",
                r#"{"patch": "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n", "assessment": {"score": 5}}"#,
                "apply",
            ),
            (
                "urgent-in-dev",
                r#"{"issue": {"severity": "CRITICAL", "category": "reliability"}, "context": {"environment": "dev"}}"#,
                "admit",
            ),
            (
                "urgent-in-production",
                r#"{"issue": {"severity": "CRITICAL", "category": "reliability"}}"#,
                "needs-admin",
            ),
        ],
    }
}

/// `NoDocker` for `no-docker`.
fn type_name(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for kind in [Kind::Guardrail, Kind::Risk, Kind::Autonomy] {
            for language in [Language::Rust, Language::Javascript, Language::Python] {
                for (path, text) in files("no-docker", kind, language, "vendor/sdk") {
                    assert!(!text.contains("{{"), "{path} of {kind:?} in {language:?}");
                    assert!(text.ends_with('\n'), "{path}");
                }
            }
        }
    }

    #[test]
    fn the_examples_use_the_helpers_of_new_projects() {
        let policies =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples");
        for (file, template) in [
            (
                "no-migrations/selfheal.js",
                include_str!("templates/javascript/selfheal.js.template"),
            ),
            (
                "track-record/selfheal.py",
                include_str!("templates/python/selfheal.py.template"),
            ),
        ] {
            assert_eq!(
                std::fs::read_to_string(policies.join(file)).unwrap(),
                template,
                "{file}"
            );
        }
    }

    #[test]
    fn a_type_is_named_after_the_policy() {
        assert_eq!(type_name("no-docker"), "NoDocker");
        assert_eq!(type_name("x2"), "X2");
    }
}
