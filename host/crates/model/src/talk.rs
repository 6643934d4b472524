//! One conversation with a model: ask, carry out what it asks for, tell it what came of
//! it, until it submits an answer or a bound ends it. A sub-agent is another one.

mod asking;
mod work;

use crate::calls::{How, Outcome};
use crate::catalog::{Call, Catalog};
use crate::compaction;
use crate::conversation::{Answer, Block, Message, Role, Stop, ToolChoice, ToolSpec};
use crate::handover::Kept;
use crate::limits::{Meter, ModelLimits};
use crate::prompt::Fence;
use crate::provider::{Provider, ProviderError};
use crate::stall::{Advice, Stall, Step};
use crate::text::cut_middle;
use crate::transcript::Journal;
use selfheal_domain::digest::Digest;
use selfheal_domain::tools::Tools;
use serde_json::{Value, json};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Longest text of an answer that is kept in the conversation, in bytes.
const SAID: usize = 64 * 1024;
/// Bytes of all results of one answer.
const RESULTS: usize = 128 * 1024;
/// Calls in a row that the host cannot carry out before the work ends.
const BROKEN: u32 = 3;
/// The same call so often is pointed out.
const REPEATED: u32 = 3;

/// What an agent and its sub-agents share.
pub(crate) struct Desk<'a> {
    pub(crate) provider: &'a dyn Provider,
    pub(crate) tools: &'a dyn Tools,
    pub(crate) limits: &'a ModelLimits,
    pub(crate) meter: Meter,
    pub(crate) fence: Fence<'a>,
    pub(crate) journal: &'a Journal<'a>,
    /// Calls that wrote into the worktree.
    pub(crate) writes: AtomicU64,
}

/// Why a conversation ended without an answer.
#[derive(Debug)]
pub(crate) enum End {
    /// Somebody aborted the run.
    Cancelled,
    /// The host cannot carry out calls any more.
    Host(String),
    /// The provider gives no answers.
    Provider(ProviderError),
    /// A bound was reached. In our words only: it is shown to people as such.
    Stopped(String),
}

/// How a conversation may end.
pub(crate) struct Ending<'e, T> {
    /// The tool that takes the final answer; without one, prose is the answer.
    pub(crate) tool: Option<ToolSpec>,
    /// Takes the tool's input, or says what is wrong with it.
    pub(crate) accept: &'e mut dyn FnMut(&Value) -> Result<T, String>,
    /// Takes prose, where that is an answer.
    pub(crate) prose: Option<fn(String) -> T>,
}

/// One conversation.
pub(crate) struct Talk<'a> {
    desk: &'a Desk<'a>,
    who: String,
    depth: u32,
    catalog: Catalog,
    system: String,
    messages: Vec<Message>,
    most_turns: u32,
    turns: u32,
    /// Tokens of the conversation, as last counted.
    context: u64,
    stall: Stall,
    wrong: u32,
    reminders: u32,
    compactions: u32,
    broken: u32,
    forced: Option<Forced>,
    /// When the latest answer was asked for.
    asked_at: Instant,
}

/// The model must submit now.
struct Forced {
    why: String,
    left: u32,
}

/// A call of an answer that is carried out.
struct Asked {
    id: String,
    name: String,
    digest: Digest,
    call: Result<Call, String>,
}

/// What an answer leaves to do.
struct Work {
    asked: Vec<Asked>,
    submitted: Vec<(String, Value)>,
    surplus: usize,
    prose: String,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(
        desk: &'a Desk<'a>,
        who: impl Into<String>,
        catalog: Catalog,
        system: String,
        brief: String,
        most_turns: u32,
    ) -> Self {
        let who = who.into();
        desk.journal.entry(&who, "system", json!(system.as_str()));
        desk.journal.entry(&who, "brief", json!(brief.as_str()));
        Self {
            desk,
            who,
            depth: 0,
            catalog,
            system,
            messages: vec![Message::text(Role::User, brief)],
            most_turns,
            turns: 0,
            context: 0,
            stall: Stall::default(),
            wrong: 0,
            reminders: 0,
            compactions: 0,
            broken: 0,
            forced: None,
            asked_at: Instant::now(),
        }
    }

    /// Goes on with what another model had begun.
    pub(crate) fn go_on(mut self, kept: Kept) -> Self {
        self.messages = kept.messages;
        self.turns = kept.turns;
        self.stall = kept.stall;
        self.wrong = kept.wrong;
        self.reminders = kept.reminders;
        self.compactions = kept.compactions;
        self
    }

    /// What somebody else can go on with, and when the answer was asked for that is
    /// missing.
    pub(crate) fn leave(self) -> (Kept, Instant) {
        let kept = Kept {
            messages: self.messages,
            turns: self.turns,
            stall: self.stall,
            wrong: self.wrong,
            reminders: self.reminders,
            compactions: self.compactions,
        };
        (kept, self.asked_at)
    }

    /// Talks until there is an answer.
    ///
    /// # Errors
    /// See [`End`].
    pub(crate) fn run<T>(&mut self, ending: &mut Ending<'_, T>) -> Result<T, End> {
        let mut specs = self.catalog.specs();
        specs.extend(ending.tool.clone());
        loop {
            self.may_go_on()?;
            if self.turns.saturating_add(1) >= self.most_turns && self.forced.is_none() {
                let why = format!("its {} turns are used up", self.most_turns);
                self.force(why, ending);
            }
            let choice = match (&mut self.forced, &ending.tool) {
                (None, _) => ToolChoice::Auto,
                (Some(forced), _) if forced.left == 0 => {
                    return Err(End::Stopped(forced.why.clone()));
                }
                (Some(forced), tool) => {
                    forced.left -= 1;
                    match tool {
                        Some(tool) => ToolChoice::Tool(tool.name.clone()),
                        None => ToolChoice::None,
                    }
                }
            };
            self.asked_at = Instant::now();
            let answer = self.ask(&specs, choice)?;
            self.turns += 1;
            if let Some(done) = self.take(answer, ending)? {
                return Ok(done);
            }
        }
    }

    fn may_go_on(&self) -> Result<(), End> {
        if self.desk.tools.cancelled() {
            return Err(End::Cancelled);
        }
        self.desk
            .meter
            .over()
            .map_or(Ok(()), |over| Err(End::Stopped(over)))
    }

    /// From now on only the final answer counts.
    fn force<T>(&mut self, why: String, ending: &Ending<'_, T>) {
        let wanted = match &ending.tool {
            Some(tool) => format!("call {} now with what you have", tool.name),
            None => "write your result now, without calls".to_owned(),
        };
        self.desk
            .journal
            .line(&format!("{}: {why}; it must answer now", self.who));
        self.say(&format!(
            "This is the end: {why}. Nothing else is carried out; {wanted}."
        ));
        self.forced = Some(Forced {
            why,
            left: self.desk.limits.corrections.max(1),
        });
    }

    /// Adds a text of ours to what the model reads next.
    fn say(&mut self, text: &str) {
        let block = Block::Text {
            text: text.to_owned(),
        };
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => last.blocks.push(block),
            _ => self.messages.push(Message {
                role: Role::User,
                blocks: vec![block],
            }),
        }
        self.desk.journal.entry(&self.who, "host", json!(text));
    }

    /// Takes in an answer: carries out its calls, or ends.
    fn take<T>(&mut self, answer: Answer, ending: &mut Ending<'_, T>) -> Result<Option<T>, End> {
        let desk = self.desk;
        let bytes: usize = answer.blocks.iter().map(compaction::block_size).sum();
        if bytes > desk.limits.answer_bytes {
            return Err(End::Provider(ProviderError::Broken {
                provider: desk.provider.name(),
                message: format!("an answer of {bytes} bytes"),
            }));
        }
        desk.journal.entry(
            &self.who,
            "answer",
            json!({ "blocks": answer.blocks, "stop": answer.stop, "usage": answer.usage }),
        );
        if answer.stop == Stop::Refusal {
            return Err(End::Stopped("it refused to answer".to_owned()));
        }
        let cut = answer.stop == Stop::MaxTokens;
        let work = self.tidy(answer.blocks, ending);
        let prose = work.prose.trim();
        if !prose.is_empty() {
            desk.journal.note(&format!("{}: {prose}", self.who));
        }
        if work.asked.is_empty() && work.submitted.is_empty() {
            return self.prose(prose, cut, ending);
        }
        if cut {
            // The last call may be half of what was meant; which one is not known.
            let ids = work.asked.into_iter().map(|asked| asked.id);
            let ids = ids.chain(work.submitted.into_iter().map(|(id, _)| id));
            let text = "Nothing was carried out: your answer was cut at its longest length. Ask again in smaller pieces.";
            self.results(ids.map(|id| (id, Outcome::wrong(text))).collect());
            self.advise(&[], ending);
            return Ok(None);
        }
        self.work(work, ending)
    }

    /// Carries out the calls of an answer and what it submits.
    fn work<T>(&mut self, work: Work, ending: &mut Ending<'_, T>) -> Result<Option<T>, End> {
        let outcomes = if self.forced.is_some() {
            let text = "not carried out: only the final answer counts now";
            work.asked.iter().map(|_| Outcome::wrong(text)).collect()
        } else {
            self.carry_out_all(&work.asked)
        };
        if outcomes.iter().any(|outcome| outcome.how == How::Cancelled) {
            return Err(End::Cancelled);
        }
        for outcome in &outcomes {
            self.broken = if outcome.how == How::Broken {
                self.broken + 1
            } else {
                0
            };
            if self.broken >= BROKEN {
                return Err(End::Host(outcome.text.clone()));
            }
        }
        let steps: Vec<Step> = work
            .asked
            .iter()
            .zip(&outcomes)
            .map(|(asked, outcome)| Step {
                call: asked.digest,
                result: Digest::of(outcome.text.as_bytes()),
                failed: outcome.how != How::Done,
                writes: self.writes(&asked.call),
            })
            .collect();
        let mut results: Vec<(String, Outcome)> = work
            .asked
            .into_iter()
            .map(|asked| asked.id)
            .zip(outcomes)
            .collect();
        let mut submitted = work.submitted.into_iter();
        if let Some((id, input)) = submitted.next() {
            match (ending.accept)(&input) {
                Ok(done) => {
                    self.desk.journal.line(&format!("{}: submits", self.who));
                    self.results(results);
                    return Ok(Some(done));
                }
                Err(wrong) => {
                    self.wrong += 1;
                    self.desk.journal.note(&format!(
                        "{}: the final answer is sent back: {wrong}",
                        self.who
                    ));
                    results.push((id, Outcome::wrong(wrong)));
                }
            }
        }
        let more = "not looked at: one final answer is enough";
        results.extend(submitted.map(|(id, _)| (id, Outcome::wrong(more))));
        self.results(results);
        // An abort while it was looked at.
        self.may_go_on()?;
        if self.wrong > self.desk.limits.corrections {
            return Err(End::Stopped(format!(
                "its final answer was wrong {} times",
                self.wrong
            )));
        }
        if work.surplus > 0 {
            self.say(&format!(
                "You asked for more calls than are carried out for one answer: {} of them were dropped. \
                 Ask for what you need next, at most {} at a time.",
                work.surplus, self.desk.limits.calls_per_answer
            ));
        }
        self.advise(&steps, ending);
        Ok(None)
    }

    /// Warns a model that runs in circles, and in the end stops it.
    fn advise<T>(&mut self, steps: &[Step], ending: &Ending<'_, T>) {
        let advice = self.stall.turn(steps, self.desk.limits);
        let repeated = steps
            .iter()
            .map(|step| self.stall.repeated(&step.call))
            .max()
            .unwrap_or(0);
        match advice {
            _ if self.forced.is_some() => {}
            Advice::Continue if repeated >= REPEATED => self.say(&format!(
                "You have made the same call {repeated} times. It will not say anything else."
            )),
            Advice::Continue => {}
            Advice::Warn => self.say(
                "Your last answers brought nothing new: the same calls, the same results, or denials. \
                 Try something else, or submit what you have. Soon you will have to.",
            ),
            Advice::Stop => self.force("it made no progress any more".to_owned(), ending),
        }
    }

    /// An answer without calls: the result of a sub-agent, or a reason to remind.
    fn prose<T>(
        &mut self,
        prose: &str,
        cut: bool,
        ending: &mut Ending<'_, T>,
    ) -> Result<Option<T>, End> {
        if let (Some(take), false) = (ending.prose, prose.is_empty()) {
            return Ok(Some(take(prose.to_owned())));
        }
        self.reminders += 1;
        if self.reminders > self.desk.limits.corrections {
            return Err(End::Stopped(
                "it ended in text instead of a final answer".to_owned(),
            ));
        }
        let name = ending.tool.as_ref().map(|tool| tool.name.as_str());
        self.say(&match (cut, name) {
            (true, _) => "Your answer was cut at its longest length. Be shorter.".to_owned(),
            (false, Some(name)) => {
                format!(
                    "Text alone does nothing. Go on with calls, or call {name} if you are done."
                )
            }
            (false, None) => "Your answer was empty. Write your result.".to_owned(),
        });
        self.advise(&[], ending);
        Ok(None)
    }

    /// Puts the answer into the conversation, in a form that can be sent again: nothing
    /// is oversized, nothing is empty.
    fn tidy<T>(&mut self, blocks: Vec<Block>, ending: &Ending<'_, T>) -> Work {
        let submit = ending.tool.as_ref().map(|tool| tool.name.clone());
        let mut work = Work {
            asked: Vec::new(),
            submitted: Vec::new(),
            surplus: 0,
            prose: String::new(),
        };
        let mut kept = Vec::new();
        for block in blocks {
            match block {
                Block::Text { text } => {
                    let text = cut_middle(&text, SAID);
                    if !text.trim().is_empty() {
                        work.prose.push_str(&text);
                        work.prose.push('\n');
                        kept.push(Block::Text { text });
                    }
                }
                thinking @ Block::Thinking { .. } => kept.push(thinking),
                Block::ToolUse { id, name, input } => {
                    let calls = work.asked.len() + work.submitted.len();
                    let is_submit = submit.as_ref() == Some(&name);
                    if calls >= self.desk.limits.calls_per_answer && !is_submit
                        || calls >= 2 * self.desk.limits.calls_per_answer
                    {
                        work.surplus += 1;
                        continue;
                    }
                    if is_submit {
                        work.submitted.push((id.clone(), input.clone()));
                    } else {
                        work.asked.push(Asked {
                            id: id.clone(),
                            digest: Digest::of(format!("{name} {input}").as_bytes()),
                            call: self.catalog.parse(&name, &input),
                            name: name.clone(),
                        });
                    }
                    kept.push(Block::ToolUse { id, name, input });
                }
                // Results are ours to give.
                Block::ToolResult { .. } => {}
            }
        }
        let speaks = kept
            .iter()
            .any(|block| !matches!(block, Block::Thinking { .. }));
        if !speaks {
            kept.push(Block::Text {
                text: "(no answer)".to_owned(),
            });
        }
        self.messages.push(Message {
            role: Role::Assistant,
            blocks: kept,
        });
        work
    }

    /// Tells the model what came of its calls.
    fn results(&mut self, results: Vec<(String, Outcome)>) {
        let each = (RESULTS / results.len().max(1))
            .min(self.desk.limits.result_bytes)
            .max(1024);
        let blocks: Vec<Block> = results
            .into_iter()
            .map(|(id, outcome)| Block::ToolResult {
                id,
                content: cut_middle(&outcome.text, each),
                is_error: outcome.how != How::Done,
            })
            .collect();
        self.desk.journal.entry(&self.who, "results", json!(blocks));
        self.messages.push(Message {
            role: Role::User,
            blocks,
        });
    }
}
