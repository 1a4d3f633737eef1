//! Why a node did not run, and how a person is told.

use std::error::Error as _;

use holm::{EnvironmentError, StartError};
use holm_projections::ViewError;

use crate::management::ServeError;
use crate::output::Failure;

/// Why a node did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The process could not set up its threads or signals.
    #[error("the process cannot be set up")]
    Runtime(#[source] std::io::Error),
    /// A variable of the management HTTP is malformed.
    #[error("{name} cannot be read")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The token of the management HTTP cannot be read.
    #[error("the token of the management HTTP cannot be read")]
    Secret(#[source] EnvironmentError),
    /// The management HTTP cannot be served.
    #[error("the management HTTP cannot be served")]
    Http(#[from] ServeError),
    /// The node did not start.
    #[error("the node did not start")]
    Start(#[from] StartError),
    /// A view cannot be opened.
    #[error("a view cannot be opened")]
    View(#[from] ViewError),
    /// It took too long to hand over and stop.
    #[error("the node did not stop in time")]
    Stop {
        /// How long it was given.
        seconds: u64,
    },
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // An enum that only passes on repeats the text of what it holds.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            source = cause.source();
        }
        let cause = match &error {
            NodeError::Setting { reason, .. } => reason.clone(),
            NodeError::Stop { seconds } => format!("it was given {seconds} s"),
            _ => causes.join(": "),
        };
        let failure = Self::new(error.to_string(), cause);
        match error {
            NodeError::Setting { name, .. } => {
                failure.or_try(format!("{name}=127.0.0.1:7070")).exits(crate::output::Exit::Usage)
            }
            NodeError::Secret(_) => failure.exits(crate::output::Exit::Usage),
            NodeError::Http(ServeError::Bind { .. }) => {
                failure.or_try("HOLM_HTTP__BIND=127.0.0.1:0     let the system pick a free port")
            }
            NodeError::Stop { .. } => {
                failure.or_try("start it again: whatever was acknowledged is there")
            }
            _ => failure,
        }
    }
}
