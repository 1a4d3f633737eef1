//! The JSON body of a command.

#![no_main]

holm_fuzz::target!(holm_console::fuzzing::http_body, holm_console::fuzzing::http_body_seeds);
