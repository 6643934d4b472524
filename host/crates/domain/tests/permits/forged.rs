//! A permit cannot be put together.

use selfheal_domain::ids::RunRef;
use selfheal_domain::permit::{Apply, Permit};
use std::marker::PhantomData;

fn forge(run: RunRef) -> Permit<Apply> {
    Permit {
        run,
        record: 0,
        act: PhantomData,
    }
}

fn main() {}
