//! Code generated from `wit/`, the part of WASI that can be granted.
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

wasmtime::component::bindgen!({
    path: "wit",
    world: "granted",
    imports: { default: trappable },
});
