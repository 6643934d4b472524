//! Binary `selfheal`.
fn main() {}
