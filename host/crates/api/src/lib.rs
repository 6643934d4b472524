//! The HTTP edge: routes, sessions, roles, OpenAPI, streams (DESIGN §6.1, 6.2, 6.7).
//!
//! - Every route is a row of [`ROUTES`], which is also the authorisation and the
//!   source of `openapi.json`.
//! - Every request passes one gate (see `gate`) before its handler: rate, identity,
//!   role, origin, ownership, size, idempotency, in that order. What cannot be
//!   decided is refused.
//! - Handlers run on threads that may block; streams read the log and are only woken
//!   by the feed, so that they have neither gaps nor duplicates.
//! - Nothing here changes an issue by itself: everything goes through
//!   [`selfheal_pipeline::desk::IssueDesk`].

mod call;
mod gate;
mod handlers;
pub mod hook;
mod idempotency;
mod limits;
mod openapi;
mod outside;
mod preconditions;
mod problem;
mod proxy;
mod routes;
mod secrets;
mod server;
mod sessions;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod views;

pub use gate::is_origin;
pub use openapi::document as openapi_document;
pub use problem::{PROBLEM_JSON, Problem};
pub use proxy::{Network, ProxyOptions};
pub use routes::{CONTROL_ROUTES, Parameter, ROUTES, Route, Verb, Who, control_router, router};
pub use secrets::{
    MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, NewToken, SecretError, hash_password, new_token,
};
pub use server::{serve, serve_control, serve_tls};
pub use sessions::SecureCookies;
pub use state::{ApiOptions, ApiState, SignInOptions};
pub use tls::{Identity, IdentityError};
pub use views::admin::user_view;
pub use views::token::{token_view, tokens_view};
