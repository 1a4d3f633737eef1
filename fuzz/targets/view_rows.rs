//! Our rows in a view.

#![no_main]

holm_fuzz::target!(
    holm_projections::fuzzing::view_rows,
    holm_projections::fuzzing::view_rows_seeds
);
