//! What each route does once the gate let a call through.

pub(crate) mod accounts;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod hook;
pub(crate) mod issues;
pub(crate) mod oidc;
pub(crate) mod operations;
pub(crate) mod pack;
pub(crate) mod patches;
pub(crate) mod policies;
pub(crate) mod services;
pub(crate) mod session;
pub(crate) mod streams;
pub(crate) mod tokens;
pub(crate) mod views;
