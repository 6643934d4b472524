//! The check itself, running beside the search.

use selfheal_domain::agent::CheckCommand;
use selfheal_domain::tools::{
    SessionError, ToolError, ToolRequest, ToolSession, Tools, WorkspaceAccess,
};
use std::time::{Duration, Instant};

/// How much of a check's output is kept, in bytes; at times twice as much.
const OUTPUT_TAIL: usize = 6000;

/// The check itself, running in its own session beside the worker.
pub(crate) struct CheckRun {
    session: Option<Box<dyn ToolSession>>,
    ended: Option<i32>,
    pub(crate) started: Instant,
    pub(crate) seconds: Option<f64>,
    text: String,
}

impl CheckRun {
    pub(crate) fn start(tools: &dyn Tools, check: &CheckCommand) -> Result<Self, ToolError> {
        let command = format!(
            "( {}\n) 2>&1 </dev/null; c=$?; echo; echo \"selfheal-exit:$c\"",
            check.command
        );
        let session = tools.session(ToolRequest::Bash {
            command,
            directory: check.directory.clone(),
            timeout: check.timeout + Duration::from_secs(5),
            access: WorkspaceAccess::Discard,
        })?;
        Ok(Self {
            session: Some(session),
            ended: None,
            started: Instant::now(),
            seconds: None,
            text: String::new(),
        })
    }

    /// Only the end of what a command says is worth reading.
    pub(crate) fn keep(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > 2 * OUTPUT_TAIL {
            let mut start = self.text.len() - OUTPUT_TAIL;
            while !self.text.is_char_boundary(start) {
                start += 1;
            }
            self.text.drain(..start);
        }
    }

    /// Ends it: what never ends must not take a core from the search.
    pub(crate) fn stop(&mut self) {
        self.session = None;
    }

    /// Waits at most this long; the exit code when the command ended.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<i32> {
        let end = Instant::now() + timeout;
        while self.ended.is_none() {
            let session = self.session.as_mut()?;
            match session.receive(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line
                    .strip_prefix("selfheal-exit:")
                    .and_then(|code| code.trim().parse().ok())
                {
                    Some(code) => {
                        self.ended = Some(code);
                        self.seconds = Some(self.started.elapsed().as_secs_f64());
                    }
                    None => self.keep(&line),
                },
                Err(SessionError::TimedOut) => return None,
                Err(_) => self.ended = Some(-1),
            }
        }
        self.ended
    }
}
