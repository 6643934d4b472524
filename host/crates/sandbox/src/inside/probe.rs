//! The attacker that `doctor` sends into a sandbox: tries to break each layer from
//! inside, natively, and says how far it came.
//!
//! It is the running binary once more, so that no tool of the machine is needed and
//! none can be taken for ours.

use crate::probes::{Attack, Came, Targets};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::time::Duration;

/// Where the targets are named.
pub(crate) const TARGETS: &str = "SELFHEAL_PROBE_TARGETS";

/// Never returns.
pub(super) fn main() -> ! {
    let targets = std::env::var(TARGETS).unwrap_or_default();
    let Ok(targets) = serde_json::from_str::<Targets>(&targets) else {
        exit(2);
    };
    let mut out = std::io::stdout();
    for attack in &targets.attacks {
        let came = Came {
            attack: *attack,
            through: through(*attack, &targets),
        };
        if let Ok(line) = serde_json::to_string(&came) {
            let _ = writeln!(out, "{line}");
            let _ = out.flush();
        }
    }
    exit(0)
}

/// What the attack reached; none when it was stopped.
fn through(attack: Attack, targets: &Targets) -> Option<String> {
    match attack {
        Attack::WriteOutside => {
            // Where the file of the host lies, the sandbox has a private directory of
            // its own: making a new file there reaches nothing.
            let places = [
                (targets.outside.as_str(), false),
                ("/etc/selfheal-probe", true),
                ("/usr/selfheal-probe", true),
            ];
            let written = places.iter().find(|(place, create)| {
                OpenOptions::new()
                    .append(true)
                    .create(*create)
                    .open(place)
                    .is_ok()
            });
            written.map(|(place, _)| format!("opened {place} for writing"))
        }
        Attack::WriteWorkspace => OpenOptions::new()
            .append(true)
            .open(&targets.tracked)
            .is_ok()
            .then(|| "wrote in a read-only workspace".to_owned()),
        Attack::ReadSecret => targets.secrets.iter().find_map(|place| {
            let mut text = String::new();
            let read = File::open(place).and_then(|mut file| file.read_to_string(&mut text));
            (read.is_ok() && !text.is_empty()).then(|| format!("read {place}"))
        }),
        Attack::ReadEnvironment => std::env::vars_os().find_map(|(name, _)| {
            let name = name.to_string_lossy().into_owned();
            let expected = [
                "PATH",
                "PWD",
                "SHLVL",
                "_",
                "OLDPWD",
                TARGETS,
                crate::launch::MARK,
            ];
            (!expected.contains(&name.as_str())).then(|| format!("sees {name}"))
        }),
        Attack::ReachNetwork => reach_network(targets),
        Attack::ReachSockets => reach_sockets(targets),
        Attack::SeeProcesses => see_processes(targets),
        Attack::LookIntoOthers => look_into_others(),
        Attack::GainPrivileges => gain_privileges(),
        Attack::DangerousCalls => dangerous_calls(),
        Attack::FillDisk => fill(targets),
        Attack::ForkWithoutEnd => fork_without_end(targets),
        Attack::TakeMemory => take_memory(targets),
    }
}

fn reach_network(targets: &Targets) -> Option<String> {
    // The host's own listener, and an address that is nobody's: without a route the
    // second fails at once.
    let addresses = [
        format!("127.0.0.1:{}", targets.port),
        "192.0.2.1:9".to_owned(),
    ];
    addresses.iter().find_map(|address| {
        let address: SocketAddr = address.parse().ok()?;
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(_) => Some(format!("connected to {address}")),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Some(format!("has a route to {address}"))
            }
            Err(_) => None,
        }
    })
}

fn reach_sockets(targets: &Targets) -> Option<String> {
    if UnixStream::connect(&targets.socket).is_ok() {
        return Some("connected to a unix socket of the host".to_owned());
    }
    let name = std::os::unix::net::SocketAddr::from_abstract_name(targets.abstract_name.as_bytes());
    name.and_then(|name| UnixStream::connect_addr(&name))
        .is_ok()
        .then(|| "connected to an abstract socket of the host".to_owned())
}

fn see_processes(targets: &Targets) -> Option<String> {
    let seen = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .count();
    // Ourselves, the shell, and the first process.
    if seen > 3 {
        return Some(format!("sees {seen} processes"));
    }
    let pid = i32::try_from(targets.pid).ok()?;
    // SAFETY: signal 0 only asks whether the process could be signalled.
    let reached = pid > 3 && unsafe { libc::kill(pid, 0) } == 0;
    reached.then(|| "can signal a process of the host".to_owned())
}

fn look_into_others() -> Option<String> {
    // SAFETY: attaching fails or stops the first process of our own sandbox, which
    // the kernel ends with us; no memory of ours is involved.
    let attached =
        unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, 1, 0_usize, 0_usize) == 0 };
    if attached {
        return Some("traced another process".to_owned());
    }
    ["/proc/1/mem", "/proc/1/environ", "/proc/1/maps"]
        .iter()
        .find(|place| File::open(place).is_ok())
        .map(|place| format!("opened {place}"))
}

fn gain_privileges() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
            .to_owned()
    };
    if field("NoNewPrivs:") != "1" {
        return Some("set-user-id programs would work".to_owned());
    }
    for name in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        if u64::from_str_radix(&field(name), 16) != Ok(0) {
            return Some(format!("has capabilities ({name} {})", field(name)));
        }
    }
    // SAFETY: a call with plain arguments that makes a namespace or fails.
    let made = unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) } == 0;
    made.then(|| "made a user namespace, in which it has all capabilities".to_owned())
}

fn dangerous_calls() -> Option<String> {
    let calls = [
        ("mount", libc::SYS_mount),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("setns", libc::SYS_setns),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
    ];
    let passed = calls.iter().find(|(_, number)| {
        // SAFETY: with null arguments each of these fails without effect, by the
        // filter or by itself; which of the two, its error tells.
        let result = unsafe { libc::syscall(*number, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize) };
        let refused = std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
        result != -1 || !refused
    });
    passed.map(|(name, _)| format!("the system call {name} is not filtered"))
}

fn fill(targets: &Targets) -> Option<String> {
    // SAFETY: ignoring a signal has no preconditions.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let mut file = File::create("/tmp/probe").ok()?;
    let piece = vec![0; 1024 * 1024];
    let pieces = targets.file_bytes / piece.len() as u64 + 2;
    for _ in 0..pieces {
        if file.write_all(&piece).is_err() {
            return None;
        }
    }
    Some(format!("wrote {pieces} MiB into one file"))
}

fn fork_without_end(targets: &Targets) -> Option<String> {
    let mut children = Vec::new();
    // The kernel's own limit has about 300 to spare; fewer are found by looking.
    let most = targets.processes.saturating_add(400);
    let mut refused = false;
    for _ in 0..most {
        // SAFETY: one thread; the child does nothing but wait and end.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::sleep(Duration::from_secs(20));
                // SAFETY: ends the child without running anything else.
                unsafe { libc::_exit(0) }
            }
            -1 => {
                refused = true;
                break;
            }
            child => children.push(child),
        }
    }
    if !refused {
        // Long enough to be looked at and killed.
        std::thread::sleep(Duration::from_millis(500));
    }
    for child in &children {
        // SAFETY: our own children, not yet waited for, so the numbers are theirs.
        unsafe {
            libc::kill(*child, libc::SIGKILL);
            libc::waitpid(*child, std::ptr::null_mut(), 0);
        }
    }
    (!refused).then(|| format!("started {} processes", children.len()))
}

fn take_memory(targets: &Targets) -> Option<String> {
    let bytes = usize::try_from(targets.memory_bytes.saturating_mul(2)).ok()?;
    // SAFETY: an anonymous private mapping at an address of the kernel's choice.
    let place = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    (place != libc::MAP_FAILED).then(|| format!("got {} MiB of memory", bytes >> 20))
}
