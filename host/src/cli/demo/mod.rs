//! `selfheal demo`: a small real application with a real bug, healed by the real
//! parts over the real API. Nothing is scripted to succeed: the report is made
//! from a request that fails, whichever that is, and the end is whatever it is.

mod application;
mod client;

use super::output::{self, Colour};
use super::serve::{runtime, start_logging};
use super::wait_for_signal;
use crate::compose::accounts::save_user;
use crate::compose::host::Host;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use application::{Application, Bug};
use clap::Args;
use client::Client;
use selfheal_domain::ports::Probes;
use selfheal_domain::user::{Role, UserName};
use selfheal_domain::verification::{CheckEvidence, VerificationResult};
use selfheal_pipeline::feed::FeedItem;
use selfheal_services::HttpProbes;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the demo waits for the issue to rest.
const PATIENCE: Duration = Duration::from_secs(240);
/// Time for all requests to the application.
const PROBE_BUDGET: Duration = Duration::from_secs(20);

/// Watch one real bug being reported, approved, healed, applied and verified.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal demo                       the server stays up afterwards
  selfheal demo --exit --bug discount
  selfheal demo --dir /tmp/shop --bug none && $EDITOR /tmp/shop/app/shop/*.py
  selfheal demo --dir /tmp/shop       heal what you broke

Needs python3 and git. Exit code 0 when the bug was healed, 1 when it was not.")]
pub(crate) struct Demo {
    /// Stop when the walk is over, instead of serving on
    #[arg(long)]
    exit: bool,
    /// The bug to plant: last-change (a crash), discount or pages (wrong answers),
    /// tax (a function that was never written: expect an honest no), none
    #[arg(long, value_enum, default_value_t = Bug::LastChange)]
    bug: Bug,
    /// Lay the application out here and keep it; used as it is if it is already there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address to serve
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Demo {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if std::env::var_os("RUST_LOG").is_some() {
            start_logging();
        }
        let begun = Instant::now();
        let temporary = tempfile::Builder::new()
            .prefix("selfheal-demo-")
            .tempdir()
            .because(Exit::Unavailable)?;
        let directory = self
            .dir
            .clone()
            .unwrap_or_else(|| temporary.path().to_owned());
        step(
            begun,
            &format!("laying out an application in {}", directory.display()),
        );
        let application = Application::lay_out(&directory, self.bug)?;
        if self.bug == Bug::None && application.fresh {
            output::line(
                "The application works. Break it and run `selfheal demo --dir` again with the same directory.",
            );
            return Ok(Exit::Done);
        }
        let (ada, grace) = (name("ada")?, name("grace")?);
        let data = application.data();
        let reporter = save_user(&data, &ada, Role::User, None)?;
        let admin = save_user(&data, &grace, Role::Admin, None)?;

        let mut config = Config::read(&application.config_file()).because(Exit::Usage)?;
        config.listen = self.listen;
        let probes = HttpProbes::new(config.probes.clone());
        let mut host = Host::open(config)?;
        host.feed.subscribe(move |item| {
            if let FeedItem::Progress { note, .. } = item {
                output::progress(format!(
                    "{:>6.1} s    {note}",
                    begun.elapsed().as_secs_f64()
                ));
            }
        });
        host.start_healing()?;
        let runtime = runtime()?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let stop_on_signal = stop.clone();
        runtime.spawn(async move {
            wait_for_signal().await;
            stop_on_signal.send_replace(true);
        });
        let (ready, address) = std::sync::mpsc::channel();
        let walk = std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                runtime.block_on(host.serve(
                    |address| {
                        // Fails only when the walk is already over.
                        let _ = ready.send(address);
                    },
                    stopped.clone(),
                ))
            });
            let walk = match address.recv() {
                Ok(address) => {
                    let url = format!("http://{address}");
                    let people = People {
                        reporter: Client::new(&url, &reporter),
                        admin: Client::new(&url, &admin),
                    };
                    let walk = self.walk(begun, &people, &probes, &application, &stopped);
                    if !self.exit && walk.is_ok() && !*stopped.borrow() {
                        output::line(format!(
                            "\nThe server stays up: {url}\n  reporter ada   {reporter}\n  admin    grace {admin}"
                        ));
                        output::line(format!(
                            "  SELFHEAL_URL={url} SELFHEAL_TOKEN={admin} selfheal issue show 1\nCtrl-C stops it."
                        ));
                        runtime.block_on(async {
                            let mut stopped = stopped.clone();
                            let _ = stopped.wait_for(|stop| *stop).await;
                        });
                    }
                    walk
                }
                Err(_) => Ok(Exit::Unavailable),
            };
            stop.send_replace(true);
            match served.join() {
                Ok(Ok(())) => walk,
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::new(Exit::Unavailable, "the server panicked")),
            }
        });
        host.close();
        if self.dir.is_some() {
            output::line(format!(
                "The application is kept in {}",
                directory.display()
            ));
        }
        walk
    }

    fn walk(
        &self,
        begun: Instant,
        people: &People,
        probes: &HttpProbes,
        application: &Application,
        stopped: &tokio::sync::watch::Receiver<bool>,
    ) -> Result<Exit, Failure> {
        step(begun, "sending the application's requests");
        let Some(broken) = broken(&probes.check(PROBE_BUDGET)) else {
            output::line("Every request is answered correctly: there is nothing to report.");
            return Ok(Exit::Done);
        };
        output::line(format!(
            "  {} {}",
            output::coloured(Colour::Red, "✗"),
            broken.detail
        ));

        people.admin.send(
            "PUT",
            "/autonomy",
            Some(json!({ "level": 1, "reason": "demo: review every patch" })),
        )?;
        let report = json!({
            "title": format!("The shop answers wrongly: {}", broken.name.trim_start_matches("probe: ")),
            "description": "I see this since today's update.",
            "stepsToReproduce": format!("Send the request \"{}\".", broken.name.trim_start_matches("probe: ")),
            "actualBehavior": broken.detail,
            "service": "shop",
        });
        let issue = people.reporter.send("POST", "/issues", Some(report))?;
        let number = issue
            .get("number")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        step(begun, &format!("ada (role user) reported issue #{number}"));

        people
            .admin
            .send("PATCH", &format!("/issues/{number}/approve"), None)?;
        step(begun, "grace (role admin) approved it: the agent may start");
        let issue = people.admin.wait(number, PATIENCE, stopped)?;
        show(&issue, "rootCause", "cause");
        if client::status(&issue) != "PATCH_PENDING" {
            return Ok(not_healed(&issue));
        }
        let patch = people
            .admin
            .send("GET", &format!("/issues/{number}/patch"), None)?;
        step(
            begun,
            "a patch was drafted in a worktree, proved, and judged by the policy modules",
        );
        let text = |key: &str| patch.get(key).and_then(Value::as_str).unwrap_or_default();
        output::line(output::diff(text("patchDiff")));
        show(&issue, "riskScore", "risk");
        show(&issue, "riskLevel", "level");

        let digest = json!({ "patchDigest": text("patchDigest") });
        people.admin.send(
            "PATCH",
            &format!("/issues/{number}/patch/approve"),
            Some(digest),
        )?;
        step(begun, "grace read exactly this patch and approved it");
        let issue = people.admin.wait(number, PATIENCE, stopped)?;
        show(&issue, "verificationDetails", "verification");
        if client::status(&issue) != "RESOLVED" {
            return Ok(not_healed(&issue));
        }
        step(
            begun,
            "the service was restarted; sending the request that failed again",
        );
        let after = probes.check(PROBE_BUDGET);
        let same = after.iter().find(|evidence| evidence.name == broken.name);
        let answered = same.is_some_and(|evidence| evidence.result == VerificationResult::Pass);
        for evidence in &after {
            let good = evidence.result == VerificationResult::Pass;
            let mark = if good {
                output::coloured(Colour::Green, "✓")
            } else {
                output::coloured(Colour::Red, "✗")
            };
            output::line(format!("  {mark} {}", evidence.detail));
        }
        step(begun, "the commits, as plain git shows them");
        output::line(application.history()?.trim_end());
        let report = selfheal_store::verify(&application.data(), None).because(Exit::NotSo)?;
        step(
            begun,
            &format!(
                "the audit log holds {} records; every one verified, head {}",
                report.records, report.head
            ),
        );
        let outcome = if answered {
            "healed"
        } else {
            "resolved, but the request still fails"
        };
        output::line(format!(
            "\n{}: issue #{number} after {:.1} s",
            output::coloured(Colour::Bold, outcome),
            begun.elapsed().as_secs_f64()
        ));
        Ok(if answered { Exit::Done } else { Exit::NotSo })
    }
}

struct People {
    reporter: Client,
    admin: Client,
}

fn name(text: &str) -> Result<UserName, Failure> {
    UserName::new(text).because(Exit::Usage)
}

fn broken(evidence: &[CheckEvidence]) -> Option<CheckEvidence> {
    evidence
        .iter()
        .find(|evidence| evidence.result != VerificationResult::Pass)
        .cloned()
}

fn step(begun: Instant, text: &str) {
    output::line(format!(
        "{} {}",
        output::coloured(
            Colour::Cyan,
            format!("{:>6.1} s", begun.elapsed().as_secs_f64())
        ),
        output::coloured(Colour::Bold, text)
    ));
}

fn show(issue: &Value, key: &str, label: &str) {
    match issue.get(key) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => {
            output::line(format!("  {label}: {}", text.replace('\n', "\n    ")))
        }
        Some(other) => output::line(format!("  {label}: {other}")),
    }
}

fn not_healed(issue: &Value) -> Exit {
    let status = client::status(issue);
    output::line(format!(
        "\n{}: the issue is {status}",
        output::coloured(Colour::Yellow, "not healed")
    ));
    let comments = issue
        .get("runs")
        .and_then(Value::as_array)
        .and_then(|runs| runs.last());
    if let Some(reason) = comments.and_then(|run| run.get("endReason")) {
        output::line(format!("  {}", reason.as_str().unwrap_or_default()));
    }
    Exit::NotSo
}

/// Runs git on the demo's own repository.
fn git(directory: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let mut words = vec![
        "git",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ];
    words.extend([
        "-c",
        "user.name=Shop team",
        "-c",
        "user.email=shop@localhost",
        "-c",
        "init.defaultBranch=main",
    ]);
    words.extend(arguments);
    let output = selfheal_sandbox::run_trusted(&selfheal_sandbox::TrustedCommand {
        argv: words.into_iter().map(str::to_owned).collect(),
        directory: directory.to_owned(),
        environment: git_environment(),
        timeout: Duration::from_secs(30),
        output_bytes: 256 * 1024,
    })
    .because(Exit::Unavailable)?;
    if output.ended.success() {
        return Ok(output.stdout);
    }
    Err(Failure::new(
        Exit::Unavailable,
        format!("git {}: {}", arguments.join(" "), output.stderr.trim()),
    ))
}

fn git_environment() -> std::collections::BTreeMap<String, String> {
    let mut environment = selfheal_sandbox::allowed_environment(&[]);
    environment.insert("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned());
    environment.insert("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned());
    environment
}
