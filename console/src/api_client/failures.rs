//! Asking about failures, and ordering what is to be done about them.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};

use super::{ApiClient, ClientError};
use crate::views::{
    FailureCountDocument, FailuresDocument, HandleFailures, HandledDocument, OperationDocument,
    Served,
};

impl ApiClient {
    /// What failed and is meant by the filter.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn failures(&self, filter: &str) -> Result<Served<FailuresDocument>, ClientError> {
        let request = self.request(Method::GET, &["api", "v1", "failures"])?;
        self.read(request.query(&[("filter", filter)])).await
    }

    /// How much stands open.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn failure_counts(&self) -> Result<Served<FailureCountDocument>, ClientError> {
        self.get(&["api", "v1", "failures:count"], &[]).await
    }

    /// Says what an order over failures would do.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn rehearse_failures(
        &self,
        order: &str,
        filter: &str,
    ) -> Result<Served<HandledDocument>, ClientError> {
        self.read(self.failure_order(order, filter, true)?).await
    }

    /// Does something about failures: `retry`, `skip` or `resume`, and waits at most `wait` for the end. Every one of them may be ordered again.
    ///
    /// # Errors
    /// As [`ApiClient::version`]. What became of each failure stands in the answer, and in that of [`ApiClient::operation`].
    pub async fn handle_failures(
        &self,
        order: &str,
        filter: &str,
        wait: Duration,
    ) -> Result<Served<OperationDocument>, ClientError> {
        let request = self.failure_order(order, filter, false)?;
        self.read(request.query(&[("wait_ms", wait.as_millis().to_string())])).await
    }

    fn failure_order(
        &self,
        order: &str,
        filter: &str,
        dry_run: bool,
    ) -> Result<RequestBuilder, ClientError> {
        let target = format!("failures:{order}");
        let request = self.request(Method::POST, &["api", "v1", &target])?;
        Ok(request.json(&HandleFailures { filter: filter.to_owned(), dry_run }))
    }

    /// How far an operation is: its outcomes behind the first `after`, when it has ended or `wait` is over. Only the node that took it knows.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn operation(
        &self,
        id: &str,
        after: u64,
        wait: Duration,
    ) -> Result<Served<OperationDocument>, ClientError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let path = ["api", "v1", "operations", id];
        self.get(&path, &[("after", after), ("wait_ms", wait_ms)]).await
    }
}
