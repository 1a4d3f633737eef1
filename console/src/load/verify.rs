//! `holm load verify`: reads every shard back over the management HTTP and audits the ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::api_client::{ApiClient, ClientError, ClientOptions};
use crate::dev::screen::grouped;
use crate::ledger::{ReadBackError, RecordSource, SeenRecord, Verdict, audit_file};
use crate::output::{Exit, Failure, Mark, Output};
use crate::state_file::RunningCluster;
use crate::views::RecordDocument;

/// Records of one page.
const PAGE: u64 = 1_000;

/// How long a shard that does not answer is asked again: longer than any take-over.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// The records of a cluster, read through the HTTP of whichever node answers.
#[derive(Debug)]
pub struct HttpRecords {
    clients: Vec<ApiClient>,
}

impl HttpRecords {
    /// Reads through these nodes.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, ClientError> {
        let clients = urls
            .into_iter()
            .map(|url| ApiClient::new(url, ClientOptions::default()))
            .collect::<Result<_, _>>()?;
        Ok(Self { clients })
    }

    async fn ask_any<T>(
        &self,
        ask: impl AsyncFn(&ApiClient) -> Result<T, ClientError>,
    ) -> Result<T, String> {
        let end = Instant::now() + PATIENCE;
        let mut last = "no node is known".to_owned();
        loop {
            for client in &self.clients {
                match ask(client).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = format!("{error}: {}", error.reason()),
                }
            }
            if self.clients.is_empty() || Instant::now() >= end {
                return Err(last);
            }
            sleep(PAUSE).await;
        }
    }
}

impl RecordSource for HttpRecords {
    async fn shards(&self) -> Result<u32, ReadBackError> {
        let seen = self.ask_any(async |client: &ApiClient| client.cluster().await).await;
        let seen = seen.map_err(ReadBackError::Unreachable)?;
        Ok(u32::try_from(seen.body.shards.len()).unwrap_or(u32::MAX))
    }

    async fn records_after(
        &self,
        shard: u32,
        after: u64,
    ) -> Result<Vec<SeenRecord>, ReadBackError> {
        let page =
            self.ask_any(async |client: &ApiClient| client.events(shard, after, PAGE).await).await;
        let page = page.map_err(|reason| ReadBackError::Shard { shard, after, reason })?;
        Ok(page.body.records.into_iter().map(|record| seen(shard, record)).collect())
    }
}

fn seen(shard: u32, record: RecordDocument) -> SeenRecord {
    let cents = |data: &Value, field| data.get(field).and_then(Value::as_u64).unwrap_or_default();
    let change = record
        .events
        .iter()
        .map(|event| match event.event.as_str() {
            "Deposited" => i128::from(cents(&event.data, "amount")),
            "Withdrawn" => -i128::from(cents(&event.data, "amount")),
            "Closed" => -i128::from(cents(&event.data, "paid_out")),
            _ => 0,
        })
        .sum();
    SeenRecord {
        shard,
        offset: record.offset,
        entity: record.entity,
        base: record.base_seq,
        // Counted, not taken from `seq`: both must agree for the history to be whole.
        events: record.events.len() as u64,
        key: record.key,
        change,
    }
}

/// Audits a ledger against the cluster behind these URLs.
///
/// # Errors
/// When ledger or log cannot be read: then there is no verdict.
pub async fn audit<'a>(
    ledger: &Path,
    urls: impl IntoIterator<Item = &'a str>,
) -> Result<Verdict, Failure> {
    let records = HttpRecords::new(urls)?;
    audit_file(ledger, &records).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(error.to_string(), cause).or_try("holm status")
    })
}

pub(super) async fn run(ledger: Option<PathBuf>, output: Output) -> Result<Exit, Failure> {
    let local = RunningCluster::here()
        .map_err(|error| Failure::new("cannot read where the local cluster is", error))?
        .ok_or_else(|| {
            Failure::new("there is nothing to read back", "no local cluster is running from here")
                .or_try("holm dev")
                .exits(Exit::Unreachable)
        })?;
    let ledger = ledger.unwrap_or_else(|| local.data_dir.join("ledger.ndjson"));
    let verdict = audit(&ledger, local.nodes.iter().map(|node| node.http.as_str())).await?;
    if output.is_json() {
        output.document(&verdict);
    } else {
        show(&verdict, output);
    }
    Ok(if verdict.holds() { Exit::Ok } else { Exit::CheckFailed })
}

/// Prints a verdict with the ids of what is wrong.
pub(crate) fn show(verdict: &Verdict, output: Output) {
    let mark = output.mark(if verdict.holds() { Mark::Good } else { Mark::Bad });
    output.line(format_args!(
        "  {mark} Acknowledged   {} commands   {} read back   {} missing   {} doubled   {} gaps   {} altered   {} wrong balances",
        grouped(verdict.acknowledged),
        grouped(verdict.read_back),
        verdict.missing,
        verdict.doubled,
        verdict.gaps,
        verdict.altered,
        verdict.balances
    ));
    output.line(format_args!(
        "    Log            {} records of {} entities   outcome unknown: {} took effect, {} did not",
        grouped(verdict.records),
        grouped(verdict.entities),
        verdict.unknown_applied,
        verdict.unknown_absent
    ));
    for problem in &verdict.problems {
        output.line(format_args!("    {problem}"));
    }
}
