//! Accounts, sessions, services, policies and switches as JSON.

use super::policy::{Enforcement, ModuleStanding, PolicySet};
use super::vocabulary;
use chrono::{DateTime, Utc};
use selfheal_domain::account::Standing;
use selfheal_domain::policy::{ModuleIdentity, ModuleKind};
use selfheal_domain::policy_control::ModuleStatus;
use selfheal_domain::ports::ServiceStatus;
use selfheal_domain::service;
use selfheal_domain::user::{Account, Role};
use selfheal_pipeline::desk::AutonomyView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogInRequest {
    #[schema(example = "ada")]
    pub(crate) username: String,
    /// The password, or the account's token.
    #[schema(format = Password)]
    pub(crate) password: String,
}

/// Who is logged in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) username: String,
    #[schema(value_type = vocabulary::Role)]
    pub(crate) role: Role,
    /// Seconds that the new session lasts; at log-in only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u64>,
    pub(crate) has_password: bool,
    /// Logs in at the provider of identities, and has no password.
    pub(crate) has_provider: bool,
}

impl Session {
    pub(crate) fn of(account: &Account, lasts: Option<Duration>) -> Self {
        Self {
            username: account.name.to_string(),
            role: account.role,
            expires_in: lasts.map(|lasts| lasts.as_secs()),
            has_password: account.password_hash.is_some(),
            has_provider: account.subject.is_some(),
        }
    }
}

/// How people log in, besides with name and password.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogInOptions {
    /// The provider of identities, where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<Provider>,
}

/// A provider of identities.
#[derive(Serialize, ToSchema)]
#[schema(as = LogInProvider)]
pub(crate) struct Provider {
    /// What to call it.
    #[schema(example = "Example ID")]
    pub(crate) label: String,
    /// Where to send the browser.
    #[schema(example = "/api/v1/session/oidc")]
    pub(crate) url: &'static str,
}

/// An account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) name: String,
    #[schema(value_type = vocabulary::Role)]
    pub(crate) role: Role,
    pub(crate) has_token: bool,
    pub(crate) has_password: bool,
    /// Its owner has logged in at the provider of identities.
    pub(crate) has_provider: bool,
    #[schema(value_type = vocabulary::Standing)]
    pub(crate) standing: Standing,
}

impl From<&Account> for User {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.to_string(),
            role: account.role,
            has_token: account.token_digest.is_some() || !account.tokens.is_empty(),
            has_password: account.password_hash.is_some(),
            has_provider: account.subject.is_some(),
            standing: account.standing,
        }
    }
}

/// An account as the API describes it.
pub fn user_view(account: &Account) -> Value {
    serde_json::to_value(User::from(account)).unwrap_or_default()
}

/// All accounts, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserPage {
    pub(crate) items: Vec<User>,
    /// Where the next page starts; absent at the end.
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A hook event of an agent, in that agent's words; further fields are accepted.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "exists for its schema; `hook::read` reads each agent's format"
)]
pub(crate) struct HookRequest {
    /// What happens, as in `PreToolUse`.
    hook_event_name: String,
    session_id: Option<String>,
    /// The agent's working directory, absolute.
    cwd: Option<String>,
    tool_name: Option<String>,
    #[schema(value_type = Option<Object>)]
    tool_input: Option<serde_json::Value>,
    tool_use_id: Option<String>,
}

/// An account to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserRequest {
    /// 1 to 64 of a-z, 0-9, '.', '_', '-'.
    #[schema(example = "ada")]
    pub(crate) name: String,
    #[schema(value_type = vocabulary::Role)]
    pub(crate) role: Role,
    /// 12 characters at least; without one the account logs in by token.
    #[schema(format = Password)]
    pub(crate) password: Option<String>,
}

/// Another role for an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleRequest {
    /// `hook` is for agents' hooks and stays theirs.
    #[schema(value_type = vocabulary::Role)]
    pub(crate) role: Role,
}

/// Another password for somebody else's account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    /// 12 characters at least.
    #[schema(format = Password)]
    pub(crate) password: String,
}

/// Another password for the caller's own account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct OwnPasswordRequest {
    /// The password so far; before the first one, the initial token.
    #[schema(format = Password)]
    pub(crate) old_password: String,
    /// 12 characters at least.
    #[schema(format = Password)]
    pub(crate) new_password: String,
}

/// An account to close.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseRequest {
    /// Only if it has this role.
    #[schema(value_type = Option<vocabulary::Role>)]
    pub(crate) role: Option<Role>,
}

/// A new account with its token, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    #[schema(value_type = vocabulary::Role)]
    pub(crate) role: Role,
    #[schema(example = "sfh_…")]
    pub(crate) token: String,
}

/// A service of the application.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    name: String,
    /// `stopped`, `starting`, `running`, `backing-off` or `failed`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    since: DateTime<Utc>,
    restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
    detail: String,
}

impl Service {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl From<ServiceStatus> for Service {
    fn from(status: ServiceStatus) -> Self {
        Self {
            name: status.name,
            state: status.state,
            pid: status.pid,
            since: status.since,
            restarts: status.restarts,
            healthy: status.healthy,
            detail: status.detail,
        }
    }
}

/// A service with what it uses and how it was lately.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceDetails {
    #[serde(flatten)]
    service: Service,
    /// `process`, `systemd` or `command`.
    kind: String,
    /// Services that come up before it.
    after: Vec<String>,
    /// Since when its process runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<ServiceUsage>,
    /// Crashes in a row.
    crashes: u32,
    /// It crashed too often: it is not started by itself.
    circuit_open: bool,
    /// A host before this one started it, and crashed.
    adopted: bool,
    /// It can be reloaded.
    reloads: bool,
    /// Files that are watched for errors.
    logs: Vec<String>,
    /// Latest answers about its health, oldest first, at most 50.
    health: Vec<ServiceHealth>,
}

/// What all processes of a service use together.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceUsage {
    processes: u32,
    /// User and kernel mode.
    cpu_seconds: f64,
    resident_bytes: u64,
    open_files: u64,
}

/// One answer about a service's health; equal ones in a row are one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceHealth {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    count: u32,
    healthy: bool,
    detail: String,
}

impl ServiceDetails {
    pub(crate) fn of(status: ServiceStatus, details: service::ServiceDetails) -> Self {
        Self {
            service: status.into(),
            kind: details.kind,
            after: details.after,
            started_at: details.started_at,
            uptime_seconds: details.uptime.map(|uptime| uptime.as_secs()),
            usage: details.usage.map(|usage| ServiceUsage {
                processes: usage.processes,
                cpu_seconds: usage.cpu_seconds,
                resident_bytes: usage.resident_bytes,
                open_files: usage.open_files,
            }),
            crashes: details.crashes,
            circuit_open: details.circuit_open,
            adopted: details.adopted,
            reloads: details.reloads,
            logs: details.logs,
            health: details
                .health
                .into_iter()
                .map(|sample| ServiceHealth {
                    from: sample.from,
                    until: sample.until,
                    count: sample.count,
                    healthy: sample.healthy,
                    detail: sample.detail,
                })
                .collect(),
        }
    }
}

/// The application's services, in start order.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServicePage {
    pub(crate) items: Vec<Service>,
    /// Where the next page starts; absent at the end.
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A policy module.
#[derive(Serialize, ToSchema)]
pub(crate) struct PolicyModule {
    name: String,
    version: String,
    /// `guardrail`, `risk` or `autonomy`.
    kind: &'static str,
    digest: String,
    #[serde(flatten)]
    standing: Option<ModuleStanding>,
}

impl PolicyModule {
    /// With how it does.
    pub(crate) fn of(status: ModuleStatus) -> Self {
        Self {
            standing: Some(status.clone().into()),
            ..Self::from(status.identity)
        }
    }
}

impl From<ModuleIdentity> for PolicyModule {
    fn from(module: ModuleIdentity) -> Self {
        Self {
            name: module.name,
            version: module.version,
            kind: match module.kind {
                ModuleKind::Guardrail => "guardrail",
                ModuleKind::Risk => "risk",
                ModuleKind::Autonomy => "autonomy",
            },
            digest: module.digest.to_string(),
            standing: None,
        }
    }
}

/// The autonomy switch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Autonomy {
    /// 0 `OBSERVE`, 1 `SUGGEST`, 2 `AUTO_LOW`, 3 `AUTO_ALL`.
    #[schema(maximum = 3)]
    level: u8,
    #[schema(example = "OBSERVE")]
    level_name: String,
    #[schema(maximum = 3)]
    ceiling: u8,
    ceiling_name: String,
    /// All healing is stopped.
    frozen: bool,
    /// Every way from an agent to the world is proved to obey the policies.
    enforcement: EnforcementAge,
}

/// How fresh the proof of enforcement is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnforcementAge {
    proved: bool,
    /// Generation that was proved.
    generation: u64,
    /// How long ago; absent before the first proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
}

impl From<&Enforcement> for EnforcementAge {
    fn from(proof: &Enforcement) -> Self {
        Self {
            proved: proof.proved,
            generation: proof.generation,
            age_seconds: proof.age_seconds,
        }
    }
}

impl Autonomy {
    /// The switch, and how fresh the proof of enforcement is.
    pub(crate) fn of(view: AutonomyView, proof: &Enforcement) -> Self {
        Self {
            enforcement: proof.into(),
            level: view.level.into(),
            level_name: view.level.to_string(),
            ceiling: view.ceiling.into(),
            ceiling_name: view.ceiling.to_string(),
            frozen: view.frozen,
        }
    }
}

/// A level to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutonomyRequest {
    #[schema(maximum = 3)]
    pub(crate) level: u8,
    pub(crate) reason: String,
}

/// Whether the host can work.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `ready`.
    pub(crate) status: &'static str,
    pub(crate) version: String,
}

/// How the host stands, for its operator.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) log_size: u64,
    pub(crate) log_head: String,
    pub(crate) accounts: usize,
    pub(crate) open_streams: usize,
    pub(crate) autonomy: Autonomy,
    pub(crate) policy_generation: u64,
    pub(crate) policies: PolicySet,
    pub(crate) services: Vec<Service>,
}
