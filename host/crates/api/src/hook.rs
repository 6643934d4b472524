//! How agents of other makers ask before they act, and how they want to be answered:
//! the hook formats of Claude Code, Codex and Gemini CLI. Pure; the route and the
//! command line both speak through here.
//!
//! Most of these agents run the tool when an answer is not what they expect, so there
//! is an explicit answer to every question, and one that reads back (see [`told`]).
//! Unknown fields are accepted: the formats grow.

use selfheal_domain::event::ToolOutcome;
use selfheal_domain::external::{ExternalAgent, ExternalCall};
use selfheal_domain::verdict::Verdict;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Largest question, in bytes; what is larger is denied.
pub const MAX_QUESTION: usize = 1024 * 1024;
/// Largest report of what came of a call, in bytes: it carries the tool's answer.
pub const MAX_REPORT: usize = 8 * 1024 * 1024;
/// Longest text of a reason in an answer, in characters.
const MAX_REASON: usize = 1_000;

/// What an agent says.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// May this call happen?
    Asks(Box<ExternalCall>),
    /// This came of a call.
    Reports(Box<ExternalCall>, ToolOutcome),
    /// Its settings changed while it runs; may they be taken over?
    Configures(String),
    /// Something that needs no answer.
    Tells,
}

/// One hook event.
#[derive(Clone, PartialEq, Debug)]
pub struct HookEvent {
    /// Its name in the agent's words.
    pub name: String,
    /// What it says.
    pub said: Said,
}

/// Why an event was not understood. What it was is kept, so that the denial fits.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotUnderstood {
    /// The event's name, or the one that asks before a call.
    pub event: String,
    /// What is wrong.
    pub why: String,
}

/// What an answer tells the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Go ahead.
    Allow,
    /// Ask the person first.
    Ask,
    /// No.
    Deny,
}

/// The event in which this agent asks before a call.
pub fn asking_event(agent: ExternalAgent) -> &'static str {
    match agent {
        ExternalAgent::ClaudeCode | ExternalAgent::Codex => "PreToolUse",
        ExternalAgent::Gemini => "BeforeTool",
    }
}

/// Events that need no answer. Any other unknown event may be one that asks.
const CLAUDE_TELLS: &[&str] = &[
    "CwdChanged",
    "DirectoryAdded",
    "Elicitation",
    "ElicitationResult",
    "FileChanged",
    "InstructionsLoaded",
    "MessageDisplay",
    "Notification",
    "PermissionDenied",
    "PostCompact",
    "PostModelSwitch",
    "PostToolBatch",
    "PreCompact",
    "PreModelSwitch",
    "SessionEnd",
    "SessionStart",
    "Setup",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "TaskCompleted",
    "TaskCreated",
    "TeammateIdle",
    "UserPromptExpansion",
    "UserPromptSubmit",
    "WorktreeCreate",
    "WorktreeRemove",
];
const CODEX_TELLS: &[&str] = &[
    "PostCompact",
    "PreCompact",
    "SessionEnd",
    "SessionStart",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "UserPromptSubmit",
];
const GEMINI_TELLS: &[&str] = &[
    "AfterAgent",
    "AfterModel",
    "BeforeAgent",
    "BeforeModel",
    "BeforeToolSelection",
    "Notification",
    "PreCompress",
    "SessionEnd",
    "SessionStart",
];

/// Reads one event.
///
/// # Errors
/// What cannot be understood; deny it.
pub fn read(agent: ExternalAgent, bytes: &[u8]) -> Result<HookEvent, NotUnderstood> {
    let asking = asking_event(agent);
    let wrong = |event: &str, why: String| NotUnderstood {
        event: event.to_owned(),
        why,
    };
    if bytes.len() > MAX_REPORT {
        let why = format!("a hook's input has at most {MAX_REPORT} bytes");
        return Err(wrong(asking, why));
    }
    let input: Value = serde_json::from_slice(bytes)
        .map_err(|error| wrong(asking, format!("the hook's input is not JSON: {error}")))?;
    let Some(name) = input.get("hook_event_name").and_then(Value::as_str) else {
        let why = "the hook's input names no event (hook_event_name)".to_owned();
        return Err(wrong(asking, why));
    };
    let kind = Kind::of(agent, name).ok_or_else(|| {
        let known = clip(name, 64);
        wrong(
            asking,
            format!("the event {known:?} of {agent} is not known"),
        )
    })?;
    let told = kind == Kind::Reports;
    if !told && bytes.len() > MAX_QUESTION {
        let why = format!(
            "a hook's question has at most {MAX_QUESTION} bytes; this one has {}",
            bytes.len()
        );
        return Err(wrong(name, why));
    }
    let said = match kind {
        Kind::Tells => Said::Tells,
        Kind::Configures => {
            let source = input.get("source").and_then(Value::as_str);
            Said::Configures(clip(source.unwrap_or("settings"), 64))
        }
        Kind::Asks => Said::Asks(Box::new(
            call(agent, &input).map_err(|why| wrong(name, why))?,
        )),
        Kind::Reports => {
            let outcome = outcome(name, &input);
            let call = call(agent, &input).map_err(|why| wrong(name, why))?;
            Said::Reports(Box::new(call), outcome)
        }
    };
    Ok(HookEvent {
        name: name.to_owned(),
        said,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Asks,
    Reports,
    Configures,
    Tells,
}

impl Kind {
    fn of(agent: ExternalAgent, event: &str) -> Option<Self> {
        let tells = match agent {
            ExternalAgent::ClaudeCode => CLAUDE_TELLS,
            ExternalAgent::Codex => CODEX_TELLS,
            ExternalAgent::Gemini => GEMINI_TELLS,
        };
        match (agent, event) {
            (ExternalAgent::Gemini, "BeforeTool") => Some(Self::Asks),
            (ExternalAgent::Gemini, "AfterTool") => Some(Self::Reports),
            (ExternalAgent::Gemini, event) => tells.contains(&event).then_some(Self::Tells),
            (_, "PreToolUse" | "PermissionRequest") => Some(Self::Asks),
            (_, "PostToolUse") => Some(Self::Reports),
            (ExternalAgent::ClaudeCode, "PostToolUseFailure") => Some(Self::Reports),
            (ExternalAgent::ClaudeCode, "ConfigChange") => Some(Self::Configures),
            (_, event) => tells.contains(&event).then_some(Self::Tells),
        }
    }
}

fn call(agent: ExternalAgent, input: &Value) -> Result<ExternalCall, String> {
    let text = |key: &str| input.get(key).and_then(Value::as_str);
    let tool = text("tool_name").filter(|tool| !tool.is_empty() && tool.len() <= 256);
    let directory = text("cwd").filter(|cwd| cwd.len() <= 4_096);
    let bounded = |key: &str| text(key).map(|text| clip(text, 128));
    Ok(ExternalCall {
        agent,
        session: bounded("session_id").unwrap_or_default(),
        call: bounded("tool_use_id").filter(|id| !id.is_empty()),
        tool: tool
            .ok_or("the hook's input names no tool (tool_name)")?
            .to_owned(),
        input: input
            .get("tool_input")
            .cloned()
            .ok_or("the hook's input has no tool_input")?,
        directory: PathBuf::from(directory.ok_or("the hook's input has no cwd")?),
    })
}

/// What a report says, shortly; the tool's own answer stays where it is.
fn outcome(event: &str, input: &Value) -> ToolOutcome {
    if event == "PostToolUseFailure" {
        let error = input
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or("failed");
        return ToolOutcome::Failed(clip(error, 500));
    }
    let response = input.get("tool_response");
    if let Some(error) = response.and_then(|response| response.get("error")) {
        let text = error
            .as_str()
            .or_else(|| error.get("message").and_then(Value::as_str));
        return ToolOutcome::Failed(clip(text.unwrap_or("failed"), 500));
    }
    let size = response.map_or(0, |response| response.to_string().len());
    let duration = input
        .get("duration_ms")
        .and_then(Value::as_u64)
        .map(|milliseconds| format!(" after {milliseconds} ms"));
    ToolOutcome::Succeeded(format!(
        "answered {size} bytes{}",
        duration.unwrap_or_default()
    ))
}

/// The answer to a question about a call.
pub fn answer(
    agent: ExternalAgent,
    event: &str,
    input: Option<&Value>,
    verdict: &Verdict,
) -> Value {
    let reason = reason(verdict);
    match (agent, event) {
        (ExternalAgent::Gemini, _) => match verdict {
            Verdict::Allow => json!({ "decision": "allow", "reason": reason }),
            Verdict::Ask(_) => json!({ "decision": "deny", "reason": unasked(&reason) }),
            Verdict::Deny(_) => json!({ "decision": "deny", "reason": reason }),
        },
        (_, "PermissionRequest") => {
            let decision = match verdict {
                Verdict::Allow => json!({ "behavior": "allow" }),
                // The agent is asking a person already: leave it to that person.
                Verdict::Ask(_) if agent == ExternalAgent::ClaudeCode => return json!({}),
                Verdict::Ask(_) => json!({ "behavior": "deny", "message": unasked(&reason) }),
                Verdict::Deny(_) => json!({ "behavior": "deny", "message": reason }),
            };
            json!({ "hookSpecificOutput": { "hookEventName": event, "decision": decision } })
        }
        (_, "ConfigChange") => match verdict {
            Verdict::Allow => json!({}),
            Verdict::Ask(_) | Verdict::Deny(_) => json!({ "decision": "block", "reason": reason }),
        },
        (ExternalAgent::ClaudeCode, _) => {
            let decision = match verdict {
                Verdict::Allow => "allow",
                Verdict::Ask(_) => "ask",
                Verdict::Deny(_) => "deny",
            };
            json!({ "hookSpecificOutput": {
                "hookEventName": asking_event(agent),
                "permissionDecision": decision,
                "permissionDecisionReason": reason,
            } })
        }
        // It has no answer that allows, except with the input that is to be used; and
        // it runs the tool when it is told to ask.
        (ExternalAgent::Codex, _) => match (verdict, input) {
            (Verdict::Allow, Some(input)) => json!({ "hookSpecificOutput": {
                "hookEventName": asking_event(agent),
                "permissionDecision": "allow",
                "updatedInput": input,
            } }),
            (Verdict::Allow, None) => json!({}),
            (Verdict::Ask(_), _) => deny_codex(&unasked(&reason)),
            (Verdict::Deny(_), _) => deny_codex(&reason),
        },
    }
}

fn deny_codex(reason: &str) -> Value {
    json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": reason,
    } })
}

/// The answer to what needs none.
pub fn acknowledge() -> Value {
    json!({})
}

/// What an answer to this event tells the agent; none where it is not one of ours.
pub fn told(agent: ExternalAgent, event: &str, answer: &Value) -> Option<Told> {
    let object = answer.as_object()?;
    if agent == ExternalAgent::Gemini {
        return match answer.get("decision")?.as_str()? {
            "allow" => Some(Told::Allow),
            "deny" => Some(Told::Deny),
            _ => None,
        };
    }
    if event == "ConfigChange" {
        return match answer.get("decision").and_then(Value::as_str) {
            Some("block") => Some(Told::Deny),
            None if object.is_empty() => Some(Told::Allow),
            _ => None,
        };
    }
    if event == "PermissionRequest" && object.is_empty() {
        return Some(Told::Ask);
    }
    let specific = answer.get("hookSpecificOutput")?;
    if specific.get("hookEventName")?.as_str()? != event {
        return None;
    }
    let word = match specific.get("decision") {
        Some(decision) => decision.get("behavior")?.as_str()?,
        None => specific.get("permissionDecision")?.as_str()?,
    };
    match word {
        "allow" => Some(Told::Allow),
        "ask" if agent == ExternalAgent::ClaudeCode => Some(Told::Ask),
        "deny" => Some(Told::Deny),
        _ => None,
    }
}

/// What the agent and its person read.
pub fn reason(verdict: &Verdict) -> String {
    let Some(reason) = verdict.reason() else {
        return "allowed by the policies of selfheal".to_owned();
    };
    let instead = reason
        .alternative
        .as_deref()
        .map(|other| format!("; instead: {other}"));
    let text = format!(
        "selfheal, rule {}: {}{}",
        reason.rule,
        reason.message,
        instead.unwrap_or_default()
    );
    clip(&text, MAX_REASON)
}

fn unasked(reason: &str) -> String {
    format!("{reason} (a person would have to say yes, and nobody can be asked here)")
}

/// At most `most` characters.
fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests;
