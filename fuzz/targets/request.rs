//! What stands in a request beside the body of a command.

#![no_main]

holm_fuzz::target!(holm_console::fuzzing::request, holm_console::fuzzing::request_seeds);
