//! The views of the demo domains, all of one process, each in a file of its own.

use std::path::Path;
use std::time::Duration;

use holm::Holm;
use holm_projections::{OnFailure, Options, ProjectionHandle, SqliteView, ViewError, start};

use crate::bank::Books;
use crate::flights::Delays;

/// The views that run here.
#[derive(Debug, Clone)]
pub struct Views {
    /// The books of the bank, for [`Books`].
    pub books: SqliteView,
    /// The delays of flights, for [`Delays`].
    pub delays: SqliteView,
    /// What holds them, in the order of their names.
    pub handles: Vec<ProjectionHandle>,
}

impl Views {
    /// Runs all views in files under `dir`. A record that a handler cannot handle is parked: a demo goes on.
    ///
    /// # Errors
    /// [`ViewError`] when a file cannot be opened.
    pub fn start(holm: &Holm, dir: &Path) -> Result<Self, ViewError> {
        let books = SqliteView::open(dir.join("bank-books.db"))?;
        let delays = SqliteView::open(dir.join("flight-delays.db"))?;
        let options =
            Options::on_failure(OnFailure::park().after_retries(2, Duration::from_millis(100)));
        let handles = vec![
            start(holm.bus(), Books, books.clone(), options.clone()),
            start(holm.bus(), Delays, delays.clone(), options),
        ];
        Ok(Self { books, delays, handles })
    }

    /// Ends them.
    pub async fn stop(&self) {
        for handle in &self.handles {
            handle.stop().await;
        }
    }
}

#[cfg(test)]
mod tests;
