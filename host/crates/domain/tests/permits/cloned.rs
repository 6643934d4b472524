//! A permit cannot be copied.

use selfheal_domain::permit::{Apply, Permit};

fn apply(_: Permit<Apply>) {}

fn effect(permit: Permit<Apply>) {
    apply(permit.clone());
    apply(permit);
}

fn main() {}
