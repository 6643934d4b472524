//! A permit to apply is none to roll back.

use selfheal_domain::permit::{Apply, Permit, Rollback};

fn roll_back(_: Permit<Rollback>) {}

fn effect(permit: Permit<Apply>) {
    roll_back(permit);
}

fn main() {}
