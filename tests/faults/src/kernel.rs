//! ptrace, as far as it is needed here, with safe signatures.
#![allow(
    unsafe_code,
    reason = "ptrace and waitpid have no wrapper in the standard library"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Process or thread.
pub(crate) type Tid = libc::pid_t;

/// Why a thread stands still.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It ended.
    Gone,
    /// It enters or leaves a system call.
    Call,
    /// Something that ptrace tells.
    Event,
    /// A signal is about to arrive.
    Signal(i32),
}

/// A system call on its way in or out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Enter { number: i64, arguments: [u64; 6] },
    Leave { result: i64 },
}

/// Lets the calling thread trace what `command` starts.
pub(crate) fn traced_by_me(command: &mut Command) {
    // SAFETY: between fork and exec only ptrace is called, which takes no lock and
    // allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

fn ask(request: u32, tid: Tid, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: every caller passes for `data` what its request wants: a number, or the
    // address of a place of the size that the kernel writes.
    match unsafe { libc::ptrace(request, tid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// The next stop of a thread that the calling thread traces.
pub(crate) fn wait() -> io::Result<(Tid, Stop)> {
    let mut status = 0;
    // SAFETY: `status` is a place for one number.
    let tid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
    if tid == -1 {
        return Err(io::Error::last_os_error());
    }
    if !libc::WIFSTOPPED(status) {
        return Ok((tid, Stop::Gone));
    }
    let signal = libc::WSTOPSIG(status);
    Ok((
        tid,
        match signal {
            _ if status >> 16 != 0 => Stop::Event,
            _ if signal == libc::SIGTRAP | 0x80 => Stop::Call,
            _ => Stop::Signal(signal),
        },
    ))
}

/// New threads are traced too, and nothing outlives the tracer.
pub(crate) fn follow(tid: Tid) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    ask(libc::PTRACE_SETOPTIONS, tid, 0, options as usize).map(drop)
}

/// On to the next call, with a signal or none (0).
pub(crate) fn go_on(tid: Tid, signal: i32) {
    // A thread that was killed meanwhile is reported by `wait`.
    let _ = ask(libc::PTRACE_SYSCALL, tid, 0, signal as usize);
}

/// Lets go.
pub(crate) fn detach(tid: Tid) {
    let _ = ask(libc::PTRACE_DETACH, tid, 0, 0);
}

/// Which call a thread is in.
pub(crate) fn call(tid: Tid) -> io::Result<Call> {
    // SAFETY: plain numbers, for which zeroes are a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    let place = std::ptr::from_mut(&mut info) as usize;
    ask(libc::PTRACE_GET_SYSCALL_INFO, tid, size, place)?;
    // SAFETY: `op` says which part of the union the kernel wrote; all are numbers.
    unsafe {
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => Ok(Call::Enter {
                number: info.u.entry.nr as i64,
                arguments: info.u.entry.args,
            }),
            libc::PTRACE_SYSCALL_INFO_EXIT => Ok(Call::Leave {
                result: info.u.exit.sval,
            }),
            _ => Err(io::Error::other("it is in no system call")),
        }
    }
}

fn with_registers(tid: Tid, change: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
    // SAFETY: plain numbers, for which zeroes are a value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let place = std::ptr::from_mut(&mut registers) as usize;
    ask(libc::PTRACE_GETREGS, tid, 0, place)?;
    change(&mut registers);
    ask(libc::PTRACE_SETREGS, tid, 0, place).map(drop)
}

/// The call that the thread enters does not happen.
pub(crate) fn skip(tid: Tid) -> io::Result<()> {
    with_registers(tid, |registers| registers.orig_rax = u64::MAX)
}

/// The call that the thread leaves failed with this error.
pub(crate) fn fail(tid: Tid, errno: i32) -> io::Result<()> {
    with_registers(tid, |registers| {
        registers.rax = i64::from(-errno).cast_unsigned();
    })
}

/// Ends a process at once.
pub(crate) fn kill(pid: Tid) {
    // SAFETY: takes two numbers.
    let _ = unsafe { libc::kill(pid, libc::SIGKILL) };
}
