//! What a module of contract line 1 says of itself, in domain types.

use super::v1_bindings::types as wit;
use super::{Description, Example, ExampleQuestion, Expectation};
use selfheal_domain::digest::Digest;
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::policy as domain;
use selfheal_domain::risk::{Assessment, AutonomyLevel, RiskFactor, RiskScore};
use selfheal_domain::user::TrustClass;
use selfheal_domain::verdict::Fault;
use uuid::Uuid;

pub(crate) fn description(description: wit::Description) -> Result<Description, Fault> {
    Ok(Description {
        name: description.name,
        version: description.version,
        kind: match description.kind {
            wit::Kind::Guardrail => domain::ModuleKind::Guardrail,
            wit::Kind::Risk => domain::ModuleKind::Risk,
            wit::Kind::Autonomy => domain::ModuleKind::Autonomy,
        },
        settings_schema: description.settings_schema,
        examples: description
            .examples
            .into_iter()
            .map(example)
            .collect::<Result<_, _>>()?,
    })
}

fn example(example: wit::Example) -> Result<Example, Fault> {
    let question = match example.question {
        wit::Question::ToolCall(call) => ExampleQuestion::ToolCall(tool_call(call)),
        wit::Question::Patch(facts) => ExampleQuestion::Patch(patch(facts)),
        wit::Question::Assessed(assessed) => ExampleQuestion::Assessed(
            patch(assessed.patch),
            assessment(&example.name, assessed.assessment)?,
        ),
        wit::Question::Issue(issue) => ExampleQuestion::Issue(domain::IssueFacts {
            number: issue.number,
            severity: issue.severity,
            category: issue.category,
            source: issue.source,
            trust: trust(issue.trust),
        }),
    };
    Ok(Example {
        name: example.name,
        settings: example.settings,
        context: context(example.context),
        question,
        expect: match example.expect {
            wit::Expectation::Allow => Expectation::Allow,
            wit::Expectation::Ask => Expectation::Ask,
            wit::Expectation::Deny => Expectation::Deny,
            wit::Expectation::Score((low, high)) => Expectation::Score(low, high),
            wit::Expectation::Apply => Expectation::Apply,
            wit::Expectation::Review => Expectation::Review,
            wit::Expectation::Stop => Expectation::Stop,
            wit::Expectation::Admit => Expectation::Admit,
            wit::Expectation::NeedsAdmin => Expectation::NeedsAdmin,
        },
    })
}

fn context(context: wit::Context) -> domain::PolicyContext {
    domain::PolicyContext {
        // An example's run exists nowhere, so an id that is none may be any.
        run: context.run.map(|run| RunRef {
            issue: IssueNumber(run.issue),
            run: RunNumber(run.run),
            id: RunId(run.id.parse().unwrap_or(Uuid::nil())),
        }),
        phase: match context.phase {
            wit::Phase::Diagnosis => domain::AgentPhase::Diagnosis,
            wit::Phase::Drafting => domain::AgentPhase::Drafting,
            wit::Phase::Verification => domain::AgentPhase::Verification,
        },
        environment: match context.environment {
            wit::Environment::Local => domain::Environment::Local,
            wit::Environment::Dev => domain::Environment::Dev,
            wit::Environment::Staging => domain::Environment::Staging,
            wit::Environment::Production => domain::Environment::Production,
        },
        level: match context.level {
            wit::AutonomyLevel::Observe => AutonomyLevel::Observe,
            wit::AutonomyLevel::Suggest => AutonomyLevel::Suggest,
            wit::AutonomyLevel::AutoLow => AutonomyLevel::AutoLow,
            wit::AutonomyLevel::AutoAll => AutonomyLevel::AutoAll,
        },
        actor: context.actor,
        trust: trust(context.trust),
        service: context.service,
        earned: domain::TrackRecord {
            healed: context.earned.healed,
            failed: context.earned.failed,
            rolled_back: context.earned.rolled_back,
            streak: context.earned.streak,
        },
        counters: domain::RunCounters {
            tool_calls: context.counters.tool_calls,
            denied: context.counters.denied,
            files_written: context.counters.files_written,
            bytes_written: context.counters.bytes_written,
            seconds: context.counters.seconds,
            surplus: 0,
        },
    }
}

fn trust(trust: wit::Trust) -> TrustClass {
    match trust {
        wit::Trust::Machine => TrustClass::Machine,
        wit::Trust::External => TrustClass::External,
        wit::Trust::Member => TrustClass::Member,
        wit::Trust::Admin => TrustClass::Admin,
    }
}

fn tool_call(call: wit::ToolCall) -> domain::ToolCallFacts {
    domain::ToolCallFacts {
        tool: call.tool,
        input: call.input,
        commands: call.commands.into_iter().map(command).collect(),
        parsed: call.parsed,
        paths: call.paths.into_iter().map(path).collect(),
        network: call.network,
        bytes: call.bytes,
    }
}

fn word(word: wit::Word) -> domain::Word {
    domain::Word {
        text: word.text,
        certain: word.certain,
    }
}

fn command(command: wit::SimpleCommand) -> domain::SimpleCommand {
    domain::SimpleCommand {
        program: word(command.program),
        resolved: command.resolved,
        arguments: command.arguments.into_iter().map(word).collect(),
        certain: command.certain,
    }
}

fn path(access: wit::PathAccess) -> domain::PathAccess {
    domain::PathAccess {
        path: access.path,
        relative: access.relative,
        mode: match access.mode {
            wit::AccessMode::Read => domain::AccessMode::Read,
            wit::AccessMode::Write => domain::AccessMode::Write,
            wit::AccessMode::Create => domain::AccessMode::Create,
            wit::AccessMode::Delete => domain::AccessMode::Delete,
        },
        certain: access.certain,
        tracked: access.tracked,
        protected: access.protected,
        link: access.link,
    }
}

fn patch(patch: wit::Patch) -> domain::PatchFacts {
    domain::PatchFacts {
        // Who writes an example by hand need not work out its digest.
        digest: patch
            .digest
            .parse()
            .unwrap_or_else(|_| Digest::of(patch.diff.as_bytes())),
        diff: patch.diff,
        files: patch.files.into_iter().map(file).collect(),
        claimed_confidence: patch.claimed_confidence,
        reproduction_proved: patch.reproduction_proved,
        rivals: patch.rivals,
        severity: patch.severity,
    }
}

fn file(file: wit::PatchFile) -> domain::PatchFileFacts {
    domain::PatchFileFacts {
        path: file.path,
        change: match file.change {
            wit::ChangeKind::Added => domain::ChangeKind::Added,
            wit::ChangeKind::Modified => domain::ChangeKind::Modified,
            wit::ChangeKind::Deleted => domain::ChangeKind::Deleted,
        },
        added: file.added,
        removed: file.removed,
        test: file.test,
        protected: file.protected,
        dependents: file.dependents,
        owners: file.owners,
        earlier_heals: file.earlier_heals,
        earlier_rollbacks: file.earlier_rollbacks,
    }
}

fn assessment(example: &str, assessment: wit::Assessment) -> Result<Assessment, Fault> {
    let score = RiskScore::new(assessment.score).map_err(|error| Fault::Nonsense {
        message: format!("example {example:?}: {error}"),
    })?;
    let factor = |factor: wit::Factor| RiskFactor {
        name: factor.name,
        points: factor.points,
        evidence: factor.evidence,
    };
    Ok(Assessment {
        score,
        factors: assessment.factors.into_iter().map(factor).collect(),
        faults: Vec::new(),
        generation: 0,
        asked: None,
    })
}
