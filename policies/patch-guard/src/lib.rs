//! Guardrail on finished patches: small, without secrets, without dangerous
//! operations, without new dependencies, inside the paths that are allowed.
//!
//! Only what a patch really adds counts: a line that it merely moves was there
//! before.

mod danger;
mod examples;
mod secrets;

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
    "max_files": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Files that a patch may change"},
    "max_changed_lines": {"type": "integer", "minimum": 1, "maximum": 100000, "description": "Added plus removed lines"},
    "allowed_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs; where given, a patch may touch nothing else"},
    "protected_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs that no patch may touch, beside what the host protects"},
    "dependencies": {"enum": ["deny", "ask", "allow"], "description": "Patches to manifests and lock files of dependencies"},
    "dangerous_operations": {"enum": ["deny", "ask"], "description": "Added code that runs programs, evaluates text, removes trees, drops tables"},
    "tests": {"enum": ["ask", "deny", "allow"], "description": "Patches that edit tests; the host has them reviewed in any case"}
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

/// The policy with its settings.
pub struct PatchGuard {
    max_files: u64,
    max_changed_lines: u64,
    allowed: Vec<String>,
    protected: Vec<String>,
    dependencies: &'static str,
    dangerous: &'static str,
    tests: &'static str,
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
            "allowed_paths",
            "protected_paths",
            "dependencies",
            "dangerous_operations",
            "tests",
        ])?;
        Ok(Self {
            max_files: settings.number("max_files", 5, 1, 1_000)?,
            max_changed_lines: settings.number("max_changed_lines", 200, 1, 100_000)?,
            allowed: settings.texts("allowed_paths", &[])?,
            protected: settings.texts("protected_paths", &PROTECTED)?,
            dependencies: settings.choice("dependencies", &["deny", "ask", "allow"])?,
            dangerous: settings.choice("dangerous_operations", &["deny", "ask"])?,
            tests: settings.choice("tests", &["ask", "deny", "allow"])?,
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
        for line in file.new_lines() {
            if let Some(what) = secrets::find(line) {
                // The evidence must not carry the secret into the records.
                let message = format!(
                    "an added line of {path} holds {what}; read it from the environment instead"
                );
                return Verdict::deny("patch.secret", message);
            }
            if let Some((rule, what)) = danger::find(path, line) {
                let message = format!("an added line of {path} {what}");
                verdict = verdict.stricter(choose(self.dangerous, rule, &message).shows(line));
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
