//! The built-in repair engine: localise, propose, validate, rank.
//!
//! [`RepairEngine`] needs no model. It runs the failing command, profiles it in
//! a warm worker inside the sandbox, generates small patches from general
//! templates where the profile points, runs them, and ranks those that pass by
//! how likely they are right. It acts through `selfheal_domain::tools::Tools`
//! only; the workers it needs in the sandbox are its [`assets`].

mod candidate;
mod case;
mod check_run;
mod command;
mod compiler;
mod conclude;
mod draft;
mod engine;
mod explain;
mod hunt;
mod localise;
mod observe;
mod rank;
mod scene;
mod search;
mod source;
mod templates;
mod worker;

pub use engine::RepairEngine;

use selfheal_domain::tools::Asset;

/// The files that the engine needs in its sandboxes: test workers.
#[must_use]
pub fn assets() -> Vec<Asset> {
    vec![
        Asset {
            name: worker::PYTHON_ASSET.to_owned(),
            content: include_bytes!("../assets/worker.py").to_vec(),
        },
        Asset {
            name: worker::SHIM_ASSET.to_owned(),
            content: include_bytes!("../assets/shim.mjs").to_vec(),
        },
        Asset {
            name: compiler::COMPILER_ASSET.to_owned(),
            content: include_bytes!("../assets/compiler.sh").to_vec(),
        },
        Asset {
            name: worker::LAUNCHER_ASSET.to_owned(),
            content: include_bytes!("../assets/pytest-python.sh").to_vec(),
        },
        Asset {
            name: worker::NODE_ASSET.to_owned(),
            content: include_bytes!("../assets/worker.cjs").to_vec(),
        },
    ]
}
