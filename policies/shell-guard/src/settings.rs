//! The settings of the policy.

use selfheal_policy_sdk::{Context, Environment, Phase, Settings, Trust};

/// Schema of the settings.
pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "allowed_commands": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Whole commands that are allowed exactly as written"},
    "allowed_programs": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Programs that no rule about programs applies to, and that allow-list mode knows; by name, or by the path as the command writes it"},
    "denied_programs": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Programs that are denied as well"},
    "allowed_git": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Subcommands of git that are allowed beside those that only look, as in add"},
    "denied_git": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Subcommands of git that are denied as well"},
    "allowed_hosts": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs of hosts that a command may talk to beside this machine, as in *.example.org; the sandbox has its own say"},
    "loopback": {"type": "boolean", "default": true, "description": "Plain requests to this machine are allowed"},
    "packages": {"enum": ["deny", "ask", "allow"], "default": "deny", "description": "Installing and removing packages of the application"},
    "registries": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Globs of hosts that packages may come from where they are not denied; with none, from any host that is allowed"},
    "max_seconds": {"type": "integer", "minimum": 1, "maximum": 86400, "default": 3600, "description": "Longest time that a call may ask for, and that a command may sleep"},
    "max_bytes": {"type": "integer", "minimum": 64, "maximum": 65536, "default": 65536, "description": "Longest command that is judged at all"},
    "max_programs": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 200, "description": "Most programs that one command may start"},
    "inline_code": {"enum": ["ask", "deny", "allow"], "default": "ask", "description": "Code on an interpreter's command line; dangerous code is denied in any case, harmless code from an admin allowed"},
    "unknown_programs": {"enum": ["allow", "ask", "deny"], "default": "allow", "description": "Programs that no rule knows"},
    "mode": {"enum": ["deny-list", "allow-list"], "default": "deny-list", "description": "allow-list: a command is refused unless all of it is understood and every program is known to be harmless or listed in allowed_programs"},
    "allow_list_phases": {"type": "array", "items": {"enum": ["diagnosis", "drafting", "verification"]}, "default": [], "description": "Phases with allow-list mode, whatever mode says"},
    "allow_list_environments": {"type": "array", "items": {"enum": ["local", "dev", "staging", "production"]}, "default": [], "description": "Environments with allow-list mode"},
    "allow_list_trust": {"type": "array", "items": {"enum": ["machine", "external", "member", "admin"]}, "default": [], "description": "Trust classes of the texts that led here, with allow-list mode"}
  }
}"#;

const KEYS: [&str; 18] = [
    "allowed_commands",
    "allowed_programs",
    "denied_programs",
    "allowed_git",
    "denied_git",
    "allowed_hosts",
    "loopback",
    "packages",
    "registries",
    "max_seconds",
    "max_bytes",
    "max_programs",
    "inline_code",
    "unknown_programs",
    "mode",
    "allow_list_phases",
    "allow_list_environments",
    "allow_list_trust",
];

const PHASES: [&str; 3] = ["diagnosis", "drafting", "verification"];
const ENVIRONMENTS: [&str; 4] = ["local", "dev", "staging", "production"];
const TRUST: [&str; 4] = ["machine", "external", "member", "admin"];

/// The policy with its settings.
pub struct ShellGuard {
    pub(crate) allowed_commands: Vec<String>,
    pub(crate) allowed_programs: Vec<String>,
    pub(crate) denied_programs: Vec<String>,
    pub(crate) allowed_git: Vec<String>,
    pub(crate) denied_git: Vec<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) loopback: bool,
    pub(crate) packages: &'static str,
    pub(crate) registries: Vec<String>,
    pub(crate) max_seconds: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_programs: u64,
    pub(crate) inline_code: &'static str,
    pub(crate) unknown_programs: &'static str,
    allow_list: bool,
    phases: Vec<String>,
    environments: Vec<String>,
    trust: Vec<String>,
}

impl ShellGuard {
    /// Reads the settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, String> {
        settings.only(&KEYS)?;
        let texts = |key: &str| settings.texts(key, &[]);
        Ok(Self {
            allowed_commands: texts("allowed_commands")?,
            allowed_programs: texts("allowed_programs")?,
            denied_programs: texts("denied_programs")?,
            allowed_git: texts("allowed_git")?,
            denied_git: texts("denied_git")?,
            allowed_hosts: texts("allowed_hosts")?,
            loopback: settings.flag("loopback", true)?,
            packages: settings.choice("packages", &["deny", "ask", "allow"])?,
            registries: texts("registries")?,
            max_seconds: settings.number("max_seconds", 3_600, 1, 86_400)?,
            max_bytes: settings.number("max_bytes", 65_536, 64, 65_536)?,
            max_programs: settings.number("max_programs", 200, 1, 10_000)?,
            inline_code: settings.choice("inline_code", &["ask", "deny", "allow"])?,
            unknown_programs: settings.choice("unknown_programs", &["allow", "ask", "deny"])?,
            allow_list: settings.choice("mode", &["deny-list", "allow-list"])? == "allow-list",
            phases: settings.texts_of("allow_list_phases", &[], &PHASES)?,
            environments: settings.texts_of("allow_list_environments", &[], &ENVIRONMENTS)?,
            trust: settings.texts_of("allow_list_trust", &[], &TRUST)?,
        })
    }

    /// Is only what is listed allowed here?
    pub(crate) fn lists_only(&self, context: &Context) -> bool {
        let among = |names: &[String], name: &str| names.iter().any(|known| known == name);
        self.allow_list
            || among(
                &self.phases,
                match context.phase {
                    Phase::Diagnosis => "diagnosis",
                    Phase::Drafting => "drafting",
                    Phase::Verification => "verification",
                },
            )
            || among(
                &self.environments,
                match context.environment {
                    Environment::Local => "local",
                    Environment::Dev => "dev",
                    Environment::Staging => "staging",
                    Environment::Production => "production",
                },
            )
            || among(
                &self.trust,
                match context.trust {
                    Trust::Machine => "machine",
                    Trust::External => "external",
                    Trust::Member => "member",
                    Trust::Admin => "admin",
                },
            )
    }
}
