//! Guardrail on paths: writes stay inside the workspace, away from git, from what
//! the installation protects and from secrets; secrets are not read either.
//!
//! Judges the canonical targets that the host resolved, so a link or `..` leads
//! nowhere. The sandbox holds the same lines; this says why, before it happens.

mod examples;

use selfheal_policy_sdk::text::glob;
use selfheal_policy_sdk::{
    AccessMode, Context, Description, Guardrail, Kind, Patch, PathAccess, Phase, Policy, Settings,
    ToolCall, Verdict,
};

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "allowed_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs inside the workspace; where given, agents write nothing else"},
    "denied_paths": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs that no agent may read or write, beside secret_paths; absolute ones begin with /"},
    "protected_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs inside the workspace that no agent may write, beside what the host protects; replaces the module's own list (git's files, CI workflows, policy.toml, selfheal.toml, agents' settings)"},
    "secret_paths": {"type": "array", "items": {"type": "string"}, "description": "Globs that no agent may read or write; replaces the module's own list (.env, private keys, credentials of tools and clouds, /etc/shadow, environments of processes)"},
    "scratch_paths": {"type": "array", "items": {"type": "string"}, "default": ["/tmp/**", "/var/tmp/**", "/dev/shm/**", "/dev/null"], "description": "Globs of absolute paths outside the workspace that commands may write"},
    "command_write_phases": {"type": "array", "items": {"enum": ["diagnosis", "drafting", "verification"]}, "default": ["diagnosis", "drafting", "verification"], "description": "Phases in which commands may write files of the workspace; what they write while diagnosing or verifying goes to a throw-away layer"},
    "tracked_deletes": {"enum": ["ask", "allow", "deny"], "default": "ask", "description": "Commands that delete files which git knows"},
    "links": {"enum": ["allow", "ask", "deny"], "default": "allow", "description": "Writes through a symbolic link whose target may be written"},
    "max_write_bytes": {"type": "integer", "minimum": 1, "maximum": 1073741824, "default": 1048576, "description": "Bytes that one call may write"},
    "max_run_files": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000, "description": "Files that one run may write with the tools for it"},
    "max_run_bytes": {"type": "integer", "minimum": 1, "maximum": 1099511627776, "default": 67108864, "description": "Bytes that one run may write with the tools for it"}
  }
}"#;

const PHASES: [&str; 3] = ["diagnosis", "drafting", "verification"];

const SECRETS: [&str; 45] = [
    "secret",
    "*.secret",
    "passwords.txt",
    "/run/secrets/**",
    ".git-credentials",
    ".vault-token",
    ".terraformrc",
    "terraform.tfstate",
    "*.ppk",
    "*.kdbx",
    "credentials.json",
    "service-account*.json",
    "secrets.yml",
    "secrets.yaml",
    "secrets.json",
    ".azure",
    "**/.config/gcloud/**",
    "**/.config/gh/**",
    "/etc/gshadow",
    "/proc/*/mem",
    "/proc/*/task/*/environ",
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
    allowed: Vec<String>,
    denied: Vec<String>,
    command_write_phases: Vec<String>,
    tracked_deletes: &'static str,
    links: &'static str,
    max_write_bytes: u64,
    max_run_files: u64,
    max_run_bytes: u64,
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
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&[
            "allowed_paths",
            "denied_paths",
            "protected_paths",
            "secret_paths",
            "scratch_paths",
            "command_write_phases",
            "tracked_deletes",
            "links",
            "max_write_bytes",
            "max_run_files",
            "max_run_bytes",
        ])?;
        Ok(Self {
            allowed: settings.texts("allowed_paths", &[])?,
            denied: settings.texts("denied_paths", &[])?,
            command_write_phases: settings.texts_of("command_write_phases", &PHASES, &PHASES)?,
            tracked_deletes: settings.choice("tracked_deletes", &["ask", "allow", "deny"])?,
            links: settings.choice("links", &["allow", "ask", "deny"])?,
            max_write_bytes: settings.number("max_write_bytes", 1 << 20, 1, 1 << 30)?,
            max_run_files: settings.number("max_run_files", 1_000, 1, 1_000_000)?,
            max_run_bytes: settings.number("max_run_bytes", 64 << 20, 1, 1 << 40)?,
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
        let size = if writer {
            self.judge_size(context, call)
        } else {
            Verdict::Allow
        };
        call.paths
            .iter()
            .map(|access| self.judge_access(context, writer, access))
            .fold(size, Verdict::stricter)
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
    fn judge_size(&self, context: &Context, call: &ToolCall) -> Verdict {
        if call.bytes > self.max_write_bytes {
            let message = format!(
                "{} bytes are more than the {} that one call may write",
                call.bytes, self.max_write_bytes
            );
            return Verdict::deny("path.too-large", message);
        }
        let run = &context.counters;
        if run.files_written >= self.max_run_files
            || run.bytes_written.saturating_add(call.bytes) > self.max_run_bytes
        {
            let message = format!(
                "a run may write {} files and {} bytes; this one has written {} and {}",
                self.max_run_files, self.max_run_bytes, run.files_written, run.bytes_written
            );
            return Verdict::deny("path.run-limit", message);
        }
        Verdict::Allow
    }

    fn judge_access(&self, context: &Context, writer: bool, access: &PathAccess) -> Verdict {
        let inside = access.relative.as_deref();
        let shown = inside.unwrap_or(&access.path);
        if any(&self.secrets, shown) || any(&self.secrets, &access.path) {
            return Verdict::deny("path.secret", "the file holds secrets").shows(shown);
        }
        if any(&self.denied, shown) || any(&self.denied, &access.path) {
            return Verdict::deny("path.denied", "this installation denies the path").shows(shown);
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
            Some(path) => self
                .judge_inside(path, access.protected, shown)
                .stricter(self.judge_way(context, writer, access)),
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

    /// How a file of the workspace is written: when, through what, and whether it
    /// goes altogether.
    fn judge_way(&self, context: &Context, writer: bool, access: &PathAccess) -> Verdict {
        let shown = access.relative.as_deref().unwrap_or(&access.path);
        let phase = match context.phase {
            Phase::Diagnosis => "diagnosis",
            Phase::Drafting => "drafting",
            Phase::Verification => "verification",
        };
        if !writer && !self.command_write_phases.iter().any(|known| known == phase) {
            let message = format!("commands write no files of the workspace in {phase}");
            return Verdict::deny("path.command-writes", message).shows(shown);
        }
        let mut verdict = Verdict::Allow;
        if let Some(link) = &access.link {
            let message = format!("{link} is a link to {shown}; write the file itself");
            verdict = choose(self.links, "path.link", &message).shows(link);
        }
        if !writer && access.mode == AccessMode::Delete && access.tracked {
            let message = "deletes a file that git knows";
            let answer = choose(self.tracked_deletes, "path.deletes-tracked", message);
            verdict = verdict.stricter(answer.shows(shown));
        }
        verdict
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
        if any(&self.denied, path) {
            return Verdict::deny("path.denied", "this installation denies the path").shows(shown);
        }
        if !self.allowed.is_empty() && !any(&self.allowed, path) {
            let message = "the path is not among those that agents may write";
            return Verdict::deny("path.not-allowed", message).shows(shown);
        }
        Verdict::Allow
    }
}

fn choose(setting: &str, rule: &str, message: &str) -> Verdict {
    match setting {
        "allow" => Verdict::Allow,
        "ask" => Verdict::ask(rule, message),
        _ => Verdict::deny(rule, message),
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

selfheal_policy_sdk::export_guardrail!(PathGuard);

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::{Question, check_examples_guardrail, facts};

    #[test]
    fn every_example_holds() {
        assert!(check_examples_guardrail::<PathGuard>().unwrap() > 30);
    }

    #[test]
    fn every_rule_has_an_example() {
        let mut seen = std::collections::BTreeSet::new();
        for example in PathGuard::describe().examples {
            let settings = Settings::parse(example.settings.as_deref().unwrap_or("")).unwrap();
            let guard = PathGuard::configure(&settings).unwrap();
            let verdict = match &example.question {
                Question::ToolCall(call) => guard.judge_tool_call(&example.context, call),
                Question::Patch(patch) => guard.judge_patch(&example.context, patch),
                _ => continue,
            };
            seen.extend(verdict.reason().map(|reason| reason.rule.clone()));
        }
        let rules = include_str!("lib.rs").split('"').filter(|text| {
            text.strip_prefix("path.").is_some_and(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            })
        });
        let missing: Vec<&str> = rules.filter(|rule| !seen.contains(*rule)).collect();
        assert!(missing.is_empty(), "{missing:?}");
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
