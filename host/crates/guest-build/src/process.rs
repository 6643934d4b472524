//! Starting the build tools of the operator's own machine, and saying which one
//! failed. What agents run starts elsewhere, in the sandbox.

use crate::error::BuildError;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A build tool. The only place of this crate that makes processes.
#[expect(
    clippy::disallowed_methods,
    reason = "compilers and package managers of whoever builds a module, with their own rights"
)]
pub fn tool(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Cargo as it runs this program, or the one on the path.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs to its end with our terminal.
///
/// # Errors
/// It cannot be started, or failed.
pub fn run(command: &mut Command) -> Result<(), BuildError> {
    let status = command.status().map_err(cannot_start(command))?;
    if !status.success() {
        return Err(ended(command, status));
    }
    Ok(())
}

/// Runs to its end; what it prints goes to our standard error, so that standard
/// output keeps what was asked for.
///
/// # Errors
/// It cannot be started, or failed.
pub fn run_aside(command: &mut Command) -> Result<(), BuildError> {
    run(command.stdin(Stdio::null()).stdout(std::io::stderr()))
}

/// Standard output of a program that must succeed; its errors go to our terminal.
///
/// # Errors
/// It cannot be started, or failed.
pub fn output(command: &mut Command) -> Result<String, BuildError> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(cannot_start(command))?;
    if !output.status.success() {
        return Err(ended(command, output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Standard output of a program that may be missing or fail.
pub fn attempt(command: &mut Command) -> Option<String> {
    let output = command
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program ends well within `limit`; past it, it is ended.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let Ok(mut child) = command.stdin(Stdio::null()).spawn() else {
        return false;
    };
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(None) | Err(_) => {
                // It may have ended meanwhile, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// A program on the path.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn cannot_start(command: &Command) -> impl FnOnce(std::io::Error) -> BuildError {
    let program = shown(command);
    move |source| BuildError::Start { program, source }
}

fn ended(command: &Command, status: std::process::ExitStatus) -> BuildError {
    BuildError::Ended {
        command: shown(command),
        status,
    }
}

/// The command line, for people.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
