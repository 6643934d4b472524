//! Guardrail on finished patches: small, without secrets, without dangerous
//! operations, without new dependencies, inside the paths that are allowed, and
//! leaving the tests as strict as they were.
//!
//! Only what a patch really adds counts: a line that it merely moves was there
//! before. Changing a dangerous line that was there is a question, not a denial.

mod danger;
mod examples;
mod language;
mod secrets;
mod weakening;

use language::Language;
use selfheal_policy_sdk::text::glob;
use selfheal_policy_sdk::{
    ChangeKind, Context, Description, Guardrail, Kind, Patch, PatchFile, Policy, Settings,
    ToolCall, Verdict,
};

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "max_files": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5, "description": "Files that a patch may change"},
    "max_changed_lines": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 200, "description": "Added plus removed lines of all files"},
    "max_line_length": {"type": "integer", "minimum": 80, "maximum": 100000, "default": 1000, "description": "Longest added line in bytes; a longer one is asked, because nobody reads it"},
    "allowed_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs; where given, a patch may touch nothing else"},
    "protected_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs that no patch may touch, beside what the host protects; replaces the module's own list (git's files, CI workflows, policy.toml, selfheal.toml, .env)"},
    "dependencies": {"enum": ["deny", "ask", "allow"], "default": "deny", "description": "Patches to manifests and lock files of dependencies, and to container files"},
    "dangerous_operations": {"enum": ["deny", "ask"], "default": "deny", "description": "Added code that runs programs, evaluates text, deserialises objects, removes trees, destroys data, switches off certificates, authentication or CSRF protection. Rules that are often right (SQL building, weak cryptography, silenced checkers and the like) ask in any case"},
    "allowed_rules": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Ids of rules about dangerous operations and weakened tests that do not count here, as in patch.debug-on"},
    "secret_rules_off": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Ids of gitleaks' rules that do not count here, as in generic-api-key"},
    "secret_exempt_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs of files that are not searched for secrets, such as fixtures with made-up ones"},
    "tests": {"enum": ["ask", "deny", "allow"], "default": "ask", "description": "Patches that edit tests; the host has them reviewed in any case"},
    "test_weakening": {"enum": ["ask", "deny"], "default": "ask", "description": "Patches that delete, skip or loosen tests, change snapshots, lower coverage or have failures ignored"}
  }
}"#;

const PROTECTED: [&str; 8] = [
    ".git",
    ".gitmodules",
    ".gitattributes",
    ".github/workflows/**",
    ".gitlab-ci.yml",
    "policy.toml",
    "selfheal.toml",
    ".env",
];

/// Files that say what gets installed.
const DEPENDENCIES: [&str; 34] = [
    "requirements*.txt",
    "constraints*.txt",
    "Pipfile",
    "Pipfile.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "environment.yml",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "npm-shrinkwrap.json",
    "bun.lock",
    "bun.lockb",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "Cargo.toml",
    "Cargo.lock",
    "go.mod",
    "go.sum",
    "Gemfile",
    "Gemfile.lock",
    "composer.json",
    "composer.lock",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "Dockerfile*",
    "docker-compose*.y*ml",
];

/// Rules that no setting switches off.
const FIRM: [&str; 8] = [
    "patch.secret",
    "patch.protected",
    "patch.binary",
    "patch.link",
    "patch.empty",
    "patch.max-files",
    "patch.max-lines",
    "patch.hidden-text",
];

/// The policy with its settings.
pub struct PatchGuard {
    max_files: u64,
    max_changed_lines: u64,
    allowed: Vec<String>,
    protected: Vec<String>,
    max_line_length: usize,
    dependencies: &'static str,
    dangerous: &'static str,
    allowed_rules: Vec<String>,
    secret_rules_off: Vec<String>,
    secret_exempt: Vec<String>,
    tests: &'static str,
    weakening: &'static str,
}

impl Policy for PatchGuard {
    fn describe() -> Description {
        Description {
            name: "patch-guard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Guardrail,
            settings_schema: SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&[
            "max_files",
            "max_changed_lines",
            "max_line_length",
            "allowed_paths",
            "protected_paths",
            "dependencies",
            "dangerous_operations",
            "allowed_rules",
            "secret_rules_off",
            "secret_exempt_paths",
            "tests",
            "test_weakening",
        ])?;
        let allowed_rules = settings.texts("allowed_rules", &[])?;
        if let Some(rule) = allowed_rules
            .iter()
            .find(|rule| FIRM.contains(&rule.as_str()))
        {
            return Err(format!(
                "setting `allowed_rules` cannot switch off {rule}; it is always in force"
            ));
        }
        Ok(Self {
            max_files: settings.number("max_files", 5, 1, 1_000)?,
            max_changed_lines: settings.number("max_changed_lines", 200, 1, 100_000)?,
            allowed: settings.texts("allowed_paths", &[])?,
            protected: settings.texts("protected_paths", &PROTECTED)?,
            dependencies: settings.choice("dependencies", &["deny", "ask", "allow"])?,
            max_line_length: usize::try_from(settings.number(
                "max_line_length",
                1_000,
                80,
                100_000,
            )?)
            .unwrap_or(usize::MAX),
            dangerous: settings.choice("dangerous_operations", &["deny", "ask"])?,
            allowed_rules,
            secret_rules_off: settings.texts("secret_rules_off", &[])?,
            secret_exempt: settings.texts("secret_exempt_paths", &[])?,
            tests: settings.choice("tests", &["ask", "deny", "allow"])?,
            weakening: settings.choice("test_weakening", &["ask", "deny"])?,
        })
    }
}

impl Guardrail for PatchGuard {
    fn judge_tool_call(&self, _context: &Context, _call: &ToolCall) -> Verdict {
        Verdict::Allow
    }

    fn judge_patch(&self, _context: &Context, patch: &Patch) -> Verdict {
        let size = self.judge_size(patch);
        patch
            .files
            .iter()
            .map(|file| self.judge_file(file))
            .fold(size, Verdict::stricter)
    }
}

impl PatchGuard {
    fn judge_size(&self, patch: &Patch) -> Verdict {
        let files = patch.files.len() as u64;
        if files == 0 {
            return Verdict::deny("patch.empty", "the patch changes nothing");
        }
        if files > self.max_files {
            let message = format!(
                "{files} files are more than the {} that a patch may change",
                self.max_files
            );
            return Verdict::deny("patch.max-files", message);
        }
        let lines: usize = patch
            .files
            .iter()
            .map(|file| file.added.len() + file.removed.len())
            .sum();
        if lines as u64 > self.max_changed_lines {
            let message = format!(
                "{lines} changed lines are more than the {} that a patch may have",
                self.max_changed_lines
            );
            return Verdict::deny("patch.max-lines", message);
        }
        let binary = patch.diff.lines().find(|line| {
            line.starts_with("GIT binary patch")
                || line.starts_with("Binary files ") && line.ends_with(" differ")
        });
        if let Some(line) = binary {
            return Verdict::deny("patch.binary", "binary content cannot be judged").shows(line);
        }
        let special = patch.diff.lines().find(|line| {
            [
                "new file mode 12",
                "new mode 12",
                "new file mode 16",
                "new mode 16",
            ]
            .iter()
            .any(|mode| line.starts_with(mode))
        });
        match special {
            Some(line) => {
                Verdict::deny("patch.link", "links and submodules are not for patches").shows(line)
            }
            None => Verdict::Allow,
        }
    }

    fn judge_file(&self, file: &PatchFile) -> Verdict {
        let path = file.path.as_str();
        let any = |globs: &[String]| globs.iter().any(|pattern| glob(pattern, path));
        if file.protected || any(&self.protected) {
            return Verdict::deny("patch.protected", "the path is protected").shows(path);
        }
        if !self.allowed.is_empty() && !any(&self.allowed) {
            return Verdict::deny(
                "patch.not-allowed-path",
                "the path is not among those that a patch may touch",
            )
            .shows(path);
        }
        if file.added.iter().any(|line| line.contains('\0')) {
            return Verdict::deny("patch.binary", "binary content cannot be judged").shows(path);
        }
        let mut verdict = Verdict::Allow;
        let new: Vec<&str> = file.new_lines().collect();
        let search = secrets::Search {
            path,
            off: &self.secret_rules_off,
        };
        if !any(&self.secret_exempt)
            && let Some(found) = search.find(&new)
        {
            // Neither message nor evidence may carry the secret into the records.
            let message = format!(
                "an added line of {path} holds a secret ({}); read it from the environment instead",
                found.rule
            );
            return Verdict::deny("patch.secret", message).shows(path);
        }
        if let Some(line) = new.iter().find(|line| line.len() > self.max_line_length) {
            let message = format!("an added line of {path} is too long to be read");
            verdict = verdict.stricter(Verdict::ask("patch.long-line", message).shows(line));
        }
        verdict = verdict.stricter(self.judge_operations(file, &new));
        for weakened in weakening::find(file) {
            if self.counts(weakened.rule) {
                let answer = choose(self.weakening, weakened.rule, weakened.message);
                verdict = verdict.stricter(answer.shows(&weakened.evidence));
            }
        }
        if DEPENDENCIES.iter().any(|pattern| glob(pattern, path)) {
            let message = "the patch changes what gets installed or how it is built";
            verdict = verdict
                .stricter(choose(self.dependencies, "patch.dependencies", message).shows(path));
        }
        if file.test {
            let message = if file.change == ChangeKind::Deleted {
                "the patch deletes tests"
            } else {
                "the patch edits tests"
            };
            verdict = verdict.stricter(choose(self.tests, "patch.tests", message).shows(path));
        }
        verdict
    }

    fn counts(&self, rule: &str) -> bool {
        !self.allowed_rules.iter().any(|allowed| allowed == rule)
    }

    /// Dangerous operations in the lines that are new.
    fn judge_operations(&self, file: &PatchFile, new: &[&str]) -> Verdict {
        let path = file.path.as_str();
        let language = Language::of(path);
        let mut before: Option<Vec<&danger::Rule>> = None;
        let mut verdict = Verdict::Allow;
        for line in new {
            for rule in danger::find(language, line) {
                if !self.counts(rule.id) {
                    continue;
                }
                let there = before.get_or_insert_with(|| {
                    file.removed
                        .iter()
                        .flat_map(|line| danger::find(language, line))
                        .collect()
                });
                // It was there, and is there in another way.
                let setting = if rule.soft || there.contains(&rule) {
                    "ask"
                } else {
                    self.dangerous
                };
                let message = format!("an added line of {path} {}; {}", rule.what, rule.advice);
                let mut answer = choose(setting, rule.id, &message).shows(line);
                if let Some(other) = rule.line(language) {
                    answer = answer.instead(other);
                }
                verdict = verdict.stricter(answer);
            }
        }
        verdict
    }
}

fn choose(setting: &str, rule: &str, message: &str) -> Verdict {
    match setting {
        "allow" => Verdict::Allow,
        "ask" => Verdict::ask(rule, message),
        _ => Verdict::deny(rule, message),
    }
}

selfheal_policy_sdk::export_guardrail!(PatchGuard);

#[cfg(test)]
mod tests;
