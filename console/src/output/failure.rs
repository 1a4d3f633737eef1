//! Why a verb failed, as a person reads it (what, why, next) and as a script does (the exit code).

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use crate::api_client::ClientError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It did not.
    Failed = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// A check did not hold: an event is lost, a percentile is over its limit.
    CheckFailed = 3,
    /// No node could be reached.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// What failed.
    pub error: String,
    /// Why.
    pub cause: String,
    /// What to do next, one line each.
    #[serde(rename = "try")]
    pub next: Vec<String>,
    /// How the program ends.
    #[serde(skip)]
    pub exit: Exit,
}

impl Failure {
    /// Something did not work.
    pub fn new(error: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { error: error.into(), cause: cause.to_string(), next: Vec::new(), exit: Exit::Failed }
    }

    /// The command line, or a file it names, is wrong.
    pub fn usage(error: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new(error, cause) }
    }

    /// The same with one more thing to try.
    #[must_use]
    pub fn or_try(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub const fn exits(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// `error:`, `cause:` and `try:` below each other.
    pub(super) fn rendered(&self, error_label: &str) -> String {
        let mut text = format!("{error_label} {}", self.error);
        if !self.cause.is_empty() {
            text.push_str("\ncause: ");
            text.push_str(&self.cause);
        }
        for (nth, next) in self.next.iter().enumerate() {
            text.push_str(if nth == 0 { "\n  try: " } else { "\n       " });
            text.push_str(next);
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered("error:"))
    }
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(error.to_string(), error.reason());
        match error {
            ClientError::Unreachable { .. } => failure
                .or_try("holm dev                      start a local cluster")
                .or_try("holm --url http://host:7070   or choose another")
                .exits(Exit::Unreachable),
            ClientError::Lost { .. } => failure
                .or_try("the same again with the same --key; the outcome is unknown until then")
                .exits(Exit::Unreachable),
            ClientError::InvalidUrl { .. } => {
                failure.or_try("--url http://127.0.0.1:7070").exits(Exit::Usage)
            }
            ClientError::Unreadable { .. } => {
                failure.or_try("check that --url names a node of this version of holm")
            }
            ClientError::Problem(problem) if problem.next.is_empty() => failure,
            ClientError::Problem(problem) => failure.or_try(problem.next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_what_why_next() {
        let failure = Failure::from(ClientError::Unreachable {
            url: "http://127.0.0.1:7070".to_owned(),
            reason: "connection refused".to_owned(),
        });
        assert_eq!(
            failure.to_string(),
            "error: cannot reach a node at http://127.0.0.1:7070\n\
             cause: connection refused\n  \
               try: holm dev                      start a local cluster\n       \
                    holm --url http://host:7070   or choose another"
        );
        assert_eq!(failure.exit, Exit::Unreachable);
    }
}
