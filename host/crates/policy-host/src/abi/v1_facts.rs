//! Domain facts into the words of contract line 1.

use super::v1_bindings::types as wit;
use selfheal_domain::policy as domain;
use selfheal_domain::risk::{Assessment, AutonomyLevel};
use selfheal_domain::user::TrustClass;

pub(crate) fn context(context: &domain::PolicyContext) -> wit::Context {
    wit::Context {
        run: context.run.map(|run| wit::RunRef {
            issue: run.issue.0,
            run: run.run.0,
            id: run.id.to_string(),
        }),
        phase: phase(context.phase),
        environment: environment(context.environment),
        level: level(context.level),
        actor: context.actor.clone(),
        trust: trust(context.trust),
        service: context.service.clone(),
        earned: wit::TrackRecord {
            healed: context.earned.healed,
            failed: context.earned.failed,
            rolled_back: context.earned.rolled_back,
            streak: context.earned.streak,
        },
        counters: counters(&context.counters),
    }
}

pub(crate) fn phase(phase: domain::AgentPhase) -> wit::Phase {
    match phase {
        domain::AgentPhase::Diagnosis => wit::Phase::Diagnosis,
        domain::AgentPhase::Drafting => wit::Phase::Drafting,
        domain::AgentPhase::Verification => wit::Phase::Verification,
    }
}

pub(crate) fn environment(environment: domain::Environment) -> wit::Environment {
    match environment {
        domain::Environment::Local => wit::Environment::Local,
        domain::Environment::Dev => wit::Environment::Dev,
        domain::Environment::Staging => wit::Environment::Staging,
        domain::Environment::Production => wit::Environment::Production,
    }
}

pub(crate) fn level(level: AutonomyLevel) -> wit::AutonomyLevel {
    match level {
        AutonomyLevel::Observe => wit::AutonomyLevel::Observe,
        AutonomyLevel::Suggest => wit::AutonomyLevel::Suggest,
        AutonomyLevel::AutoLow => wit::AutonomyLevel::AutoLow,
        AutonomyLevel::AutoAll => wit::AutonomyLevel::AutoAll,
    }
}

pub(crate) fn mode(mode: domain::AccessMode) -> wit::AccessMode {
    match mode {
        domain::AccessMode::Read => wit::AccessMode::Read,
        domain::AccessMode::Write => wit::AccessMode::Write,
        domain::AccessMode::Create => wit::AccessMode::Create,
        domain::AccessMode::Delete => wit::AccessMode::Delete,
    }
}

pub(crate) fn change(change: domain::ChangeKind) -> wit::ChangeKind {
    match change {
        domain::ChangeKind::Added => wit::ChangeKind::Added,
        domain::ChangeKind::Modified => wit::ChangeKind::Modified,
        domain::ChangeKind::Deleted => wit::ChangeKind::Deleted,
    }
}

pub(crate) fn counters(counters: &domain::RunCounters) -> wit::Counters {
    wit::Counters {
        tool_calls: counters.tool_calls,
        denied: counters.denied,
        files_written: counters.files_written,
        bytes_written: counters.bytes_written,
        seconds: counters.seconds,
    }
}

pub(crate) fn trust(trust: TrustClass) -> wit::Trust {
    match trust {
        TrustClass::Machine => wit::Trust::Machine,
        TrustClass::External => wit::Trust::External,
        TrustClass::Member => wit::Trust::Member,
        TrustClass::Admin => wit::Trust::Admin,
    }
}

pub(crate) fn tool_call(call: &domain::ToolCallFacts) -> wit::ToolCall {
    wit::ToolCall {
        tool: call.tool.clone(),
        input: call.input.clone(),
        commands: call.commands.iter().map(command).collect(),
        parsed: call.parsed,
        paths: call.paths.iter().map(path).collect(),
        network: call.network.clone(),
        bytes: call.bytes,
    }
}

fn word(word: &domain::Word) -> wit::Word {
    wit::Word {
        text: word.text.clone(),
        certain: word.certain,
    }
}

fn command(command: &domain::SimpleCommand) -> wit::SimpleCommand {
    wit::SimpleCommand {
        program: word(&command.program),
        resolved: command.resolved.clone(),
        arguments: command.arguments.iter().map(word).collect(),
        certain: command.certain,
    }
}

fn path(access: &domain::PathAccess) -> wit::PathAccess {
    wit::PathAccess {
        path: access.path.clone(),
        relative: access.relative.clone(),
        mode: mode(access.mode),
        certain: access.certain,
        tracked: access.tracked,
        protected: access.protected,
        link: access.link.clone(),
    }
}

pub(crate) fn patch(patch: &domain::PatchFacts) -> wit::Patch {
    wit::Patch {
        digest: patch.digest.to_string(),
        diff: patch.diff.clone(),
        files: patch.files.iter().map(file).collect(),
        claimed_confidence: patch.claimed_confidence,
        reproduction_proved: patch.reproduction_proved,
        rivals: patch.rivals,
        severity: patch.severity.clone(),
    }
}

fn file(file: &domain::PatchFileFacts) -> wit::PatchFile {
    wit::PatchFile {
        path: file.path.clone(),
        change: change(file.change),
        added: file.added.clone(),
        removed: file.removed.clone(),
        test: file.test,
        protected: file.protected,
        dependents: file.dependents,
        owners: file.owners.clone(),
        earlier_heals: file.earlier_heals,
        earlier_rollbacks: file.earlier_rollbacks,
    }
}

pub(crate) fn assessment(assessment: &Assessment) -> wit::Assessment {
    wit::Assessment {
        score: u32::from(assessment.score.get()),
        factors: assessment
            .factors
            .iter()
            .map(|factor| wit::Factor {
                name: factor.name.clone(),
                points: factor.points,
                evidence: factor.evidence.clone(),
            })
            .collect(),
    }
}

pub(crate) fn issue(issue: &domain::IssueFacts) -> wit::Issue {
    wit::Issue {
        number: issue.number,
        severity: issue.severity.clone(),
        category: issue.category.clone(),
        source: issue.source.clone(),
        trust: trust(issue.trust),
    }
}
