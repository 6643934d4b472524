//! The whole edge in process: real store and desk, nothing else real.

mod accounts;
mod bounds;
mod hooks;
mod lists;
mod load;
mod matrix;
mod patches;
mod policies;
mod preconditions;
mod repeats;
mod reply;
mod sessions;
mod sockets;
mod streams;
mod tokens;
mod world;
