//! The program `holm` as a person uses it: real processes on ports of their own, killed, paused and restarted under load.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed step of a test is a failed test, and waiting for processes needs a clock"
)]

mod bench_verb;
#[path = "../../../tests/it/built.rs"]
mod built;
mod chaos;
mod failure_log;
mod failures;
mod flow_across_nodes;
mod flows;
mod followed;
mod http_commands;
mod http_edges;
mod http_failures;
mod http_guard;
mod http_reads;
mod http_slow_readers;
mod http_stream;
mod import_flights;
mod import_under_fire;
mod keys;
mod life_of_a_cluster;
mod local_cluster;
#[path = "../../../sharding/tests/it/log_lines.rs"]
mod log_lines;
mod membership;
mod node_edges;
mod node_process;
mod one_node;
mod operations;
mod own_program;
mod projections;
mod projections_of_all;
mod shared_work;
mod verbs;
