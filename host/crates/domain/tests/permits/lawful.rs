//! The shape of every effect; the other files differ from it in one thing each.

use selfheal_domain::permit::{Apply, Permit};

fn apply(_: Permit<Apply>) {}

fn effect(permit: Permit<Apply>) {
    let _record = permit.record();
    apply(permit);
}

fn main() {
    let _ = effect;
}
