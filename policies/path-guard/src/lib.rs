//! Guardrail on paths: writes stay inside the workspace, away from git, from what
//! the installation protects and from secrets; secrets are not read either.
//!
//! Judges the canonical targets that the host resolved, so a link or `..` leads
//! nowhere. The sandbox holds the same lines; this says why, before it happens.

use selfheal_policy_sdk::text::glob;
use selfheal_policy_sdk::{
    AccessMode, Context, Description, Example, Expectation, Guardrail, Kind, Patch, PathAccess,
    Phase, Policy, Settings, ToolCall, Verdict, example, example_with, facts,
};

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "protected_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs inside the workspace that no agent may write, beside what the host protects"},
    "secret_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs that no agent may read or write"},
    "scratch_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs of absolute paths outside the workspace that commands may write"}
  }
}"#;

const SECRETS: [&str; 24] = [
    ".env",
    ".env.local",
    ".env.production",
    ".env.*.local",
    "*.pem",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
    ".pgpass",
    ".htpasswd",
    ".aws",
    ".ssh",
    ".gnupg",
    ".kube",
    ".docker",
    "/etc/shadow",
    "/proc/*/environ",
];

const PROTECTED: [&str; 10] = [
    ".gitmodules",
    ".gitattributes",
    ".githooks",
    ".husky",
    ".github/workflows/**",
    ".gitlab-ci.yml",
    "policy.toml",
    "selfheal.toml",
    ".claude",
    ".selfheal",
];

/// The sandbox gives every command its own empty ones.
const SCRATCH: [&str; 4] = ["/tmp/**", "/var/tmp/**", "/dev/shm/**", "/dev/null"];

/// The policy with its settings.
pub struct PathGuard {
    protected: Vec<String>,
    secrets: Vec<String>,
    scratch: Vec<String>,
}

impl Policy for PathGuard {
    fn describe() -> Description {
        Description {
            name: "path-guard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Guardrail,
            settings_schema: SCHEMA.into(),
            examples: examples(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&["protected_paths", "secret_paths", "scratch_paths"])?;
        Ok(Self {
            protected: settings.texts("protected_paths", &PROTECTED)?,
            secrets: settings.texts("secret_paths", &SECRETS)?,
            scratch: settings.texts("scratch_paths", &SCRATCH)?,
        })
    }
}

impl Guardrail for PathGuard {
    fn judge_tool_call(&self, context: &Context, call: &ToolCall) -> Verdict {
        let writer = matches!(
            call.tool.as_str(),
            "Write" | "Edit" | "MultiEdit" | "NotebookEdit"
        );
        if writer && context.phase != Phase::Drafting {
            return Verdict::deny("path.phase", "files are only changed while drafting");
        }
        if writer && call.paths.is_empty() {
            return Verdict::deny("path.unknown", "which file this changes cannot be known");
        }
        call.paths
            .iter()
            .map(|access| self.judge_access(writer, access))
            .fold(Verdict::Allow, Verdict::stricter)
    }

    fn judge_patch(&self, _context: &Context, patch: &Patch) -> Verdict {
        let judge = |path: &str, protected: bool| {
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Verdict::deny("path.outside", "the patch reaches outside the repository")
                    .shows(path);
            }
            self.judge_inside(path, protected, path)
        };
        patch
            .files
            .iter()
            .map(|file| judge(&file.path, file.protected))
            .fold(Verdict::Allow, Verdict::stricter)
    }
}

impl PathGuard {
    fn judge_access(&self, writer: bool, access: &PathAccess) -> Verdict {
        let inside = access.relative.as_deref();
        let shown = inside.unwrap_or(&access.path);
        if any(&self.secrets, shown) || any(&self.secrets, &access.path) {
            return Verdict::deny("path.secret", "the file holds secrets").shows(shown);
        }
        if access.mode == AccessMode::Read {
            // The host's own data; protected files of the workspace may be read.
            return match inside {
                None if access.protected => {
                    Verdict::deny("path.private", "the path is not for agents").shows(shown)
                }
                _ => Verdict::Allow,
            };
        }
        match inside {
            Some(path) => self.judge_inside(path, access.protected, shown),
            None if !writer && !access.protected && any(&self.scratch, &access.path) => {
                Verdict::Allow
            }
            None if access.certain || writer || access.protected => {
                Verdict::deny("path.outside", "writes stay inside the workspace").shows(shown)
            }
            None => {
                let message = "this may write outside the workspace; name the file plainly";
                Verdict::ask("path.perhaps-outside", message).shows(shown)
            }
        }
    }

    /// A write to a path relative to the workspace.
    fn judge_inside(&self, path: &str, protected: bool, shown: &str) -> Verdict {
        if path
            .split('/')
            .any(|part| part.eq_ignore_ascii_case(".git"))
        {
            return Verdict::deny("path.git", "only the host writes git's own files").shows(shown);
        }
        if protected || any(&self.protected, path) {
            return Verdict::deny("path.protected", "the path is protected").shows(shown);
        }
        if any(&self.secrets, path) {
            return Verdict::deny("path.secret", "the file holds secrets").shows(shown);
        }
        Verdict::Allow
    }
}

fn any(globs: &[String], path: &str) -> bool {
    globs.iter().any(|pattern| match pattern.strip_prefix('/') {
        // Absolute patterns are about absolute paths only.
        Some(rest) if path.starts_with('/') => {
            glob(&format!("/{rest}"), path.trim_start_matches('/'))
        }
        Some(_) => false,
        None => glob(pattern, path.trim_start_matches('/')),
    })
}

fn examples() -> Vec<Example> {
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
        ("Bash", "build/out.txt", Delete, Expectation::Allow),
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
    all
}

selfheal_policy_sdk::export_guardrail!(PathGuard);

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::check_examples_guardrail;

    #[test]
    fn every_example_holds() {
        assert!(check_examples_guardrail::<PathGuard>().unwrap() > 30);
    }

    #[test]
    fn the_target_of_a_link_counts() {
        let guard = PathGuard::configure(&Settings::default()).unwrap();
        let mut call = facts::access_call("Write", "/etc/cron.d/x", AccessMode::Create);
        call.paths[0].link = Some("innocent.txt".into());
        assert_eq!(
            guard
                .judge_tool_call(&facts::context(), &call)
                .reason()
                .unwrap()
                .rule,
            "path.outside"
        );
    }

    #[test]
    fn what_the_host_protects_is_protected() {
        let guard = PathGuard::configure(&Settings::default()).unwrap();
        let mut call = facts::access_call("Write", "a.py", AccessMode::Write);
        call.paths[0].protected = true;
        assert_eq!(
            guard
                .judge_tool_call(&facts::context(), &call)
                .reason()
                .unwrap()
                .rule,
            "path.protected"
        );
        call.paths.clear();
        assert_eq!(
            guard
                .judge_tool_call(&facts::context(), &call)
                .reason()
                .unwrap()
                .rule,
            "path.unknown"
        );
    }

    #[test]
    fn a_guess_outside_is_asked_not_allowed() {
        let guard = PathGuard::configure(&Settings::default()).unwrap();
        let mut call = facts::access_call("Bash", "/opt/x", AccessMode::Write);
        call.paths[0].certain = false;
        assert_eq!(
            guard
                .judge_tool_call(&facts::context(), &call)
                .reason()
                .unwrap()
                .rule,
            "path.perhaps-outside"
        );
    }
}
