//! Tests against real repositories, judged by the git command line.

mod attributes;
mod bisect;
mod cost;
mod crash;
mod fixture;
mod healing;
mod hostile;
mod kinds;
mod objects;
mod oneshot;
mod random;
mod signing;
mod texts;
mod trapped;
mod traps;
mod vouch;
