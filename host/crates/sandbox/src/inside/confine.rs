//! What the command loses for good before it is executed: capabilities,
//! privileges of its executables, and more than its share of resources.

use super::{Step, broken, lacking};
use crate::order::Order;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What root keeps for a workspace of another user, whose files it could not
/// write otherwise. The mounts still say where writing works at all.
const FOREIGN: &[CapabilitySet] = &[CapabilitySet::DAC_OVERRIDE, CapabilitySet::FOWNER];

/// Landlock rules made before the command is forked.
pub(super) struct Landlock {
    rules: Option<RulesetCreated>,
    /// The kernel's ABI, 0 for none.
    pub(super) abi: u32,
}

/// Writing only below `writable`, `/dev` and `/proc`, whatever else is mounted.
/// The mounts enforce the same; this is the second lock on the door.
pub(super) fn landlock(writable: &[PathBuf]) -> Step<Landlock> {
    // SAFETY: with this flag the call reads nothing but its plain arguments.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            1_u32,
        )
    };
    let Ok(abi @ 1..) = u32::try_from(abi) else {
        return Ok(Landlock {
            rules: None,
            abi: 0,
        });
    };
    let known = ABI::V7;
    let write = AccessFs::from_write(known);
    let failed = |error| lacking::<landlock::RulesetError>("making Landlock rules")(error);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)
        .map_err(failed)?
        .scope(Scope::from_all(known))
        .map_err(failed)?
        .create()
        .map_err(failed)?;
    let devices = ["/dev", "/proc"].map(PathBuf::from);
    for path in writable.iter().chain(&devices) {
        let place = PathFd::new(path).map_err(broken(path.display()))?;
        rules = rules
            .add_rule(PathBeneath::new(place, write))
            .map_err(failed)?;
    }
    Ok(Landlock {
        rules: Some(rules),
        abi,
    })
}

/// A maximum for process ids of this namespace alone, where the kernel has one
/// (6.14). The only limit that binds root.
pub(super) fn limit_pids(processes: u32) -> bool {
    // The kernel keeps the first 300 numbers out of the second round.
    let most = processes.saturating_add(301);
    std::fs::write("/proc/sys/kernel/pid_max", most.to_string()).is_ok()
        && std::fs::read_to_string("/proc/sys/kernel/pid_max")
            .is_ok_and(|text| text.trim() == most.to_string())
}

/// Confines the calling process and prepares its descriptors. Afterwards only
/// `execve` is left to do.
pub(super) fn enter(
    order: &Order,
    stdin: Option<OwnedFd>,
    landlock: &Landlock,
    filter: &[BpfProgram],
) -> Step<()> {
    let _ = rustix::process::setsid();
    reset_signals();
    let stdin = match stdin {
        Some(pipe) => pipe,
        None => File::open("/dev/null")
            .map_err(lacking("opening /dev/null"))?
            .into(),
    };
    rustix::stdio::dup2_stdin(&stdin).map_err(lacking("setting standard input"))?;
    drop(stdin);
    close_others()?;
    let directory = order.spec.workspace.root.join(&order.spec.directory);
    rustix::process::chdir(&directory).map_err(broken(directory.display()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    limit(order)?;
    drop_capabilities(if order.foreign { FOREIGN } else { &[] })?;
    rustix::thread::set_no_new_privs(true).map_err(lacking("giving up new privileges"))?;
    if let Some(rules) = &landlock.rules {
        let failed = "restricting by Landlock";
        let status = rules
            .try_clone()
            .map_err(lacking(failed))?
            .restrict_self()
            .map_err(lacking(failed))?;
        if status.ruleset == RulesetStatus::NotEnforced {
            return Err(lacking(failed)("the kernel did not enforce it"));
        }
    }
    for program in filter {
        seccompiler::apply_filter(program).map_err(lacking("filtering system calls"))?;
    }
    Ok(())
}

/// What init itself gives up once the command runs: it only watches from then on.
pub(super) fn retire() -> Step<()> {
    // The command has the same user; nothing of ours is readable through /proc.
    // Until here the capabilities, which it lacks, keep it out.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(lacking("hiding from the command"))?;
    drop_capabilities(&[])?;
    rustix::thread::set_no_new_privs(true).map_err(lacking("giving up new privileges"))
}

/// Default actions and nothing blocked, as a fresh program expects.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: setting the default action is valid for every signal; for those
        // that cannot be changed the call fails without effect.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Everything above standard error closes on `execve`; a failure before it can
/// still be reported.
fn close_others() -> Step<()> {
    // SAFETY: marking descriptors close-on-exec invalidates none of them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(lacking("closing descriptors")(
            std::io::Error::last_os_error(),
        ))
    }
}

fn limit(order: &Order) -> Step<()> {
    let limits = &order.spec.limits;
    let cpu = limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() > 0);
    for (resource, most) in [
        (Resource::Cpu, cpu.max(1)),
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, u64::from(limits.processes)),
        (Resource::Nofile, 4096),
        // One byte: unlike none, it also keeps a handler on the host from starting.
        (Resource::Core, 1),
        (Resource::Memlock, 64 * 1024 * 1024),
        (Resource::Msgqueue, 1024 * 1024),
    ] {
        let inherited = rustix::process::getrlimit(resource);
        let most = inherited.maximum.map_or(most, |already| already.min(most));
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(most),
                maximum: Some(most),
            },
        )
        .map_err(lacking("limiting resources"))?;
    }
    // When memory runs out on the host, this goes first.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// All but `kept`, for this process and what it executes.
fn drop_capabilities(kept: &[CapabilitySet]) -> Step<()> {
    let failed = |error| lacking::<rustix::io::Errno>("dropping capabilities")(error);
    let kept = kept.iter().copied().collect::<CapabilitySet>();
    let only = |permitted| CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: kept,
    };
    rustix::thread::clear_ambient_capability_set().map_err(failed)?;
    if !kept.is_empty() {
        let held = rustix::thread::capabilities(None).map_err(failed)?;
        rustix::thread::set_capabilities(None, only(held.permitted)).map_err(failed)?;
        for capability in kept {
            rustix::thread::configure_capability_in_ambient_set(capability, true)
                .map_err(failed)?;
        }
    }
    // Also at `execve` by root nothing comes back.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits).map_err(failed)?;
    for number in 0..64_u32 {
        // SAFETY: dropping a bounding capability has no memory effects; numbers
        // that the kernel does not know fail, which ends the loop.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        if result != 0 {
            break;
        }
    }
    rustix::thread::set_capabilities(None, only(kept)).map_err(failed)
}
