//! Proves that an installed hook denies: a call that every policy set denies goes down
//! exactly the way that the agent's settings name, and so does one that is nonsense.

use super::host::Credentials;
use super::settings::Way;
use selfheal_api::hook::{self, Told};
use selfheal_domain::external::ExternalAgent;
use selfheal_domain::policy_control::{ENFORCEMENT_MARKER, MARKER_RULE};
use selfheal_domain::tools::Ended;
use selfheal_sandbox::{TrustedCommand, run_trusted};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Longer than the hook's own deadline.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was said on the way.
struct Heard {
    answer: Value,
    /// The exit code of the command; none over HTTP.
    code: Option<i32>,
}

/// Both denials, or what came instead.
pub(super) fn prove(agent: ExternalAgent, way: &Way, directory: &Path) -> Result<(), String> {
    let marker = marker(agent, directory);
    let heard = send(way, &marker, directory)?;
    refused(agent, &heard, "the marker call")?;
    if !heard.answer.to_string().contains(MARKER_RULE) {
        return Err(format!(
            "the marker call was denied, but not by the policies of the host: {}",
            heard.answer
        ));
    }
    let heard = send(way, b"nonsense", directory)?;
    refused(agent, &heard, "nonsense")
}

/// A question about a call that every policy set denies, and that does no harm.
fn marker(agent: ExternalAgent, directory: &Path) -> Vec<u8> {
    let tool = match agent {
        ExternalAgent::ClaudeCode | ExternalAgent::Codex => "Bash",
        ExternalAgent::Gemini => "run_shell_command",
    };
    let event = json!({
        "hook_event_name": hook::asking_event(agent),
        "session_id": "selfheal-hook-proof",
        "cwd": directory,
        "tool_name": tool,
        "tool_input": { "command": format!("true {ENFORCEMENT_MARKER}") },
        "tool_use_id": "selfheal-hook-proof",
    });
    event.to_string().into_bytes()
}

fn refused(agent: ExternalAgent, heard: &Heard, what: &str) -> Result<(), String> {
    let told = hook::told(agent, hook::asking_event(agent), &heard.answer);
    if told != Some(Told::Deny) {
        return Err(format!("{what} was not denied: {}", heard.answer));
    }
    match heard.code {
        None | Some(2) => Ok(()),
        Some(code) => Err(format!(
            "{what} was denied, but the hook ended with {code} in place of 2"
        )),
    }
}

fn send(way: &Way, event: &[u8], directory: &Path) -> Result<Heard, String> {
    match way {
        Way::Http { url, token } => {
            let (base, path) = url
                .find("/api/")
                .and_then(|at| url.split_at_checked(at))
                .ok_or_else(|| format!("{url} is no address of a hook"))?;
            let credentials = Credentials {
                url: base.to_owned(),
                token: token.clone(),
                account: None,
                ca_file: None,
            };
            let answer = credentials.send(path, event)?;
            let answer = serde_json::from_slice(&answer)
                .map_err(|error| format!("the answer is not JSON: {error}"))?;
            Ok(Heard { answer, code: None })
        }
        Way::Command(command) => start(command, event, directory),
    }
}

/// Starts the command as the agent does.
fn start(command: &str, event: &[u8], directory: &Path) -> Result<Heard, String> {
    let failed = |error: std::io::Error| format!("the proof cannot be prepared: {error}");
    let mut input = tempfile::NamedTempFile::new().map_err(failed)?;
    input.write_all(event).map_err(failed)?;
    let path = input
        .path()
        .to_str()
        .ok_or("the temporary directory has no plain name")?;
    let quoted = shlex::try_quote(path).map_err(|error| error.to_string())?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let output = run_trusted(&TrustedCommand {
        argv: vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            format!("( {command}\n) < {quoted}"),
        ],
        directory: directory.to_owned(),
        environment: environment.collect(),
        timeout: PATIENCE,
        output_bytes: 1024 * 1024,
    })
    .map_err(|error| format!("the hook cannot be started: {error}"))?;
    let Ended::Exit(code) = output.ended else {
        return Err(format!(
            "the hook did not end by itself: {:?}",
            output.ended
        ));
    };
    let answer = serde_json::from_str(output.stdout.trim()).map_err(|_| {
        format!(
            "the hook gave no answer (exit {code}): {}",
            output.stderr.trim()
        )
    })?;
    Ok(Heard {
        answer,
        code: Some(code),
    })
}
