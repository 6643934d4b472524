//! What the host knows of a service of the application besides that it runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What somebody wants of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceOperation {
    /// Bring it up; nothing if it runs.
    Start,
    /// Take it down; it stays down until somebody starts it.
    Stop,
    /// Take it down and bring it up.
    #[default]
    Restart,
    /// Have it read its code and settings again without ending.
    Reload,
}

impl ServiceOperation {
    /// For messages, as in `restart`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }

    /// What it came to when it went well, as in `restarted and ready`.
    pub fn done(self) -> &'static str {
        match self {
            Self::Start => "started and ready",
            Self::Stop => "stopped",
            Self::Restart => "restarted and ready",
            Self::Reload => "reloaded and ready",
        }
    }
}

/// What happened to a service without anybody's word. On record as it happens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum ServiceNotice {
    /// It ended by itself.
    Ended {
        /// How, and what comes next.
        detail: String,
    },
    /// It crashed too often in a row: the circuit breaker is open and it is not
    /// started again until its time is over or somebody starts it.
    CircuitOpened {
        /// Crashes in a row.
        crashes: u32,
        /// Seconds after which one more start is tried; none: never by itself.
        retry_seconds: Option<u64>,
        /// How it ended last.
        detail: String,
    },
    /// It came up and stayed up after the breaker was open.
    CircuitClosed,
    /// It outlived a host that crashed, and this host goes on with it.
    Adopted {
        /// Its process.
        pid: u32,
    },
    /// A host that crashed left it behind; it was stopped before a new start.
    LeftoverStopped {
        /// Its process.
        pid: u32,
    },
}

/// What a service uses, all its processes together.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceUsage {
    /// Processes.
    pub processes: u32,
    /// CPU time in user and kernel mode, in seconds, of those that run.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes. Pages that processes share count for each.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub open_files: u64,
}

/// One answer to the question how a service is; equal ones in a row are one sample.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthSample {
    /// When it was seen first.
    pub from: DateTime<Utc>,
    /// When it was seen last.
    pub until: DateTime<Utc>,
    /// How often.
    pub count: u32,
    /// It was well.
    pub healthy: bool,
    /// What was seen.
    pub detail: String,
}

/// Everything there is to say about one service.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ServiceDetails {
    /// `process`, `systemd` or `command`.
    pub kind: String,
    /// Services that come up before it.
    pub after: Vec<String>,
    /// Since when it runs, if it does.
    pub started_at: Option<DateTime<Utc>>,
    /// For how long.
    pub uptime: Option<Duration>,
    /// What it uses, if it runs and that can be seen.
    pub usage: Option<ResourceUsage>,
    /// Crashes in a row.
    pub crashes: u32,
    /// The circuit breaker is open: it is not started by itself.
    pub circuit_open: bool,
    /// An earlier host started it.
    pub adopted: bool,
    /// It can be reloaded.
    pub reloads: bool,
    /// Files that are watched for errors.
    pub logs: Vec<String>,
    /// Latest answers about its health, oldest first; bounded.
    pub health: Vec<HealthSample>,
}

/// An error that a service logged and had not logged before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogError {
    /// Which error it is, whatever numbers, times, ids, addresses and paths it holds:
    /// 16 hex digits.
    pub fingerprint: String,
    /// File it is in.
    pub file: String,
    /// The line that says what is wrong; of a trace that of the exception.
    pub line: String,
    /// The whole of it, cut to a bound.
    pub text: String,
    /// How often it is there.
    pub count: u32,
}
