//! A provider that goes down in the middle of a diagnosis: the next model goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use selfheal_domain::agent::{Agent, DiagnosisBrief};
use selfheal_domain::ids::{IssueNumber, RunId, RunNumber, RunRef};
use selfheal_domain::tools::ToolRequest;
use selfheal_model::provider::{Provider, ProviderError};
use selfheal_model::{ModelAgent, ModelLimits};
use std::sync::Arc;
use support::{Scripted, Tree, answer, brief, found, outfit, read, submit, submit_patch, text};

/// Two agents of one list: the first one's provider goes down after its first answer.
fn relieved(second: &Arc<Scripted>, limits: ModelLimits) -> (Arc<Scripted>, [ModelAgent; 2]) {
    let first = Scripted::new(|index, _| match index {
        0 => Ok(answer(vec![text("I look."), read("/srv/shop/cart.py")])),
        _ => Err(ProviderError::Unavailable {
            provider: "test:scripted".to_owned(),
            message: "down".to_owned(),
        }),
    });
    let outfit = outfit(limits, &Arc::default());
    let agents = [&first, second].map(|provider| {
        let provider: Arc<dyn Provider> = Arc::<Scripted>::clone(provider);
        ModelAgent::new(provider, outfit.clone())
    });
    (first, agents)
}

fn brief_of_a_run() -> DiagnosisBrief {
    DiagnosisBrief {
        run: Some(RunRef {
            issue: IssueNumber(1),
            run: RunNumber(1),
            id: RunId(uuid::Uuid::from_u128(7)),
        }),
        ..brief()
    }
}

#[test]
fn another_model_goes_on_where_the_first_one_lost_its_provider() {
    let second = Scripted::turns(vec![vec![submit()], vec![submit()]]);
    let (first, agents) = relieved(&second, ModelLimits::default());
    let tree = Tree::new();
    let brief = brief_of_a_run();
    let lost = agents[0].diagnose(&brief, &tree).unwrap_err();
    assert!(lost.to_string().contains("not available"), "{lost}");
    let diagnosis = agents[1].diagnose(&brief, &tree).unwrap();
    assert_eq!(diagnosis.reproduction, Some(support::check()));
    assert!(diagnosis.log.contains("goes on"), "{}", diagnosis.log);
    assert_eq!(second.asked(0).messages, first.last_asked().messages);
    assert!(second.asked(0).last().contains("def discount"));
    let checks = tree.called().into_iter().filter(
        |call| matches!(call, ToolRequest::Bash { command, .. } if command == "python test.py"),
    );
    assert_eq!(checks.count(), 1, "what is known is not asked again");
    // Taken up once: the next diagnosis of the run begins at its beginning.
    agents[1].diagnose(&brief, &tree).unwrap();
    assert_eq!(second.asked(1).messages.len(), 1);
}

#[test]
fn who_goes_on_has_what_is_left_of_the_budget() {
    let second = Scripted::turns(vec![vec![read("README.md")], vec![submit()]]);
    let limits = ModelLimits {
        tokens: 2000,
        ..ModelLimits::default()
    };
    let (_, agents) = relieved(&second, limits);
    let brief = brief_of_a_run();
    for (agent, why) in agents.iter().zip(["not available", "2000 tokens"]) {
        let error = agent.diagnose(&brief, &Tree::new()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(second.count(), 1);
    // Drafting begins anew: its worktree does.
    let second = Scripted::turns(vec![vec![submit_patch()]]);
    let (_, agents) = relieved(&second, ModelLimits::default());
    for agent in &agents {
        agent.draft(&brief, &found(), &Tree::new()).unwrap_err();
    }
    assert_eq!(second.asked(0).messages.len(), 1);
}
