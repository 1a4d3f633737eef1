//! The management HTTP of a node: probes, metrics, the cluster, entities and their commands, as JSON.
//!
//! It listens on loopback unless told otherwise, and on any other address only with a token. A page in somebody's browser must not be able to
//! reach a local node, so the `Host` and the `Origin` of every request are checked and a POST must carry JSON. Every limit has a default in
//! [`HttpLimits`], and what passes it gets an answer that names it.
//!
//! A request to any node reaches an entity wherever it is, because everything goes through [`holm::Holm`].

mod body;
mod cluster;
mod commands;
mod connections;
mod entities;
mod failures;
mod flows;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod measures;
mod operations;
mod options;
mod places;
mod probes;
mod problem;
mod projections;
mod records;
mod refusals;
mod routes;
mod server;
mod socket;
mod stream;

pub use measures::DURATION_BUCKETS;
pub use options::{HttpLimits, HttpOptions, MetricsText, ServeError};
pub use server::{BoundHttp, HttpServer};

use holm::Holm;

/// Serves the management HTTP of `holm` until [`HttpServer::shutdown`].
///
/// # Errors
/// [`ServeError`] when the address cannot be used, or must not be used without a token.
pub async fn serve(holm: Holm, options: HttpOptions) -> Result<HttpServer, ServeError> {
    Ok(BoundHttp::bind(options).await?.serve(holm))
}
