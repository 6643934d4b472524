//! Where an agent's calls are judged before it carries them out, and what came of
//! them is recorded. Nothing else gives permission.

use crate::convert::Wish;
use crate::failure::Failure;
use crate::transcript::{Transcript, cut};
use selfheal_domain::event::ToolOutcome;
use selfheal_domain::tools::{JudgedCall, ToolError, ToolRequest, Tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Longest outcome that is recorded, in bytes; the record cuts further.
const LONGEST_OUTCOME: usize = 2 * 1024;

/// What an agent is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Go on.
    Allow,
    /// Do not; the text says why and what else may work.
    Deny(String),
}

/// A call that may happen and has not ended.
struct Open {
    /// As the agent wrote it: the permission is for this and nothing else.
    tool: String,
    input: Value,
    calls: Vec<JudgedCall>,
}

/// The calls of one session.
pub(crate) struct Gate<'a> {
    tools: &'a dyn Tools,
    agent: &'static str,
    most_calls: u32,
    calls: u32,
    denied_in_a_row: u32,
    open: BTreeMap<String, Open>,
    // Whose latest question was answered with yes; as many as there may be calls.
    permitted: BTreeSet<String>,
    pub(crate) transcript: Transcript,
}

impl<'a> Gate<'a> {
    /// `agent` is its name in records.
    pub(crate) fn new(tools: &'a dyn Tools, agent: &'static str, most_calls: u32) -> Self {
        Self {
            tools,
            agent,
            most_calls,
            calls: 0,
            denied_in_a_row: 0,
            open: BTreeMap::new(),
            permitted: BTreeSet::new(),
            transcript: Transcript::default(),
        }
    }

    pub(crate) fn tools(&self) -> &'a dyn Tools {
        self.tools
    }

    /// Judges a call, which the agent names `id`.
    pub(crate) fn ask(
        &mut self,
        id: &str,
        tool: &str,
        input: &Value,
        wish: Wish,
    ) -> Result<Answer, Failure> {
        self.calls += 1;
        if self.calls > self.most_calls {
            return Err(Failure::OverBudget(format!(
                "it asked for more than {} tool calls",
                self.most_calls
            )));
        }
        // Asked again under the same name: the former permission is void.
        self.settle(id, ToolOutcome::Unknown("asked for again".to_owned()))?;
        self.permitted.remove(id);
        let requests = match wish {
            Wish::Calls(requests) => requests,
            Wish::Impossible(why) => {
                self.on_record(tool, input, &why)?;
                return self.deny(tool, why);
            }
        };
        let mut calls = Vec::new();
        for request in &requests {
            match self.tools.judge(request) {
                Ok(call) => calls.push(call),
                Err(error) => {
                    for call in calls {
                        let text = "a part of it was refused".to_owned();
                        self.tools.finished(call, ToolOutcome::Failed(text))?;
                    }
                    return match error {
                        ToolError::Denied(reason) => {
                            let mut text = format!("{} ({})", reason.message, reason.rule);
                            if let Some(alternative) = &reason.alternative {
                                text.push_str("; allowed instead: ");
                                text.push_str(alternative);
                            }
                            self.deny(tool, text)
                        }
                        ToolError::Invalid(text) => self.deny(tool, text),
                        // Nobody judged it or it could not be recorded.
                        ToolError::Cancelled | ToolError::Unavailable(_) => Err(error.into()),
                    };
                }
            }
        }
        self.denied_in_a_row = 0;
        let shown = cut(&input.to_string(), 300);
        self.transcript.push("call", &format!("{tool} {shown}"));
        self.tools.progress(&format!("{tool} {}", cut(&shown, 120)));
        let tool = tool.to_owned();
        let input = input.clone();
        self.permitted.insert(id.to_owned());
        self.open.insert(id.to_owned(), Open { tool, input, calls });
        Ok(Answer::Allow)
    }

    /// What no request of ours says is recorded as a call of a foreign tool, and
    /// refused whatever the policies say of it.
    fn on_record(&self, tool: &str, input: &Value, why: &str) -> Result<(), Failure> {
        let arguments = match input {
            Value::Object(_) => input.clone(),
            other => serde_json::json!({ "input": other }),
        };
        let foreign = ToolRequest::Mcp {
            server: self.agent.to_owned(),
            tool: cut(tool, 200),
            arguments,
        };
        match self.tools.judge(&foreign) {
            Ok(call) => {
                let text = format!("refused by the host: {why}");
                Ok(self.tools.finished(call, ToolOutcome::Failed(text))?)
            }
            Err(ToolError::Denied(_) | ToolError::Invalid(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn deny(&mut self, tool: &str, why: String) -> Result<Answer, Failure> {
        self.denied_in_a_row += 1;
        self.transcript.push("denied", &format!("{tool}: {why}"));
        self.tools
            .progress(&format!("{tool} denied: {}", cut(&why, 120)));
        if self.denied_in_a_row > 30 {
            return Err(Failure::GaveUp(
                "it was refused 30 times in a row".to_owned(),
            ));
        }
        Ok(Answer::Deny(why))
    }

    /// Is exactly this call permitted and not yet done?
    pub(crate) fn permits(&self, id: &str, tool: &str, input: &Value) -> bool {
        self.open
            .get(id)
            .is_some_and(|open| open.tool == tool && open.input == *input)
    }

    /// The latest call of that name was permitted.
    pub(crate) fn was_permitted(&self, id: &str) -> bool {
        self.permitted.contains(id)
    }

    /// The agent says that a call has ended.
    pub(crate) fn done(&mut self, id: &str, succeeded: bool, text: &str) -> Result<(), Failure> {
        let text = cut(text, LONGEST_OUTCOME);
        self.settle(
            id,
            if succeeded {
                ToolOutcome::Succeeded(text)
            } else {
                ToolOutcome::Failed(text)
            },
        )
    }

    fn settle(&mut self, id: &str, outcome: ToolOutcome) -> Result<(), Failure> {
        if let Some(open) = self.open.remove(id) {
            for call in open.calls {
                self.tools.finished(call, outcome.clone())?;
            }
        }
        Ok(())
    }

    /// The session is over; what has no outcome has an unknown one.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        let open: Vec<String> = self.open.keys().cloned().collect();
        for id in open {
            let text = "the agent did not say what came of it".to_owned();
            self.settle(&id, ToolOutcome::Unknown(text))?;
        }
        Ok(())
    }
}
