//! Every command that a developer of Sluice runs.
fn main() {}
