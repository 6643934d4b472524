//! The system call filter: what no build or test needs and what has let people
//! out of containers before. It denies with `EPERM`, so programs that merely try
//! carry on.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Denied whatever the arguments.
const DENIED: &[libc::c_long] = &[
    // New views of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // New namespaces, other people's namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Other processes' insides.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Large attack surface of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Flags of `clone` that make namespaces, one by one.
const NAMESPACE_FLAGS: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Programs to install, in this order.
pub(super) fn compile() -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let any = |conditions: Vec<SeccompCondition>| -> Result<Vec<SeccompRule>, seccompiler::Error> {
        conditions
            .into_iter()
            .map(|condition| Ok(SeccompRule::new(vec![condition])?))
            .collect()
    };
    rules.insert(
        libc::SYS_clone,
        any(NAMESPACE_FLAGS
            .iter()
            .map(|flag| argument(0, SeccompCmpOp::MaskedEq(bits(*flag)), bits(*flag)))
            .collect::<Result<_, _>>()?)?,
    );
    // Pushing characters into a terminal, even though there is none.
    rules.insert(
        libc::SYS_ioctl,
        any(vec![
            argument(1, SeccompCmpOp::Eq, libc::TIOCSTI)?,
            argument(1, SeccompCmpOp::Eq, libc::TIOCLINUX)?,
        ])?,
    );
    // Unix, the loopback, and the routing netlink that name resolution asks.
    let mut sockets = vec![SeccompRule::new(vec![
        argument(0, SeccompCmpOp::Ne, bits(libc::AF_UNIX))?,
        argument(0, SeccompCmpOp::Ne, bits(libc::AF_INET))?,
        argument(0, SeccompCmpOp::Ne, bits(libc::AF_INET6))?,
        argument(0, SeccompCmpOp::Ne, bits(libc::AF_NETLINK))?,
    ])?];
    sockets.push(SeccompRule::new(vec![
        argument(0, SeccompCmpOp::Eq, bits(libc::AF_NETLINK))?,
        argument(2, SeccompCmpOp::Ne, bits(libc::NETLINK_ROUTE))?,
    ])?);
    rules.insert(libc::SYS_socket, sockets);
    // Limits of others, above all of the process that watches this one.
    rules.insert(
        libc::SYS_prlimit64,
        any(vec![argument(0, SeccompCmpOp::Ne, 0)?])?,
    );
    // Linux itself, asking, and fixed addresses (sanitizers): nothing else.
    rules.insert(
        libc::SYS_personality,
        vec![SeccompRule::new(vec![
            argument(0, SeccompCmpOp::Ne, 0)?,
            argument(0, SeccompCmpOp::Ne, 0xffff_ffff)?,
            argument(0, SeccompCmpOp::Ne, bits(libc::ADDR_NO_RANDOMIZE))?,
        ])?],
    );
    let denied = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        architecture,
    )?;
    // The arguments of `clone3` are out of a filter's reach; the C library falls
    // back to `clone` when it does not exist.
    let absent = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        architecture,
    )?;
    let mut programs: Vec<BpfProgram> = vec![denied.try_into()?, absent.try_into()?];
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32());
    }
    Ok(programs)
}

/// The x32 calls are numbered apart and would pass the other filters.
fn without_x32() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let statement = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// On 32 bits: the kernel, too, looks at no more of these arguments.
fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

fn bits(flag: libc::c_int) -> u64 {
    u64::from(flag.cast_unsigned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_filters_compile() {
        let programs = super::compile().unwrap();
        assert!(programs.iter().all(|program| !program.is_empty()));
    }
}
