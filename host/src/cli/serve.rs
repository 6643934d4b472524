//! `selfheal serve`: runs the host beside the application.

use super::output::{self, Colour};
use super::wait_for_signal;
use crate::compose::host::Host;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::ports::Services;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Runs the host: services, API, web page, healing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal serve
  selfheal serve --config /etc/selfheal/selfheal.toml --listen 127.0.0.1:0

Logs go to standard error; RUST_LOG sets their level. Ctrl-C stops in order: what is
under way is taken up at the next start.")]
pub(crate) struct Serve {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "SELFHEAL_CONFIG",
        default_value = "selfheal.toml"
    )]
    config: PathBuf,
    /// Address instead of the configured one; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        start_logging();
        let mut config = Config::read(&self.config).because(Exit::Usage)?;
        config.listen = self.listen.unwrap_or(config.listen);
        let tls = config.tls.is_some();
        let mut host = Host::open(config)?;
        for service in host.services.status() {
            output::line(format!("service {}: {}", service.name, service.state));
        }
        host.start_healing()?;
        let runtime = runtime()?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        runtime.spawn(async move {
            wait_for_signal().await;
            stop.send_replace(true);
        });
        let scheme = if tls { "https" } else { "http" };
        let ready = |address: SocketAddr| {
            output::line(format!(
                "{} {scheme}://{address}",
                output::coloured(Colour::Green, "listening on")
            ));
        };
        let served = runtime.block_on(host.serve(ready, stopped));
        host.close();
        served.map(|()| Exit::Done)
    }
}

/// The async threads of the HTTP edge.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .because(Exit::Unavailable)
}

/// Structured logs on standard error.
pub(crate) fn start_logging() {
    use std::io::IsTerminal;
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!plain)
        // Saying that a line could not be written goes to the same place, and panics when
        // that fails: a log on a full disk would take the host down.
        .log_internal_errors(false);
    // Fails only when logging was started before.
    let _ = subscriber.try_init();
}
