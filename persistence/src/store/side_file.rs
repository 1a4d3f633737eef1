//! The side file.

/// The name of the side file in the data directory.
pub const SIDE_FILE_NAME: &str = "holm.identity";
