//! A permit is for the run it was issued for.

use selfheal_domain::ids::RunRef;
use selfheal_domain::permit::{Apply, Permit};

fn redirect(mut permit: Permit<Apply>, other: RunRef) -> Permit<Apply> {
    permit.run = other;
    permit
}

fn main() {}
