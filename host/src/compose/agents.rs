//! Who diagnoses and drafts: an agent of another maker where one is chosen, the
//! configured models in their order, and in the end the built-in engine, which needs
//! none.

use super::transcripts::Transcripts;
use crate::config::{AgentChoice, AgentConfig};
use crate::external;
use crate::failure::{Because, Exit, Failure};
use crate::machine::Machine;
use crate::mask::Mask;
use selfheal_domain::agent::{Agent, AgentError, Diagnosis, DiagnosisBrief, Draft};
use selfheal_domain::tools::Tools;
use selfheal_model::{Handover, ModelAgent, ModelOutfit, TranscriptStore};
use selfheal_repair::RepairEngine;
use std::path::Path;
use std::sync::Arc;

/// The agent that is asked first; the others stand in for it in order.
pub(crate) fn agent_of(
    config: &AgentConfig,
    mask: &Mask,
    data: Option<&Path>,
) -> Result<Arc<dyn Agent>, Failure> {
    let mut agent: Arc<dyn Agent> = Arc::new(RepairEngine::new());
    if config.choice == AgentChoice::Builtin {
        return Ok(agent);
    }
    let protocol = external::protocol(config.choice);
    if config.models.is_empty() && protocol.is_none() {
        return Err(Failure::new(
            Exit::Usage,
            "no model is configured; add [[agent.model]] to selfheal.toml, or use the agent \"builtin\"",
        ));
    }
    let words = mask.clone();
    let outfit = ModelOutfit {
        limits: config.limits.clone(),
        mask: Arc::new(move |text| words.text(text)),
        ids: Arc::new(Machine),
        handover: Handover::default(),
        transcripts: data
            .map(|data| Arc::new(Transcripts::new(data, mask.clone())) as Arc<dyn TranscriptStore>),
    };
    for model in config.models.iter().rev() {
        let provider = model.connect().because(Exit::Usage)?;
        agent = Arc::new(Relay {
            first: Box::new(ModelAgent::new(provider, outfit.clone())),
            next: agent,
        });
    }
    if let Some(protocol) = protocol {
        let external = config.external.as_ref().ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "an agent of another maker needs --config FILE: a selfheal.toml with [agent.external]",
            )
        })?;
        let first = external.agent(protocol, config.limits.tokens, mask)?;
        agent = Arc::new(Relay {
            first: Box::new(first),
            next: agent,
        });
    }
    Ok(agent)
}

/// An agent with somebody who stands in for it.
struct Relay {
    first: Box<dyn Agent>,
    next: Arc<dyn Agent>,
}

impl Agent for Relay {
    fn name(&self) -> String {
        self.first.name()
    }

    fn stand_in(&self) -> Option<&dyn Agent> {
        Some(self.next.as_ref())
    }

    fn diagnose(&self, brief: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError> {
        self.first.diagnose(brief, tools)
    }

    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        self.first.draft(brief, diagnosis, tools)
    }
}
