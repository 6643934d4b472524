//! Questions of many kinds, as runs ask them.
#![allow(dead_code, reason = "each test file uses its part")]

use super::MemoryLog;
use crate::support::{bash, context, issue, patch};
use chrono::DateTime;
use selfheal_domain::event::{Approval, Event};
use selfheal_domain::ids::{CommitId, IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::patch::Patch;
use selfheal_domain::policy::{
    AccessMode, AgentPhase, Environment, PathAccess, PolicyContext, PolicySet, RunCounters,
    ToolCallFacts,
};
use selfheal_domain::risk::{Admission, AutonomyLevel};
use selfheal_domain::user::{Actor, TrustClass};
use uuid::Uuid;

/// The `number`th situation: runs of twelve calls, phases, levels and trust mixed.
pub(crate) fn situation(number: u64) -> PolicyContext {
    let run = number / 12;
    PolicyContext {
        run: Some(RunRef {
            issue: IssueNumber(1 + run % 97),
            run: RunNumber(1),
            id: RunId(Uuid::from_u128(run.into())),
        }),
        phase: if number.is_multiple_of(3) {
            AgentPhase::Diagnosis
        } else {
            AgentPhase::Drafting
        },
        environment: if number.is_multiple_of(5) {
            Environment::Production
        } else {
            Environment::Dev
        },
        level: match number % 4 {
            0 => AutonomyLevel::Suggest,
            1 => AutonomyLevel::AutoLow,
            _ => AutonomyLevel::AutoAll,
        },
        trust: if number.is_multiple_of(2) {
            TrustClass::Member
        } else {
            TrustClass::External
        },
        counters: RunCounters {
            tool_calls: number % 12,
            denied: number % 5,
            files_written: number % 4,
            bytes_written: number * 31 % 9_000,
            seconds: number * 7 % 600,
            surplus: 0,
        },
        ..context()
    }
}

fn access(path: &str, mode: AccessMode, number: u64) -> PathAccess {
    PathAccess {
        path: format!("/srv/app/{path}"),
        relative: Some(path.to_owned()),
        mode,
        certain: true,
        tracked: number.is_multiple_of(2),
        protected: path.starts_with(".git"),
        link: None,
    }
}

/// The `number`th tool call; none is the same twice.
pub(crate) fn call(number: u64) -> ToolCallFacts {
    let mut facts = match number % 10 {
        0 => bash(&format!("python3 -m pytest -q tests/test_{number}.py")),
        1 => bash(&format!("git push origin branch-{number}")),
        2 => bash(&format!("rm -rf build-{number}")),
        3 => bash(&format!("curl https://host-{number}.example/x")),
        4 => bash(&format!("git status --short # {number}")),
        5 => bash(&format!("pip install package{number}")),
        6 => bash(&format!("grep -rn needle{number} src")),
        7 => bash(&format!("sed -i s/a/b/ src/file{number}.py")),
        _ => {
            let input = format!(
                "{{\"path\":\"src/file{number}.py\",\"old\":\"a = {number}\",\"new\":\"{}\"}}",
                "b = 1\\n".repeat(usize::try_from(number % 40).unwrap_or(0))
            );
            ToolCallFacts {
                tool: "Edit".to_owned(),
                bytes: input.len() as u64,
                input,
                ..bash("true")
            }
        }
    };
    match number % 10 {
        8 => {
            facts.paths = vec![access(
                &format!("src/file{number}.py"),
                AccessMode::Write,
                number,
            )]
        }
        9 => facts.paths = vec![access(".git/config", AccessMode::Write, number)],
        3 => facts.network = vec![format!("host-{number}.example")],
        7 => {
            facts.paths = vec![access(
                &format!("src/file{number}.py"),
                AccessMode::Write,
                number,
            )]
        }
        _ => {}
    }
    if facts.tool == "Edit" {
        facts.commands.clear();
    }
    facts
}

/// Asks `count` tool calls, and for each tenth also about a patch, its risk, what
/// happens to it, and an issue.
pub(crate) fn ask_everything(log: &MemoryLog, set: &dyn PolicySet, count: u64) {
    for number in 0..count {
        let context = situation(number);
        log.decide(set, &context, call(number));
        if number % 10 == 0 {
            ask_about_patch(log, set, &context, number);
        }
    }
}

fn ask_about_patch(log: &MemoryLog, set: &dyn PolicySet, context: &PolicyContext, number: u64) {
    let number_of = context.run.map(|run| run.issue);
    let add = |event: Event| {
        log.add(Actor::Host, number_of, DateTime::UNIX_EPOCH, event)
            .ok();
    };
    let path = match number % 30 {
        0 => format!("tests/test_{number}.py"),
        10 => format!("src/auth/login{number}.py"),
        _ => format!("src/file{number}.py"),
    };
    let facts = patch(
        &path,
        &format!("return a - {number}"),
        &format!("return a + {number}"),
    );
    let context = PolicyContext {
        phase: AgentPhase::Verification,
        ..context.clone()
    };
    add(Event::PatchDrafted {
        patch: Patch {
            digest: facts.digest,
            diff: facts.diff.clone(),
            files: Vec::new(),
        },
        rationale: "because".to_owned(),
        confidence: 0.9,
        rivals: Vec::new(),
        commit: CommitId("c".repeat(40)),
        judgement: set.judge_patch(&context, &facts),
        log: String::new(),
    });
    let assessment = set.assess(&context, &facts);
    add(Event::RiskAssessed(assessment.clone()));
    add(Event::AutonomyDecided(set.decide(
        &context,
        &facts,
        &assessment,
    )));
    if let Admission::Admit(reason) = set.admit(&context, &issue()) {
        let asked = selfheal_domain::policy::Asked {
            context: context.clone(),
            history: std::sync::Arc::default(),
            patch: None,
            issue: Some(issue()),
            assessment: None,
        };
        add(Event::IssueApproved(Approval::Module {
            reason,
            generation: set.generation(),
            asked: Some(Box::new(asked)),
        }));
    }
}
