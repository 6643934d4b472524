//! Code generated from `guest-sdk/wit/v1`, one module per world over shared types.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated"
)]

pub mod guardrail {
    //! World `guardrail`.
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/v1",
        world: "guardrail",
        imports: { default: trappable },
    });
}

pub use guardrail::selfheal::policy::{host, types};

pub mod risk {
    //! World `risk`.
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/v1",
        world: "risk",
        with: {
            "selfheal:policy/types@1.0.0": super::types,
            "selfheal:policy/host@1.0.0": super::host,
        },
    });
}

pub mod autonomy {
    //! World `autonomy`.
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/v1",
        world: "autonomy",
        with: {
            "selfheal:policy/types@1.0.0": super::types,
            "selfheal:policy/host@1.0.0": super::host,
        },
    });
}
