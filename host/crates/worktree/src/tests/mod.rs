//! Tests against real repositories, judged by the git command line.

mod crash;
mod fixture;
mod healing;
mod hostile;
