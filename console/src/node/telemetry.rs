//! What a node says about itself: tracing on standard error, metrics for `/metrics`. Installed by a process, never by the library.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

use super::catalogue;
use crate::management::{DURATION_BUCKETS, MetricsText};

/// The consensus and gossip libraries report every step at `info`; a person wants theirs only when something is wrong.
const DEFAULT_FILTER: &str = "info,openraft=error,chitchat=warn,sled=warn,hyper=warn";

/// How often the recorder folds its samples, so that a node that nobody scrapes keeps no more than this many seconds of them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Writes what is traced to standard error, as `RUST_LOG` says. A program that has its own subscriber keeps it.
pub(super) fn start_tracing() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .try_init();
}

/// Installs a recorder with fixed buckets, so that durations are histograms and those of several nodes can be added. `None` when the program has
/// a recorder of its own.
pub(super) fn start_metrics() -> Option<MetricsText> {
    let mut builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&DURATION_BUCKETS)
        .ok()?;
    for (name, buckets) in catalogue::SIZE_BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).ok()?;
    }
    let handle = match builder.install_recorder() {
        Ok(handle) => handle,
        Err(error) => {
            tracing::info!(%error, "this program has a recorder for metrics of its own");
            return None;
        }
    };
    catalogue::describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    Some(Arc::new(move || handle.render()))
}
