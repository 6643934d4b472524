//! Probes every layer of containment by trying to break it: for `doctor`, and before
//! a host lets agents run commands.

use crate::inside::probe::TARGETS;
use crate::{Access, CancelToken, Limits, Sandbox, SandboxError, SandboxSpec, Workspace};
use selfheal_domain::tools::{CommandOutput, Ended};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

/// What an attack is after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Files of the host outside the workspace.
    WriteOutside,
    /// Files of the live tree.
    WriteWorkspace,
    /// Masked files.
    ReadSecret,
    /// The host's environment.
    ReadEnvironment,
    /// The machine's own loopback, or any other host.
    ReachNetwork,
    /// Unix sockets of the host, by path and abstract.
    ReachSockets,
    /// Processes of the host.
    SeeProcesses,
    /// Memory and environment of other processes.
    LookIntoOthers,
    /// Capabilities, set-user-id programs, user namespaces.
    GainPrivileges,
    /// System calls that let people out of containers before.
    DangerousCalls,
    /// More than its share of disk.
    FillDisk,
    /// More than its share of processes.
    ForkWithoutEnd,
    /// More than its share of memory.
    TakeMemory,
}

/// What the attacker inside is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Targets {
    pub(crate) attacks: Vec<Attack>,
    pub(crate) outside: String,
    pub(crate) tracked: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) port: u16,
    pub(crate) socket: String,
    pub(crate) abstract_name: String,
    pub(crate) pid: u32,
    pub(crate) file_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
}

/// What it answers, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Came {
    pub(crate) attack: Attack,
    pub(crate) through: Option<String>,
}

/// One layer of containment, attacked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Probe {
    /// The layer, as in `network`.
    pub name: &'static str,
    /// It held.
    pub holds: bool,
    /// What was tried, or how far the attack came.
    pub detail: String,
    /// What to do where it does not hold; empty where it does.
    pub remedy: &'static str,
}

/// Layers that the attacker inside tries, with what to do about each.
const LAYERS: &[(Attack, &str, &str, &str)] = &[
    (
        Attack::WriteOutside,
        "read-only host",
        "files outside the workspace cannot be written",
        MOUNTS,
    ),
    (
        Attack::WriteWorkspace,
        "read-only workspace",
        "diagnosis cannot write in the workspace",
        MOUNTS,
    ),
    (
        Attack::ReadSecret,
        "masks",
        "masked files read as empty",
        MOUNTS,
    ),
    (
        Attack::ReadEnvironment,
        "environment",
        "only allowed variables are there",
        BUG,
    ),
    (
        Attack::ReachNetwork,
        "network",
        "no listener of this machine, no route out",
        NAMESPACES,
    ),
    (
        Attack::ReachSockets,
        "sockets",
        "no unix socket of the host, by path or abstract",
        NAMESPACES,
    ),
    (
        Attack::SeeProcesses,
        "processes",
        "no process of the host is seen or signalled",
        NAMESPACES,
    ),
    (
        Attack::LookIntoOthers,
        "tracing",
        "no other process can be traced or read",
        SECCOMP,
    ),
    (
        Attack::GainPrivileges,
        "privileges",
        "no capabilities, no set-user-id, no user namespace",
        NAMESPACES,
    ),
    (
        Attack::DangerousCalls,
        "system calls",
        "mount, bpf, io_uring, keyctl and others are refused",
        SECCOMP,
    ),
    (
        Attack::FillDisk,
        "file size",
        "a file cannot outgrow its limit",
        LIMITS,
    ),
    (
        Attack::ForkWithoutEnd,
        "process count",
        "processes cannot outgrow their limit",
        LIMITS,
    ),
    (
        Attack::TakeMemory,
        "memory",
        "memory cannot outgrow its limit",
        LIMITS,
    ),
];

const NAMESPACES: &str = "allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, \
user.max_user_namespaces > 0, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in a container, \
run it with those system calls allowed (Docker: --security-opt seccomp=unconfined)";
const MOUNTS: &str = "Linux 5.12 or newer with overlayfs in user namespaces (5.11), and a file system that overlays work on";
const SECCOMP: &str = "a kernel with CONFIG_SECCOMP_FILTER";
const LANDLOCK: &str = "a kernel with CONFIG_SECURITY_LANDLOCK, and `landlock` among the LSMs at boot (lsm=landlock,…)";
const LIMITS: &str = "report this: limits are set by every Linux kernel";
const BUG: &str = "report this: it is a fault of Selfheal";

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thoroughness {
    /// What one process can try at once, in less than a tenth of a second: for every
    /// start of a host.
    Quick,
    /// Limits and the end of a call too, in about two seconds: for `doctor`.
    Full,
}

impl Sandbox {
    /// Attacks every layer from inside and says which hold. Where no sandbox can be
    /// built at all, that is the one answer.
    pub fn attack(&self, thoroughness: Thoroughness) -> Vec<Probe> {
        match Ground::new() {
            Ok(ground) => {
                attack(self, &ground, thoroughness).unwrap_or_else(|error| vec![none(&error)])
            }
            Err(error) => vec![none(&error)],
        }
    }
}

fn none(error: &dyn std::error::Error) -> Probe {
    let mut detail = format!("no sandbox: {error}");
    if let Some(cause) = error.source() {
        detail.push_str(&format!(": {cause}"));
    }
    Probe {
        name: "namespaces",
        holds: false,
        detail,
        remedy: NAMESPACES,
    }
}

/// Something to lose, in a directory of its own that is gone afterwards.
struct Ground {
    top: PathBuf,
}

impl Ground {
    fn new() -> io::Result<Self> {
        // Below a place that the sandbox hides, so that nothing in it needs a mask to
        // be out of reach, and beside it: both kinds are attacked.
        let base = std::env::temp_dir().canonicalize()?;
        let top = base.join(format!(
            "selfheal-doctor-{}-{}",
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero()
        ));
        std::fs::create_dir_all(top.join("tree"))?;
        for (name, text) in [
            ("tree/file", "live\n"),
            ("tree/secret", "secret\n"),
            ("outside", "precious\n"),
        ] {
            std::fs::write(top.join(name), text)?;
        }
        Ok(Self { top })
    }

    fn tree(&self) -> PathBuf {
        self.top.join("tree")
    }

    fn is_whole(&self) -> bool {
        let is = |name: &str, text: &str| {
            std::fs::read_to_string(self.top.join(name)).is_ok_and(|found| found == text)
        };
        is("tree/file", "live\n") && is("tree/secret", "secret\n") && is("outside", "precious\n")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.top);
    }
}

fn attack(
    sandbox: &Sandbox,
    ground: &Ground,
    thoroughness: Thoroughness,
) -> Result<Vec<Probe>, SandboxError> {
    let tcp = TcpListener::bind("127.0.0.1:0").map_err(SandboxError::host("listening"))?;
    let socket = ground.tree().join("socket");
    let _unix = UnixListener::bind(&socket).map_err(SandboxError::host("listening"))?;
    let abstract_name = format!("selfheal-doctor-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name);
    let _abstract = name
        .and_then(|name| UnixListener::bind_addr(&name))
        .map_err(SandboxError::host("listening"))?;
    let limits = Limits {
        wall: Duration::from_secs(20),
        cpu: Duration::from_secs(5),
        memory_bytes: 256 << 20,
        processes: 48,
        file_bytes: 4 << 20,
        tmp_bytes: 64 << 20,
        output_bytes: 256 * 1024,
    };
    let (calm, greedy): (Vec<Attack>, Vec<Attack>) = LAYERS
        .iter()
        .map(|(attack, ..)| *attack)
        .partition(|attack| {
            !matches!(
                attack,
                Attack::FillDisk | Attack::ForkWithoutEnd | Attack::TakeMemory
            )
        });
    let mut tried = calm.clone();
    if thoroughness == Thoroughness::Full {
        tried.extend(&greedy);
    }
    let mut targets = Targets {
        attacks: calm,
        outside: ground.top.join("outside").to_string_lossy().into_owned(),
        tracked: ground.tree().join("file").to_string_lossy().into_owned(),
        secrets: vec![
            ground.tree().join("secret").to_string_lossy().into_owned(),
            "/etc/shadow".to_owned(),
        ],
        port: tcp
            .local_addr()
            .map_err(SandboxError::host("listening"))?
            .port(),
        socket: socket.to_string_lossy().into_owned(),
        abstract_name,
        pid: std::process::id(),
        file_bytes: limits.file_bytes,
        memory_bytes: limits.memory_bytes,
        processes: limits.processes,
    };
    let mut answers = BTreeMap::new();
    let first = send(sandbox, ground, &targets, limits)?;
    read(&first, &mut answers);
    // Each alone: one that is killed for its greed says no more.
    let greedy = greedy
        .into_iter()
        .filter(|_| thoroughness == Thoroughness::Full);
    for attack in greedy {
        targets.attacks = vec![attack];
        let output = send(sandbox, ground, &targets, limits)?;
        if read(&output, &mut answers) == 0 && output.ended == Ended::Signal(9) {
            answers.insert(attack, None);
        }
    }
    let mut probes: Vec<Probe> = LAYERS
        .iter()
        .filter(|(attack, ..)| tried.contains(attack))
        .map(|(attack, name, held, remedy)| match answers.get(attack) {
            Some(None) => holds(name, held),
            Some(Some(through)) => broken(name, through.clone(), remedy),
            None => broken(name, "the attack did not report".to_owned(), BUG),
        })
        .collect();
    probes.insert(
        0,
        if ground.is_whole() {
            holds("live tree", "nothing outside the sandbox changed")
        } else {
            broken(
                "live tree",
                "an attack changed files of the host".to_owned(),
                MOUNTS,
            )
        },
    );
    if thoroughness == Thoroughness::Full {
        probes.push(outlive(sandbox, ground)?);
        probes.push(endless(sandbox, ground)?);
    }
    let facts = Sandbox::probe();
    probes.push(if facts.landlock > 0 {
        holds("landlock", &format!("ABI {}", facts.landlock))
    } else {
        broken("landlock", "the kernel offers none".to_owned(), LANDLOCK)
    });
    probes.push(if facts.overlay {
        holds("overlay", "writes of tests and drafts go to a layer")
    } else {
        broken("overlay", facts.notes.join("; "), MOUNTS)
    });
    Ok(probes)
}

fn holds(name: &'static str, detail: &str) -> Probe {
    Probe {
        name,
        holds: true,
        detail: detail.to_owned(),
        remedy: "",
    }
}

fn broken(name: &'static str, detail: String, remedy: &'static str) -> Probe {
    Probe {
        name,
        holds: false,
        detail,
        remedy,
    }
}

fn spec(ground: &Ground, command: String, limits: Limits) -> SandboxSpec {
    let mut spec = SandboxSpec::new(command, Workspace::new(ground.tree(), Access::ReadOnly));
    spec.masked = vec![ground.tree().join("secret"), ground.top.join("outside")];
    spec.environment
        .insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    spec.limits = limits;
    spec
}

/// Runs this very binary inside, as the attacker.
fn send(
    sandbox: &Sandbox,
    ground: &Ground,
    targets: &Targets,
    limits: Limits,
) -> Result<CommandOutput, SandboxError> {
    let binary = std::env::current_exe().map_err(SandboxError::host("finding this program"))?;
    let quoted = binary.to_string_lossy().replace('\'', "'\\''");
    let mut spec = spec(ground, format!("exec '{quoted}'"), limits);
    spec.visible = vec![binary];
    spec.environment.insert(
        crate::launch::MARK.to_owned(),
        crate::inside::ATTACKER.to_owned(),
    );
    let targets = serde_json::to_string(targets)
        .map_err(|error| SandboxError::Invalid(format!("a path is not UTF-8: {error}")))?;
    spec.environment.insert(TARGETS.to_owned(), targets);
    sandbox.run(spec, &CancelToken::new())
}

/// Takes the answers; how many there were.
fn read(output: &CommandOutput, answers: &mut BTreeMap<Attack, Option<String>>) -> usize {
    let came = output
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Came>(line).ok());
    let before = answers.len();
    answers.extend(came.map(|came| (came.attack, came.through)));
    answers.len() - before
}

/// Something that detaches itself must be gone when the call is over.
fn outlive(sandbox: &Sandbox, ground: &Ground) -> Result<Probe, SandboxError> {
    let seconds = format!("7{:06}", std::process::id() % 1_000_000);
    let command = format!(
        "(setsid sleep {seconds} </dev/null >/dev/null 2>&1 &); (trap '' HUP TERM; sleep {seconds} >/dev/null 2>&1 &); true"
    );
    sandbox.run(
        spec(ground, command, Limits::default()),
        &CancelToken::new(),
    )?;
    let left = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == seconds.as_bytes())
        });
    Ok(if left {
        broken(
            "end of a call",
            "a detached process outlived the call".to_owned(),
            NAMESPACES,
        )
    } else {
        holds("end of a call", "detached processes are killed with it")
    })
}

/// Time and output without end.
fn endless(sandbox: &Sandbox, ground: &Ground) -> Result<Probe, SandboxError> {
    let limits = Limits {
        wall: Duration::from_millis(700),
        output_bytes: 4096,
        ..Limits::default()
    };
    let command = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done";
    let output = sandbox.run(
        spec(ground, command.to_owned(), limits),
        &CancelToken::new(),
    )?;
    let cut = output.truncated && output.stdout.len() < 8192;
    Ok(if output.ended == Ended::TimedOut && cut {
        holds("time and output", "cut at their limits")
    } else {
        broken(
            "time and output",
            format!("{:?}, {} bytes", output.ended, output.stdout.len()),
            LIMITS,
        )
    })
}

/// Whether agents may run commands: every probed layer holds.
pub fn all_hold(probes: &[Probe]) -> bool {
    !probes.is_empty() && probes.iter().all(|probe| probe.holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_of_this_machine_holds() {
        let probes = Sandbox::new().attack(Thoroughness::Full);
        let broken: Vec<&Probe> = probes.iter().filter(|probe| !probe.holds).collect();
        assert!(broken.is_empty(), "{broken:#?}");
        assert!(probes.len() >= 16, "{probes:#?}");
        assert!(all_hold(&probes));
    }

    #[test]
    fn one_broken_layer_is_enough() {
        assert!(!all_hold(&[]));
        let mut probes = vec![holds("a", ""), holds("b", "")];
        assert!(all_hold(&probes));
        probes.push(broken("c", String::new(), BUG));
        assert!(!all_hold(&probes));
    }

    #[test]
    fn an_attack_that_comes_through_is_seen() {
        // Outside any sandbox the attacker reaches what it wants.
        let ground = Ground::new().expect("ground");
        assert!(ground.is_whole());
        std::fs::write(ground.top.join("outside"), "gone").expect("written");
        assert!(!ground.is_whole());
    }

    #[test]
    fn without_a_sandbox_that_is_said() {
        let probes = Sandbox::with_launcher("/bin/true").attack(Thoroughness::Quick);
        assert!(!all_hold(&probes));
        assert!(
            probes
                .iter()
                .any(|probe| probe.detail.contains("no sandbox")),
            "{probes:?}"
        );
    }
}
