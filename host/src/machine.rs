//! The machine's clock and source of identities: the only place of the binary
//! that reads them.

use chrono::{DateTime, SubsecRound, Utc};
use selfheal_domain::ports::{Clock, IdSource};
use uuid::Uuid;

/// The machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine;

impl Clock for Machine {
    /// To the microsecond, as it is stored: what is answered now reads the same later.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the Clock port's one real implementation"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

impl IdSource for Machine {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
