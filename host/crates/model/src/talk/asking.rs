//! Asking within what is left: of time, of money, of the model's context.

use super::{Desk, End, SAID, Talk};
use crate::compaction;
use crate::conversation::{Answer, Block, Message, Question, Role, ToolChoice, ToolSpec, Usage};
use crate::limits::estimated;
use crate::prompt;
use crate::provider::{Delta, ProviderError};
use crate::text::{clip, cut_middle};
use selfheal_domain::user::TrustClass;
use serde_json::json;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a line of an answer under way is shown at most.
const LIVE: Duration = Duration::from_secs(2);

impl Talk<'_> {
    /// Longest answer that the model's context has room for, in tokens.
    fn output_tokens(&self) -> u32 {
        let quarter = self.desk.provider.context_window() / 4;
        self.desk
            .limits
            .output_tokens
            .min(u32::try_from(quarter).unwrap_or(u32::MAX))
            .max(256)
    }

    /// Tokens that the conversation may have before it is summarised.
    fn room(&self) -> u64 {
        let window = self.desk.provider.context_window();
        window.saturating_sub(u64::from(self.output_tokens())) / 10 * 8
    }

    /// Asks once; a conversation that is too long is summarised and asked once more.
    pub(super) fn ask(&mut self, specs: &[ToolSpec], choice: ToolChoice) -> Result<Answer, End> {
        let tools: usize = specs
            .iter()
            .map(|spec| spec.description.len() + spec.input_schema.to_string().len())
            .sum();
        let estimate = compaction::estimate(&self.system, &self.messages) + estimated(tools);
        if self.context.max(estimate) > self.room() {
            self.compact()?;
        }
        match self.ask_provider(specs, choice.clone()) {
            Err(ProviderError::TooLong { .. }) => {
                self.compact()?;
                self.ask_provider(specs, choice)
                    .map_err(|error| self.provider_end(error))
            }
            other => other.map_err(|error| self.provider_end(error)),
        }
    }

    fn provider_end(&self, error: ProviderError) -> End {
        match error {
            ProviderError::Cancelled if self.desk.tools.cancelled() => End::Cancelled,
            ProviderError::Cancelled => End::Stopped(
                self.desk
                    .meter
                    .over()
                    .unwrap_or_else(|| "its answer was given up".to_owned()),
            ),
            error => End::Provider(error),
        }
    }

    fn ask_provider(
        &mut self,
        specs: &[ToolSpec],
        tool_choice: ToolChoice,
    ) -> Result<Answer, ProviderError> {
        let question = Question {
            system: &self.system,
            messages: &self.messages,
            tools: specs,
            tool_choice,
            max_output_tokens: self.output_tokens(),
        };
        let answer = self.desk.ask(&question)?;
        self.context = answer.usage.total();
        Ok(answer)
    }

    /// Replaces the older part of the conversation by a summary.
    fn compact(&mut self) -> Result<(), End> {
        self.compactions += 1;
        if self.compactions > self.desk.limits.compactions {
            return Err(End::Stopped(
                "its conversation became too long too often".to_owned(),
            ));
        }
        if let Some(range) = compaction::older(&self.messages) {
            let old = self.messages.get(range.clone()).unwrap_or_default();
            let mut text = compaction::earlier(&self.messages)
                .map(|earlier| format!("{earlier}\n"))
                .unwrap_or_default();
            // Half of the room: whoever said "too long" may count in another way.
            let most = usize::try_from(self.room()).unwrap_or(usize::MAX) / 2 * 3;
            text.push_str(&compaction::render(old, most));
            let summary = match self.summarise(&text)? {
                Some(summary) => summary,
                None => compaction::mechanical(old),
            };
            self.desk
                .journal
                .entry(&self.who, "summary", json!(summary.as_str()));
            // It repeats what others wrote.
            let fence = &self.desk.fence;
            let summary = fence.enclose("summary", TrustClass::Machine, &summary);
            compaction::replace(&mut self.messages, range, &summary);
        }
        let room = self.room() / 2;
        let system = self.system.as_str();
        compaction::shrink(&mut self.messages, |messages| {
            compaction::estimate(system, messages) <= room
        });
        self.context = 0;
        self.desk
            .journal
            .note(&format!("{}: the conversation was summarised", self.who));
        Ok(())
    }

    fn summarise(&self, text: &str) -> Result<Option<String>, End> {
        let text = self
            .desk
            .fence
            .enclose("conversation", TrustClass::Machine, text);
        let messages = [Message::text(Role::User, text)];
        let question = Question {
            system: prompt::COMPACTION,
            messages: &messages,
            tools: &[],
            tool_choice: ToolChoice::None,
            max_output_tokens: self.output_tokens().min(4000),
        };
        match self.desk.ask(&question) {
            Ok(answer) => {
                let said = answer.blocks.iter().filter_map(|block| match block {
                    Block::Text { text } => Some(text.as_str()),
                    _ => None,
                });
                let summary = said.collect::<Vec<_>>().join("\n");
                Ok((!summary.trim().is_empty()).then(|| cut_middle(&summary, 16 * 1024)))
            }
            Err(error @ ProviderError::Cancelled) => Err(self.provider_end(error)),
            Err(error) => {
                self.desk
                    .journal
                    .line(&format!("{}: no summary by the model: {error}", self.who));
                Ok(None)
            }
        }
    }
}

impl Desk<'_> {
    /// Asks the provider within what is left; counts what it costs. An answer that
    /// outgrows the budget is dropped while it arrives, as far as its bytes tell:
    /// thinking that a provider hides is bounded by `max_output_tokens` alone.
    fn ask(&self, question: &Question<'_>) -> Result<Answer, ProviderError> {
        let patience = self.meter.left().min(self.limits.patience);
        let said = Cell::new(0_usize);
        let arrived = || Usage {
            output: estimated(said.get()),
            ..Usage::default()
        };
        // What breaks off is paid for as well, and nobody says how much.
        let lost = || {
            let arrived = arrived();
            if said.replace(0) > 0 {
                let input = compaction::estimate(question.system, question.messages);
                self.meter.add(Usage { input, ..arrived });
            }
        };
        let cancelled = || self.tools.cancelled() || self.meter.over_with(arrived()).is_some();
        let mut line = String::new();
        let mut shown = Instant::now();
        let mut seen = |delta: Delta| match delta {
            Delta::Text(text) => {
                said.update(|said| said.saturating_add(text.len()));
                line.push_str(&clip(&text, SAID));
                if let Some((first, rest)) = line.split_once('\n')
                    && shown.elapsed() >= LIVE
                {
                    self.tools.progress(&clip(first, 200));
                    shown = Instant::now();
                    line = rest.to_owned();
                }
                if line.len() > SAID {
                    line.clear();
                }
            }
            Delta::Thinking(more) | Delta::ToolInput(more) => {
                said.update(|said| said.saturating_add(more.len()));
            }
            Delta::ToolUse(_) => {}
            Delta::Restart => {
                lost();
                line.clear();
            }
        };
        let answer = self.provider.ask(question, patience, &cancelled, &mut seen);
        match &answer {
            Ok(answer) => self.meter.add(answer.usage),
            Err(_) => lost(),
        }
        answer
    }
}
