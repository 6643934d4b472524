//! Binary `selfheal`: a running application's power to repair its own source
//! code, with a human hand on the switch. `cli` holds a file per command,
//! `compose` wires the crates; nothing else lives here.

mod cli;
mod compose;
mod config;
mod external;
mod failure;
mod login;
mod machine;
mod mask;

fn main() -> std::process::ExitCode {
    cli::run()
}
