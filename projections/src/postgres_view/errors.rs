//! What an error of the server, or of the way to it, means for who wants to try again.

use postgres::Error;
use postgres::error::SqlState;

use crate::projection::HandlerError;
use crate::view::{ViewError, WriteError};

/// Beginnings of the codes of what may go well later: the connection (08), a transaction that had to give way (40), something that ran out, the disk too (53), the
/// server that goes down or was told to end a statement (57), the machine below it (58).
const PASSING: [&str; 5] = ["08", "40", "53", "57", "58"];

pub(super) fn view_error(error: &Error) -> ViewError {
    let reason = said(error);
    if is_passing(error) { ViewError::Passing { reason } } else { ViewError::Broken { reason } }
}

impl From<Error> for WriteError {
    /// As an error of the view, not of the handler.
    fn from(error: Error) -> Self {
        Self::View(view_error(&error))
    }
}

/// The trouble of the server that a handler met and gave as its own, if it is that.
pub(super) fn trouble_of(error: &HandlerError) -> Option<ViewError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            return is_passing(error).then(|| view_error(error));
        }
        cause = error.source();
    }
    None
}

/// True when the same may go well later. An error without a code is one of the connection, but for those of a value that does not fit its column.
pub(super) fn is_passing(error: &Error) -> bool {
    let Some(code) = error.code() else { return error.is_closed() || is_of_the_way(error) };
    let waited_too_long =
        [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT];
    let passes = PASSING.iter().any(|class| code.code().starts_with(class));
    // A database that was dropped does not come back.
    (passes || waited_too_long.contains(&code)) && *code != SqlState::DATABASE_DROPPED
}

fn is_of_the_way(error: &Error) -> bool {
    use std::error::Error as _;
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    // What cannot be sent or understood is no trouble of the way.
    cause.is_some_and(|cause| !matches!(cause.kind(), InvalidData | InvalidInput))
}

/// What was said, with its code; no password is in it, because the server does not know one and the driver does not tell.
pub(super) fn said(error: &Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}{detail} [{}]", db.message(), db.code().code())
        }
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
