//! One question of an agent, from standard input to exit code.

use super::host::{Asking, Host};
use crate::failure::{Exit, Failure};
use clap::Args;
use selfheal_api::hook::{self, HookEvent, MAX_REPORT, Said, Told};
use selfheal_domain::external::ExternalAgent;
use selfheal_domain::verdict::{Reason, Verdict};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

/// Seconds until a question without an answer is denied. Below the time limits that an
/// installation writes (see `settings`): where an agent's own limit comes first, some
/// run the tool.
pub(super) const DEADLINE: u64 = 20;

/// The exit code by which each of these agents takes a call for denied.
const DENIED: u8 = 2;

/// Whose question, and where to take it.
#[derive(Args, Debug)]
pub(super) struct Ask {
    /// Whose hook this is: claude-code, codex or gemini
    #[arg(long, required = true)]
    agent: Option<ExternalAgent>,
    #[command(flatten)]
    host: Host,
    /// Deny after so many seconds without an answer; keep it below the agent's own
    /// time limit, after which some agents run the tool
    #[arg(long, value_name = "SECONDS", default_value_t = DEADLINE, value_parser = clap::value_parser!(u64).range(1..=600))]
    deadline: u64,
}

/// What the agent is told, on all its ears.
#[derive(Debug)]
pub(super) struct Reply {
    /// For standard output.
    pub(super) answer: Value,
    pub(super) told: Told,
    /// For standard error, where it is a denial.
    pub(super) reason: String,
}

impl Reply {
    /// A denial by the host itself.
    pub(super) fn deny(agent: ExternalAgent, event: &str, rule: &str, why: String) -> Self {
        let verdict = Verdict::Deny(Reason::new(rule, why));
        Self {
            answer: hook::answer(agent, event, None, &verdict),
            told: Told::Deny,
            reason: hook::reason(&verdict),
        }
    }

    fn nothing() -> Self {
        Self {
            answer: hook::acknowledge(),
            told: Told::Allow,
            reason: String::new(),
        }
    }
}

/// What ends the wait.
enum End {
    /// What the agent asks is known; the denial must fit it from now on.
    Event(String),
    Reply(Reply),
    /// Told to stop.
    Signal,
}

impl Ask {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let agent = self.agent.ok_or_else(|| {
            let message = "say whose hook this is: --agent claude-code, codex or gemini";
            Failure::new(Exit::Usage, message)
        })?;
        let reply = self.wait(agent);
        Ok(say(agent, &reply))
    }

    /// Works in a thread of its own, so that no hanging host, pipe or panic keeps the
    /// denial back.
    fn wait(self, agent: ExternalAgent) -> Reply {
        let begun = Instant::now();
        let deadline = Duration::from_secs(self.deadline);
        let (send, ends) = mpsc::channel();
        let deny =
            |event: &str, why: &str| Reply::deny(agent, event, "host.unreachable", why.to_owned());
        let mut event = hook::asking_event(agent).to_owned();
        // A panic is told below, in the agent's words.
        std::panic::set_hook(Box::new(|_| {}));
        if watch_signals(send.clone()).is_err() {
            return deny(&event, "the hook could not start");
        }
        let host = self.host;
        let work = std::thread::Builder::new().spawn(move || {
            let work = std::panic::AssertUnwindSafe(|| work(agent, &host, &send));
            let reply = std::panic::catch_unwind(work).unwrap_or_else(|_| {
                let asking = hook::asking_event(agent);
                Reply::deny(
                    agent,
                    asking,
                    "host.hook-failed",
                    "the hook failed".to_owned(),
                )
            });
            // Fails only when nobody waits any more.
            let _ = send.send(End::Reply(reply));
        });
        if work.is_err() {
            return deny(&event, "the hook could not start");
        }
        loop {
            match ends.recv_timeout(deadline.saturating_sub(begun.elapsed())) {
                Ok(End::Event(name)) => event = name,
                Ok(End::Reply(reply)) => return reply,
                Ok(End::Signal) => return deny(&event, "the hook was told to stop"),
                Err(_) => {
                    let seconds = deadline.as_secs();
                    let why = format!("no answer from the host within {seconds} seconds");
                    return deny(&event, &why);
                }
            }
        }
    }
}

fn work(agent: ExternalAgent, host: &Host, ends: &Sender<End>) -> Reply {
    let mut input = Vec::new();
    let most = u64::try_from(MAX_REPORT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    if let Err(error) = std::io::stdin().lock().take(most).read_to_end(&mut input) {
        let why = format!("the hook's input cannot be read: {error}");
        return Reply::deny(agent, hook::asking_event(agent), "host.hook-input", why);
    }
    let event = match hook::read(agent, &input) {
        Ok(event) => event,
        Err(error) => return Reply::deny(agent, &error.event, "host.hook-input", error.why),
    };
    // Fails only when nobody waits any more.
    let _ = ends.send(End::Event(event.name.clone()));
    match &event.said {
        Said::Tells => Reply::nothing(),
        Said::Asks(_) | Said::Configures(_) => decide(agent, host, &event, &input),
        Said::Reports(..) => {
            // It happened already; that it could not be reported undoes nothing, and
            // the next question finds the same host.
            if let Err(error) = host.exchange(agent, &without_response(&input)) {
                complain(&format!(
                    "selfheal: the outcome could not be reported: {error}"
                ));
            }
            Reply::nothing()
        }
    }
}

/// The host's answer, if it is one.
pub(super) fn decide(
    agent: ExternalAgent,
    host: &impl Asking,
    event: &HookEvent,
    input: &[u8],
) -> Reply {
    let deny = |why: String| Reply::deny(agent, &event.name, "host.unreachable", why);
    let answer = match host.exchange(agent, input) {
        Ok(answer) => answer,
        Err(error) => return deny(error),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(&answer) else {
        return deny("the host's answer is not JSON".to_owned());
    };
    match hook::told(agent, &event.name, &answer) {
        Some(told) => Reply {
            reason: reason_in(&answer),
            answer,
            told,
        },
        None => deny("the host's answer is none that this agent understands".to_owned()),
    }
}

/// The words of a denial, wherever its format keeps them.
fn reason_in(answer: &Value) -> String {
    [
        "/hookSpecificOutput/permissionDecisionReason",
        "/hookSpecificOutput/decision/message",
        "/reason",
    ]
    .iter()
    .find_map(|pointer| answer.pointer(pointer)?.as_str())
    .unwrap_or("selfheal denies this")
    .to_owned()
}

/// A report without what the tool answered, which may be long and secret.
fn without_response(input: &[u8]) -> Vec<u8> {
    let Ok(mut report) = serde_json::from_slice::<Value>(input) else {
        return input.to_vec();
    };
    if let Some(response) = report.get_mut("tool_response") {
        let error = response.get("error").cloned();
        *response = match error {
            Some(error) => serde_json::json!({ "error": error }),
            None => serde_json::json!({ "bytes": response.to_string().len() }),
        };
    }
    serde_json::to_vec(&report).unwrap_or_else(|_| input.to_vec())
}

/// Prints the whole answer, and ends with the code that says the same.
fn say(agent: ExternalAgent, reply: &Reply) -> ExitCode {
    let mut text = reply.answer.to_string();
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if reply.told == Told::Deny {
        complain(&reply.reason);
        return ExitCode::from(DENIED);
    }
    if let Err(error) = written {
        complain(&format!("selfheal: {agent} could not be answered: {error}"));
        return ExitCode::from(DENIED);
    }
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    // Nothing is left to tell when nobody listens.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Sends the word to stop when the process is told to: from the moment this returns.
fn watch_signals(ends: Sender<End>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        // Fails only when nobody waits any more.
        let _ = ends.send(End::Signal);
    })?;
    Ok(())
}
