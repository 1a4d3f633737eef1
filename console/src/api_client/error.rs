//! Why a request to the management HTTP gave no document.

use crate::views::ProblemDocument;

/// Why a request gave no document.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be used.
    #[error("`{url}` is no address of a node: {reason}")]
    InvalidUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection could be made: nothing was sent.
    #[error("cannot reach a node at {url}")]
    Unreachable {
        /// Where a node was expected.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The request went out and no whole answer came back: the outcome is unknown.
    #[error("the answer of {url} was lost")]
    Lost {
        /// The node.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The node answered with a problem.
    #[error("{}", .0.title)]
    Problem(Box<ProblemDocument>),
    /// The node answered something else than was expected: another version, or no node of Holm.
    #[error("the answer of {url} could not be read")]
    Unreadable {
        /// The node.
        url: String,
        /// What the parser said.
        reason: String,
    },
}

impl ClientError {
    pub(super) fn lost(url: &str, error: &reqwest::Error) -> Self {
        let url = url.to_owned();
        let reason = if error.is_timeout() && !error.is_connect() {
            "no answer in time".to_owned()
        } else {
            innermost(error)
        };
        if error.is_connect() {
            Self::Unreachable { url, reason }
        } else {
            Self::Lost { url, reason }
        }
    }

    /// What lies behind the message, where it is not in the message.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::InvalidUrl { reason, .. }
            | Self::Unreachable { reason, .. }
            | Self::Lost { reason, .. }
            | Self::Unreadable { reason, .. } => reason,
            Self::Problem(problem) => &problem.detail,
        }
    }

    /// True when the same request with the same idempotency key may succeed now or later, here or at another node.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Problem(problem) => matches!(problem.kind.as_str(), "retry" | "back_off"),
            Self::InvalidUrl { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// True when the command surely had no effect.
    #[must_use]
    pub fn is_surely_not_applied(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::InvalidUrl { .. } => true,
            Self::Problem(problem) => problem.outcome == "not_applied",
            Self::Lost { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// The cause at the end of the chain: `connection refused` says more than the three layers above it.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        _ => cause.to_string(),
    }
}
