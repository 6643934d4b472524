//! Only the ledger issues permits.

use selfheal_domain::ids::RunRef;
use selfheal_domain::permit::{Apply, Permit};

fn issue(run: RunRef) -> Permit<Apply> {
    Permit::issue(run, 0)
}

fn main() {}
