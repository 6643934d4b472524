//! One intent, one effect.

use selfheal_domain::permit::{Apply, Permit};

fn apply(_: Permit<Apply>) {}

fn effect(permit: Permit<Apply>) {
    apply(permit);
    apply(permit);
}

fn main() {}
