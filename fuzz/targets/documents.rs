//! Ledgers, saved runs, streams, and what other processes answer.

#![no_main]

holm_fuzz::target!(holm_console::fuzzing::documents, holm_console::fuzzing::documents_seeds);
