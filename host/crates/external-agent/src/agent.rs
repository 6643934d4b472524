//! Diagnosis and drafting as conversations with a contained program.

use crate::acp::AcpAgent;
use crate::answer;
use crate::claude::ClaudeCode;
use crate::codex::Codex;
use crate::convert::Ground;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::gateway::{Gateway, Upstream};
use crate::prompt;
use crate::wire::Wire;
use crate::{acp, claude, codex};
use selfheal_domain::agent::{Agent, AgentError, Diagnosis, DiagnosisBrief, Draft, Effort};
use selfheal_domain::tools::{ContainedAgent, ToolError, ToolRequest, Tools, WorkspaceAccess};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where the gateway is, inside the sandbox.
const PORT: u16 = 8181;

/// How often an answer that cannot be used is asked for again.
const MOST_REPAIRS: u32 = 2;

/// Longest time of one session, whatever the budget says.
const LONGEST_SESSION: Duration = Duration::from_secs(3600);

/// What a program speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Claude Code's control protocol.
    ClaudeCode,
    /// Codex's app server.
    Codex,
    /// Agent Client Protocol, version 1.
    Acp,
}

impl Protocol {
    /// As in `selfheal.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Acp => "acp",
        }
    }
}

/// What one session may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// Turns of the program's own loop, where it can be told.
    pub turns: u32,
    /// Tool calls that are judged; one more ends the session.
    pub calls: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            turns: 50,
            calls: 400,
        }
    }
}

/// One agent of another maker.
#[derive(Clone)]
pub struct ExternalAgentConfig {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its program (absolute, or found in `PATH`) and arguments of its own.
    pub command: Vec<String>,
    /// The model it is told to use; none for its default.
    pub model: Option<String>,
    /// Where its requests to a model go; none for a program that needs none.
    pub upstream: Option<Upstream>,
    /// An existing directory with a short path, in which the gateway makes one of its
    /// own for each session: a socket's name has at most 107 bytes.
    pub sockets: PathBuf,
    /// Absolute paths it needs to see besides its program's directory.
    pub visible: Vec<PathBuf>,
    /// Further variables of its environment. Never a secret.
    pub environment: BTreeMap<String, String>,
    /// What one session may use.
    pub budgets: Budgets,
}

impl std::fmt::Debug for ExternalAgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalAgentConfig")
            .field("protocol", &self.protocol)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// How a program is started.
pub(crate) struct Launch {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

/// An agent of another maker.
#[derive(Clone, Debug)]
pub struct ExternalAgent {
    config: ExternalAgentConfig,
}

impl ExternalAgent {
    /// Starts nothing yet.
    pub fn new(config: ExternalAgentConfig) -> Self {
        Self { config }
    }

    /// One session from start to end: the prompt, and its answer as `read` takes it.
    fn talk<T>(
        &self,
        tools: &dyn Tools,
        budget: Duration,
        drafting: bool,
        prompt: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(T, Talk), AgentError> {
        let started = Instant::now();
        let mut gate = Gate::new(
            tools,
            self.config.protocol.name(),
            self.config.budgets.calls,
        );
        let result = self.converse(tools, &mut gate, budget, drafting, prompt, read);
        let closed = gate.close();
        let mut talk = Talk {
            log: String::new(),
            seconds: started.elapsed().as_secs_f64(),
        };
        let result = result.and_then(|(value, usage)| {
            gate.transcript.push("host", &usage);
            closed.map(|()| value)
        });
        if let Err(failure) = &result {
            gate.transcript.push("host", &failure.to_string());
        }
        talk.log = gate.transcript.text();
        match result {
            Ok(value) => Ok((value, talk)),
            Err(failure) => Err(self.error(failure, talk)),
        }
    }

    fn converse<T>(
        &self,
        tools: &dyn Tools,
        gate: &mut Gate<'_>,
        budget: Duration,
        drafting: bool,
        prompt: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(T, String), Failure> {
        let budget = budget.min(LONGEST_SESSION);
        let until = Instant::now() + budget;
        let access = if drafting {
            WorkspaceAccess::Keep
        } else {
            WorkspaceAccess::Discard
        };
        let gateway = match &self.config.upstream {
            Some(upstream) => Some(
                Gateway::open(upstream.clone(), &self.config.sockets).map_err(|error| {
                    ToolError::Unavailable(format!(
                        "the way to the model cannot be opened: {error}"
                    ))
                })?,
            ),
            None => None,
        };
        let session = tools.contain(self.contained(access, budget, gateway.as_ref())?)?;
        let ground = Ground {
            root: tools.workspace(),
            access,
        };
        let rules = prompt::rules(&ground.root);
        let mut wire = Wire::new(session, tools, until);
        let mut conversation = match self.config.protocol {
            Protocol::ClaudeCode => {
                Conversation::Claude(ClaudeCode::open(&mut wire, gate, ground, &rules)?)
            }
            Protocol::Codex => {
                let model = self.config.model.as_deref();
                Conversation::Codex(Codex::open(&mut wire, gate, ground, model, &rules)?)
            }
            Protocol::Acp => Conversation::Acp(AcpAgent::open(&mut wire, gate, ground)?),
        };
        let mut prompt = match self.config.protocol {
            Protocol::ClaudeCode | Protocol::Codex => prompt.to_owned(),
            // It takes no instructions but what is said to it.
            Protocol::Acp => format!("{rules}\n\n{prompt}"),
        };
        let mut repairs = 0;
        let value = loop {
            let text = conversation.turn(&mut wire, gate, &prompt)?;
            match read(&text) {
                Ok(value) => break value,
                Err(wrong) if repairs < MOST_REPAIRS => {
                    repairs += 1;
                    gate.transcript
                        .push("host", &format!("asked again: {wrong}"));
                    prompt = prompt::again(&wrong, prompt::form(drafting));
                }
                Err(wrong) => {
                    return Err(Failure::GaveUp(format!(
                        "its answer could not be used after {repairs} requests to repair it: {wrong}"
                    )));
                }
            }
        };
        let usage = gateway.map_or_else(String::new, |gateway| gateway.usage().to_string());
        Ok((value, usage))
    }

    /// What is started, and what it gets to see.
    fn contained(
        &self,
        access: WorkspaceAccess,
        timeout: Duration,
        gateway: Option<&Gateway>,
    ) -> Result<ContainedAgent, ToolError> {
        let config = &self.config;
        let base = format!("http://127.0.0.1:{PORT}");
        let model = config.model.as_deref();
        let launch = match config.protocol {
            Protocol::ClaudeCode => {
                claude::launch(&config.command, model, config.budgets.turns, access, &base)
            }
            Protocol::Codex => codex::launch(&config.command, model, &base),
            Protocol::Acp => acp::launch(&config.command, &base),
        };
        let command = shlex::try_join(launch.arguments.iter().map(String::as_str))
            .map_err(|_| ToolError::Invalid("the agent's command holds a NUL".to_owned()))?;
        let mut environment = launch.environment;
        // Gone with the sandbox; nothing of a home directory comes along.
        environment.insert("HOME".to_owned(), "/tmp".to_owned());
        environment.extend(config.environment.clone());
        let program = config.command.first().map(PathBuf::from);
        let own = program
            .filter(|program| program.is_absolute())
            .and_then(|program| program.canonicalize().ok())
            .and_then(|program| program.parent().map(PathBuf::from));
        Ok(ContainedAgent {
            request: ToolRequest::Bash {
                command: format!("exec {command}"),
                directory: String::new(),
                timeout,
                access,
            },
            environment,
            visible: own.into_iter().chain(config.visible.clone()).collect(),
            gateway: gateway.map(|gateway| (PORT, gateway.socket().to_owned())),
        })
    }

    fn error(&self, failure: Failure, talk: Talk) -> AgentError {
        let name = self.config.protocol.name();
        match failure {
            Failure::Tool(ToolError::Unavailable(_)) | Failure::Broken(_) => {
                AgentError::Unavailable {
                    // What it said itself is in the log alone.
                    summary: format!("{name} could not be used"),
                    effort: talk.effort(),
                    log: talk.log,
                }
            }
            Failure::Tool(error) => AgentError::Tool(error),
            failure @ (Failure::Disobeyed(_) | Failure::GaveUp(_) | Failure::OverBudget(_)) => {
                AgentError::NotFound {
                    summary: format!("{name} was stopped: {}", failure.kind()),
                    effort: talk.effort(),
                    log: talk.log,
                }
            }
        }
    }
}

/// What a session left behind.
struct Talk {
    log: String,
    seconds: f64,
}

impl Talk {
    fn effort(&self) -> Effort {
        Effort {
            candidates: 0,
            seconds: self.seconds,
        }
    }
}

enum Conversation {
    Claude(ClaudeCode),
    Codex(Codex),
    Acp(AcpAgent),
}

impl Conversation {
    fn turn(
        &mut self,
        wire: &mut Wire<'_>,
        gate: &mut Gate<'_>,
        prompt: &str,
    ) -> Result<String, Failure> {
        match self {
            Self::Claude(claude) => claude.turn(wire, gate, prompt),
            Self::Codex(codex) => codex.turn(wire, gate, prompt),
            Self::Acp(agent) => agent.turn(wire, gate, prompt),
        }
    }
}

impl Agent for ExternalAgent {
    fn name(&self) -> String {
        let model = self.config.model.as_deref().unwrap_or("default");
        format!("{}:{model}", self.config.protocol.name())
    }

    fn diagnose(&self, brief: &DiagnosisBrief, tools: &dyn Tools) -> Result<Diagnosis, AgentError> {
        let prompt = prompt::diagnosis(brief);
        let (found, talk) = self.talk(tools, brief.budget, false, &prompt, answer::diagnosis)?;
        let Some(root_cause) = found.root_cause.clone() else {
            return Err(AgentError::NotFound {
                summary: format!("{} found no cause", self.config.protocol.name()),
                effort: talk.effort(),
                log: talk.log,
            });
        };
        Ok(Diagnosis {
            reproduction: answer::reproduction(&found, brief),
            root_cause,
            confidence: found.confidence,
            affected_files: found.affected_files,
            // Only those that exist.
            affected_services: found
                .affected_services
                .into_iter()
                .filter(|name| brief.services.contains(name))
                .collect(),
            suggested_fix: found.suggested_fix,
            proposals: Vec::new(),
            effort: talk.effort(),
            log: talk.log,
        })
    }

    fn draft(
        &self,
        brief: &DiagnosisBrief,
        diagnosis: &Diagnosis,
        tools: &dyn Tools,
    ) -> Result<Draft, AgentError> {
        let prompt = prompt::draft(brief, diagnosis);
        let (said, talk) = self.talk(tools, brief.budget, true, &prompt, answer::draft)?;
        Ok(Draft {
            rationale: said.rationale,
            confidence: said.confidence,
            // What counts is what the worktree holds, which the caller reads itself.
            files: Vec::new(),
            rivals: Vec::new(),
            log: talk.log,
        })
    }
}
