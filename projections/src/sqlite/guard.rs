//! Keeps a handler from what would break the transaction that it writes in: ending it, or writing our own tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// The beginning of the names of our tables.
const OURS: &str = "holm_";

/// Says, for each statement that is prepared, whether it may be. Cheap: SQLite asks when a statement is prepared, not when it runs.
pub(super) struct Guard(Arc<AtomicBool>);

impl Guard {
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let on = Arc::new(AtomicBool::new(false));
        let guard = Self(Arc::clone(&on));
        connection.authorizer(Some(move |asked: AuthContext<'_>| {
            if on.load(Ordering::SeqCst) && breaks(&asked.action) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }))?;
        Ok(guard)
    }

    /// Runs what is not ours.
    pub(super) fn around<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Off<'a>(&'a AtomicBool);
        impl Drop for Off<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        self.0.store(true, Ordering::SeqCst);
        let _off = Off(&self.0);
        work()
    }
}

fn breaks(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Transaction { .. } => true,
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. } => table_name.starts_with(OURS),
        _ => false,
    }
}
