//! The twin run.
