//! The program `holm` as a person uses it: real processes on ports of their own, killed, paused and restarted under load.

mod bench_verb;
mod failures;
mod import_under_fire;
mod keys;
mod life_of_a_cluster;
mod local_cluster;
mod membership;
