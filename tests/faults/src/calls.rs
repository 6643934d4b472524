//! What each system call can do: nothing that lasts, change files, flush them, or act on
//! the world. A call that is in no list is unknown, and the trace says so.

use libc::c_long;

/// What a call is about. Numbers are positions of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing that outlives the process.
    Nothing,
    /// Changes an open file (or says something to whoever is at the other end).
    Open {
        verb: &'static str,
        file: usize,
        space: bool,
    },
    /// Changes what is at a path, which is relative to `directory` if there is one.
    At {
        verb: &'static str,
        directory: Option<usize>,
        path: usize,
        space: bool,
    },
    /// Makes an open file durable.
    Flush(usize),
    /// Makes everything durable.
    FlushAll,
    /// Acts on another process or another machine.
    Effect(&'static str),
}

const NOTHING: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_umask,
    libc::SYS_fadvise64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_mprotect,
    libc::SYS_memfd_create,
    libc::SYS_msync,
    // Threads, time, waiting.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pipe,
    libc::SYS_pipe2,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_execve,
    // Who and where.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getpgrp,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrlimit,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_prctl,
    libc::SYS_arch_prctl,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_capget,
    libc::SYS_landlock_create_ruleset,
    // Signals to itself, and children it has.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_pidfd_open,
    // Sockets, until something is said.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
];

const fn open(verb: &'static str, file: usize, space: bool) -> Role {
    Role::Open { verb, file, space }
}

const fn at(verb: &'static str, path: usize, space: bool) -> Role {
    Role::At {
        verb,
        directory: None,
        path,
        space,
    }
}

const fn below(verb: &'static str, directory: usize, path: usize, space: bool) -> Role {
    Role::At {
        verb,
        directory: Some(directory),
        path,
        space,
    }
}

/// Whether a shared mapping of a file can change it.
fn is_writable_mapping(arguments: &[u64; 6]) -> bool {
    let [_, _, protection, flags, file, _] = arguments;
    protection & libc::PROT_WRITE as u64 != 0
        && flags & 0xf == libc::MAP_SHARED as u64
        && *file as i32 >= 0
}

fn makes(flags: u64) -> bool {
    flags as i32 & (libc::O_CREAT | libc::O_TRUNC) != 0
}

/// What the call can do; none when nobody has thought about it yet. `own` is the process.
pub(crate) fn role(number: i64, arguments: &[u64; 6], own: i32) -> Option<Role> {
    let [first, second, third, ..] = *arguments;
    Some(match number {
        _ if NOTHING.contains(&number) => Role::Nothing,
        libc::SYS_write | libc::SYS_writev => open("write", 0, true),
        libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 => open("write", 0, true),
        libc::SYS_sendfile => open("write", 0, true),
        libc::SYS_copy_file_range | libc::SYS_splice => open("write", 2, true),
        libc::SYS_ftruncate => open("set length of", 0, second > 0),
        libc::SYS_fallocate => open("allocate", 0, true),
        libc::SYS_fchmod | libc::SYS_fchown => open("set attributes of", 0, false),
        libc::SYS_fsetxattr | libc::SYS_fremovexattr => open("set attributes of", 0, true),
        // FICLONE and FICLONERANGE copy a file; other requests ask.
        libc::SYS_ioctl if matches!(second, 0x4004_9409 | 0x4020_940d) => open("write", 0, true),
        libc::SYS_ioctl => Role::Nothing,
        libc::SYS_mmap if is_writable_mapping(arguments) => open("map", 4, false),
        libc::SYS_mmap => Role::Nothing,
        libc::SYS_open if makes(second) => at("make", 0, true),
        libc::SYS_openat if makes(third) => below("make", 0, 1, true),
        libc::SYS_open | libc::SYS_openat => Role::Nothing,
        // Its flags lie in memory; whether it makes something shows when it does not say.
        libc::SYS_openat2 => below("open", 0, 1, true),
        libc::SYS_creat => at("make", 0, true),
        libc::SYS_truncate => at("set length of", 0, second > 0),
        libc::SYS_mkdir => at("make directory", 0, true),
        libc::SYS_mkdirat => below("make directory", 0, 1, true),
        libc::SYS_mknod => at("make", 0, true),
        libc::SYS_mknodat => below("make", 0, 1, true),
        libc::SYS_rmdir => at("remove", 0, false),
        libc::SYS_unlink => at("remove", 0, false),
        libc::SYS_unlinkat => below("remove", 0, 1, false),
        libc::SYS_rename => at("rename to", 1, false),
        libc::SYS_renameat | libc::SYS_renameat2 => below("rename to", 2, 3, false),
        libc::SYS_link | libc::SYS_symlink => at("link", 1, true),
        libc::SYS_linkat => below("link", 2, 3, true),
        libc::SYS_symlinkat => below("link", 1, 2, true),
        libc::SYS_chmod | libc::SYS_chown | libc::SYS_lchown => at("set attributes of", 0, false),
        libc::SYS_utimes | libc::SYS_setxattr | libc::SYS_lsetxattr => {
            at("set attributes of", 0, false)
        }
        libc::SYS_fchmodat | libc::SYS_fchmodat2 | libc::SYS_fchownat => {
            below("set attributes of", 0, 1, false)
        }
        // Without a path it is about the open file.
        libc::SYS_utimensat if second == 0 => open("set attributes of", 0, false),
        libc::SYS_utimensat => below("set attributes of", 0, 1, false),
        libc::SYS_fsync | libc::SYS_fdatasync => Role::Flush(0),
        // No promise on a disk that caches, so none here.
        libc::SYS_sync_file_range => open("write back", 0, false),
        libc::SYS_sync | libc::SYS_syncfs => Role::FlushAll,
        libc::SYS_clone if first & libc::CLONE_THREAD as u64 != 0 => Role::Nothing,
        libc::SYS_clone | libc::SYS_fork | libc::SYS_vfork => Role::Effect("start a process"),
        // Its flags lie in memory: the tracer looks.
        libc::SYS_clone3 => Role::Effect("start"),
        libc::SYS_kill | libc::SYS_tgkill | libc::SYS_tkill if first as i32 == own => Role::Nothing,
        libc::SYS_kill | libc::SYS_tgkill | libc::SYS_tkill => Role::Effect("signal"),
        libc::SYS_pidfd_send_signal => Role::Effect("signal"),
        libc::SYS_connect => Role::Effect("connect"),
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => open("send", 0, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_change_are_told_from_calls_that_look() {
        let of = |number, arguments| role(number, &arguments, 7);
        let reading = [0, 0, 0, 0, 0, 0];
        let making = [0, 0, (libc::O_CREAT | libc::O_WRONLY) as u64, 0, 0, 0];
        assert_eq!(of(libc::SYS_openat, reading), Some(Role::Nothing));
        assert_eq!(
            of(libc::SYS_openat, making),
            Some(below("make", 0, 1, true))
        );
        assert_eq!(of(libc::SYS_fdatasync, reading), Some(Role::Flush(0)));
        let own = [7, 0, 0, 0, 0, 0];
        assert_eq!(of(libc::SYS_kill, own), Some(Role::Nothing));
        assert_eq!(of(libc::SYS_kill, reading), Some(Role::Effect("signal")));
        assert_eq!(
            of(libc::SYS_io_uring_enter, reading),
            None,
            "unknown until looked at"
        );
    }
}
