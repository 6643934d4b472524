//! Where no agent finds a patch, the commit that broke it is taken back.

use crate::support::{BROKEN, Host, World};
use selfheal_domain::event::Event;
use selfheal_domain::risk::AutonomyLevel::{AutoAll, Suggest};
use selfheal_domain::state::Phase;
use std::sync::Arc;

const WORKED: &str = "x = 0\n";

fn world() -> Arc<World> {
    let world = Arc::new(World::default());
    world.set(|it| {
        it.finds = false;
        // The last commit but two broke it.
        it.history = [BROKEN, BROKEN, WORKED].map(str::to_owned).into();
    });
    world
}

#[test]
fn the_revert_is_proved_reviewed_and_applied_like_any_patch() {
    let world = world();
    let host = Host::with_issue(&world, Suggest);
    let issue = host.rests_in(Phase::PatchPending);
    let run = issue.run().unwrap();
    let diagnosis = run.diagnosis.as_ref().unwrap();
    assert!(diagnosis.root_cause.contains("broke it"), "{diagnosis:?}");
    assert!(
        diagnosis.log.contains("tried everything"),
        "{}",
        diagnosis.log
    );
    assert_eq!(run.agent, "strategy:revert-culprit");
    let patch = &run.draft.as_ref().unwrap().patch;
    assert_eq!(patch.files[0].after.as_deref(), Some(WORKED));
    assert!(run.assessment.is_some() && run.proof.is_some());
    host.approve_patch();
    host.rests_in(Phase::Resolved);
    assert_eq!(world.get(|it| it.files["app.py"].clone()), WORKED);
}

#[test]
fn a_revert_that_was_refused_is_not_offered_again() {
    let world = world();
    world.set(|it| it.healthy = false);
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Escalated);
    assert_eq!(world.get(|it| it.files["app.py"].clone()), BROKEN);
    assert_eq!(issue.runs.iter().filter(|run| run.rolled_back).count(), 1);
    assert!(
        issue
            .end_reason
            .unwrap()
            .contains("was refused or did not hold before")
    );
}

#[test]
fn what_never_worked_is_handed_to_people() {
    let world = world();
    world.set(|it| it.history = vec![BROKEN.to_owned()]);
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Escalated);
    let reason = issue.end_reason.unwrap();
    assert!(
        reason.contains("no patch passed") && reason.contains("it never worked"),
        "{reason}"
    );
}

#[test]
fn a_doubtful_patch_gets_the_revert_beside_it_with_its_risk() {
    let world = world();
    world.set(|it| (it.finds, it.confidence) = (true, 0.3));
    let host = Host::with_issue(&world, Suggest);
    let issue = host.rests_in(Phase::PatchPending);
    let run = issue.run().unwrap();
    let draft = run.draft.as_ref().unwrap();
    assert_eq!(draft.patch.files[0].after.as_deref(), Some("x = 2\n"));
    assert_eq!(draft.rivals.len(), 1);
    assert!(draft.rivals[0].contains("+x = 0"));
    let proposal = &run.diagnosis.as_ref().unwrap().proposals[0];
    assert!(
        proposal.rationale.contains("Risk, not proved yet: 5 low"),
        "{proposal:?}"
    );

    // A sure agent is not made to wait for it.
    let world = self::world();
    world.set(|it| it.finds = true);
    let issue = Host::with_issue(&world, AutoAll).rests_in(Phase::Resolved);
    assert!(
        issue
            .run()
            .unwrap()
            .draft
            .as_ref()
            .unwrap()
            .rivals
            .is_empty()
    );
    let records = world.records.lock().unwrap();
    assert!(
        records
            .iter()
            .any(|it| matches!(it.event, Event::IssueResolved))
    );
}
