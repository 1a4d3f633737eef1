//! Files of commands and of flights.

#![no_main]

holm_fuzz::target!(holm_console::fuzzing::import, holm_console::fuzzing::import_seeds);
