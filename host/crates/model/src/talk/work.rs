//! Carrying out the calls of one answer: what only reads at the same time, what writes in
//! order, sub-agents as conversations of their own.

use super::{Asked, End, Ending, Talk};
use crate::calls::{How, Outcome, carry_out};
use crate::catalog::{Call, TaskInput};
use crate::prompt;
use crate::text::clip;
use selfheal_domain::tools::ToolError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How calls of an answer may run beside others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    Tasks,
    Writes,
}

impl Talk<'_> {
    fn kind(&self, call: &Result<Call, String>) -> Kind {
        match call {
            Ok(Call::Read(_) | Call::Grep(_) | Call::Glob(_)) | Err(_) => Kind::Reads,
            Ok(Call::Bash(_)) if !self.catalog.writes() => Kind::Reads,
            Ok(Call::Task(_)) => Kind::Tasks,
            // What an external tool does nobody knows.
            Ok(
                Call::Bash(_)
                | Call::Write(_)
                | Call::Edit(_)
                | Call::MultiEdit(_)
                | Call::Mcp { .. },
            ) => Kind::Writes,
        }
    }

    /// Whether a call may change the worktree.
    pub(super) fn writes(&self, call: &Result<Call, String>) -> bool {
        self.kind(call) == Kind::Writes && !matches!(call, Ok(Call::Mcp { .. }))
    }

    /// Carries out calls: neighbours that only read at the same time, the others in
    /// order. Results come in the order of the calls.
    pub(super) fn carry_out_all(&self, asked: &[Asked]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(asked.len());
        for group in asked.chunk_by(|a, b| self.kind(&a.call) == self.kind(&b.call)) {
            let kind = group.first().map(|first| self.kind(&first.call));
            let workers = match kind {
                Some(Kind::Reads) => self.desk.limits.parallel,
                // Sub-agents that write take turns.
                Some(Kind::Tasks) if !self.catalog.writes() => self.desk.limits.tasks_at_once,
                Some(Kind::Tasks | Kind::Writes) | None => 1,
            };
            outcomes.extend(at_once(group, workers, |asked| self.carry_out_one(asked)));
        }
        outcomes
    }

    fn carry_out_one(&self, asked: &Asked) -> Outcome {
        if self.desk.tools.cancelled() {
            return ToolError::Cancelled.into();
        }
        let call = match &asked.call {
            Ok(call) => call,
            Err(wrong) => return Outcome::wrong(wrong.clone()),
        };
        let shown = shown(call);
        self.desk
            .tools
            .progress(&format!("{}: {} {shown}", self.who, asked.name));
        let left = self.desk.meter.left();
        let mut outcome = carry_out(call, self.desk.tools, self.catalog.writes(), left);
        if outcome.how == How::Done {
            match call {
                Call::Task(input) => outcome = self.task(input),
                _ if self.writes(&asked.call) => {
                    self.desk.writes.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        let first = outcome.text.lines().next().unwrap_or_default();
        let how = match outcome.how {
            How::Done => format!("{} bytes, {first}", outcome.text.len()),
            How::Wrong | How::Denied | How::Broken | How::Cancelled => first.to_owned(),
        };
        self.desk
            .journal
            .line(&format!("{}: {} {shown} → {how}", self.who, asked.name));
        outcome
    }

    /// Runs a sub-agent; the start of it is judged and recorded already.
    fn task(&self, input: &TaskInput) -> Outcome {
        let limits = self.desk.limits;
        if self.depth >= limits.depth {
            return Outcome::wrong("a sub-agent cannot start another one");
        }
        if !self.desk.meter.add_task(limits.tasks) {
            return Outcome::wrong(format!(
                "not started: {} sub-agents are enough; do it yourself",
                limits.tasks
            ));
        }
        let depth = self.depth + 1;
        let mut talk = Talk::new(
            self.desk,
            format!("task {:?}", clip(&input.description, 60)),
            self.catalog.with_tasks(depth < limits.depth),
            prompt::task_system(),
            input.prompt.clone(),
            limits.task_turns,
        );
        talk.depth = depth;
        let mut ending = Ending {
            tool: None,
            accept: &mut |_| Err("there is nothing to submit".to_owned()),
            prose: Some(|text| text),
        };
        match talk.run(&mut ending) {
            Ok(text) => Outcome::done(text),
            Err(End::Cancelled) => ToolError::Cancelled.into(),
            Err(End::Stopped(why)) => Outcome::wrong(format!("the sub-agent ended: {why}")),
            Err(End::Host(text)) => Outcome {
                text,
                how: How::Broken,
            },
            Err(End::Provider(error)) => {
                self.desk.journal.line(&format!("{}: {error}", talk.who));
                Outcome::wrong("the sub-agent got no answer from the model")
            }
        }
    }
}

/// A call in a few words.
fn shown(call: &Call) -> String {
    let text = match call {
        Call::Bash(input) => &input.command,
        Call::Read(input) => &input.file_path,
        Call::Grep(input) => &input.pattern,
        Call::Glob(input) => &input.pattern,
        Call::Write(input) => &input.file_path,
        Call::Edit(input) => &input.file_path,
        Call::MultiEdit(input) => &input.file_path,
        Call::Task(input) => &input.description,
        Call::Mcp { tool, .. } => tool,
    };
    clip(text.trim(), 160).replace('\n', " ")
}

/// Runs `work` on every item, at most `workers` at the same time; results in order.
fn at_once<T: Sync>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Outcome + Sync,
) -> Vec<Outcome> {
    let workers = workers.min(items.len());
    if workers <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Outcome)>> = Mutex::default();
    let run = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::SeqCst);
            items.get(index).map(|item| (index, item))
        } {
            let outcome = work(item);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((index, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // Without another thread this one does all of it.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
