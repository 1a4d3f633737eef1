//! The HOLM_* variables.

#![no_main]

holm_fuzz::target!(holm::fuzz_settings, holm::fuzz_settings_seeds);
