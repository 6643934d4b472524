//! Runs a policy's examples natively, as the host does when it loads the module.

use crate::{
    Action, Admission, Autonomy, Example, Expectation, Guardrail, Policy, Question, Risk, Settings,
    Verdict,
};

/// Every example of a guardrail.
///
/// # Errors
/// Names the first example that fails and the answer it got.
pub fn check_examples_guardrail<P: Guardrail>() -> Result<usize, String> {
    check::<P>(|policy, example| {
        let verdict = match &example.question {
            Question::ToolCall(call) => policy.judge_tool_call(&example.context, call),
            Question::Patch(patch) => policy.judge_patch(&example.context, patch),
            Question::Assessed(_) | Question::Issue(_) => {
                return Err("not a question for a guardrail".into());
            }
        };
        let right = matches!(
            (&verdict, &example.expect),
            (Verdict::Allow, Expectation::Allow)
                | (Verdict::Ask(_), Expectation::Ask)
                | (Verdict::Deny(_), Expectation::Deny)
        );
        if right {
            Ok(())
        } else {
            Err(format!("{verdict:?}"))
        }
    })
}

/// Every example of a risk module.
///
/// # Errors
/// Names the first example that fails and the answer it got.
pub fn check_examples_risk<P: Risk>() -> Result<usize, String> {
    check::<P>(|policy, example| {
        let (Question::Patch(patch), Expectation::Score((low, high))) =
            (&example.question, &example.expect)
        else {
            return Err("an example of a risk module is a patch with a range of scores".into());
        };
        let assessment = policy.assess(&example.context, patch);
        if (*low..=*high).contains(&assessment.score) {
            Ok(())
        } else {
            Err(format!("{assessment:?}"))
        }
    })
}

/// Every example of an autonomy module.
///
/// # Errors
/// Names the first example that fails and the answer it got.
pub fn check_examples_autonomy<P: Autonomy>() -> Result<usize, String> {
    check::<P>(|policy, example| match &example.question {
        Question::Assessed(assessed) => {
            let decision = policy.decide(&example.context, &assessed.patch, &assessed.assessment);
            let right = matches!(
                (&decision.action, &example.expect),
                (Action::Apply, Expectation::Apply)
                    | (Action::Review(_), Expectation::Review)
                    | (Action::Stop, Expectation::Stop)
            );
            if right {
                Ok(())
            } else {
                Err(format!("{decision:?}"))
            }
        }
        Question::Issue(issue) => {
            let admission = policy.admit(&example.context, issue);
            let right = matches!(
                (&admission, &example.expect),
                (Admission::Admit(_), Expectation::Admit)
                    | (Admission::NeedsAdmin(_), Expectation::NeedsAdmin)
            );
            if right {
                Ok(())
            } else {
                Err(format!("{admission:?}"))
            }
        }
        Question::ToolCall(_) | Question::Patch(_) => {
            Err("not a question for an autonomy module".into())
        }
    })
}

fn check<P: Policy>(ask: impl Fn(&P, &Example) -> Result<(), String>) -> Result<usize, String> {
    let examples = P::describe().examples;
    for example in &examples {
        let settings = Settings::parse(example.settings.as_deref().unwrap_or_default())?;
        let policy = P::configure(&settings)
            .map_err(|error| format!("example {:?}: {error}", example.name))?;
        ask(&policy, example).map_err(|answer| {
            format!(
                "example {:?}: expected {:?}, got {answer}",
                example.name, example.expect
            )
        })?;
    }
    Ok(examples.len())
}
