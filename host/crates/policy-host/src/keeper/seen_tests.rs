//! Changes on condition that the policies are as somebody saw them.

use super::*;
use selfheal_domain::ledger::Seen;
use std::sync::atomic::AtomicUsize;

#[test]
fn what_was_seen_is_what_is_changed() {
    let world = World::new(&text(&[("denies", "enforce")]));
    let keeper = world.open();
    let seen = || Seen::new([keeper.status().version()]);
    let grant = || keeper.grant("test.rule", None, 10, &user("ada"), "night shift");
    let before = seen();
    let mut numbers = Vec::new();
    keeper
        .while_seen(&before, &mut || numbers.push(grant().unwrap().number))
        .unwrap();
    // Whoever has the turn may change; that changed what there is to see.
    let again = keeper.while_seen(&before, &mut || numbers.push(0));
    assert!(matches!(again, Err(PolicyRefusal::Stale(_))), "{again:?}");
    keeper
        .while_seen(&seen(), &mut || {
            keeper.revoke(numbers[0], &user("bob"), "enough").unwrap();
        })
        .unwrap();
    assert_eq!(seen(), before, "as it was");
    // Of many who saw the same, one acts.
    let acted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let outcome = keeper.while_seen(&before, &mut || {
                    grant().unwrap();
                    acted.fetch_add(1, Ordering::SeqCst);
                });
                assert!(matches!(outcome, Ok(()) | Err(PolicyRefusal::Stale(_))));
            });
        }
    });
    assert_eq!(acted.load(Ordering::SeqCst), 1);
}
