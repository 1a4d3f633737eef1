//! Whole clusters in one process: real stores in temporary directories, real fsyncs, real sockets on loopback.

mod advertised;
mod bombs;
mod forming;
mod harness;
mod losing;
mod moving;
mod resting;
mod told;
mod watched;
