//! One diagnosis under way: its tools, time and log.

use selfheal_domain::agent::{AgentError, Effort};
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, Tools};
use std::time::{Duration, Instant};

/// The state of one diagnosis.
pub(crate) struct Case<'a> {
    pub(crate) tools: &'a dyn Tools,
    pub(crate) started: Instant,
    pub(crate) until: Instant,
    pub(crate) log: String,
    pub(crate) tried: u64,
}

impl<'a> Case<'a> {
    pub(crate) fn new(tools: &'a dyn Tools, budget: Duration) -> Self {
        let started = Instant::now();
        Self {
            tools,
            started,
            until: started + budget,
            log: String::new(),
            tried: 0,
        }
    }

    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.log.len() < 60 * 1024 {
            self.log.push_str(&format!(
                "[{:6.2}s] {text}\n",
                self.started.elapsed().as_secs_f64()
            ));
        }
        self.tools.progress(text);
    }

    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(crate) fn effort(&self) -> Effort {
        Effort {
            candidates: self.tried,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    pub(crate) fn not_found(&mut self, summary: impl Into<String>) -> AgentError {
        let summary = summary.into();
        self.note(&summary);
        AgentError::NotFound {
            summary,
            log: std::mem::take(&mut self.log),
            effort: self.effort(),
        }
    }

    pub(crate) fn cancelled(&self) -> Result<(), AgentError> {
        if self.tools.cancelled() {
            Err(AgentError::Tool(ToolError::Cancelled))
        } else {
            Ok(())
        }
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        match self.tools.call(ToolRequest::read(path)) {
            Ok(ToolOutput::Text(text)) => Some(text),
            _ => None,
        }
    }
}
