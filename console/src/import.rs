//! `holm import FILE.ndjson`: commands from a file, each taking effect once however often the file is imported.
//!
//! Two things make that so. While a command is new, its idempotency key lies in the window of its entity, and a retry (also at another node, after a kill)
//! gives the recorded answer. When the file is imported again later, the window may have forgotten it; so before the first command of an entity the
//! keys in its history are read, and what stands there is not sent again. The order of the commands of one entity is kept.

mod courier;
mod flights;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod report;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use self::courier::Couriers;
use self::line::{Lines, Order};
use self::report::Report;
use crate::api_client::{ApiClient, ClientError};
use crate::cli::Global;
use crate::output::{Exit, Failure, Output};

/// Send the commands of a file, each once, in order for each entity.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// One command a line: {"type":"account","id":"alice","command":"deposit","body":{"amount":100},"key":"a-1"}; - reads standard input
    #[arg(value_name = "FILE.ndjson", required_unless_present = "flights")]
    pub file: Option<PathBuf>,
    /// Import flights instead: a JSON array of {"date","delay","distance","origin","destination"}
    #[arg(long, value_name = "FILE.json", conflicts_with = "file")]
    pub flights: Option<PathBuf>,
    /// Print the commands as NDJSON and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Commands on their way at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub concurrency: u16,
    /// How long a command that gets no answer is tried again, at every known node
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub give_up_after: u64,
    /// Do not read what stands in the history of an entity before its first command
    #[arg(long)]
    pub skip_history: bool,
}

impl ImportArgs {
    /// Imports the file and says what became of its lines.
    ///
    /// # Errors
    /// When the file cannot be read or no node can be reached. Lines that failed are part of the report and give exit code 1.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let orders = self.orders()?;
        if self.dry_run {
            return Ok(print(orders, output));
        }
        let clients = global.clients()?;
        greet(&clients).await?;
        let patience = Duration::from_secs(self.give_up_after);
        let mut couriers =
            Couriers::start(&clients, usize::from(self.concurrency), patience, !self.skip_history)?;
        let mut report = Report::default();
        for order in orders {
            match order {
                Ok(order) => couriers.send(order).await,
                Err(bad) => report.bad_line(bad),
            }
        }
        for part in couriers.finish().await {
            report.add(part);
        }
        report.print(output);
        Ok(if report.is_clean() { Exit::Ok } else { Exit::Failed })
    }

    fn orders(&self) -> Result<Box<dyn Iterator<Item = Result<Order, line::BadLine>>>, Failure> {
        match (&self.file, &self.flights) {
            (_, Some(path)) => {
                let flights = flights::read(open(path)?).map_err(|error| {
                    Failure::usage(format!("cannot read {}", path.display()), error)
                })?;
                Ok(Box::new(flights.into_iter().map(Ok)))
            }
            (Some(path), None) if path.as_os_str() == "-" => {
                Ok(Box::new(Lines::of(BufReader::new(io::stdin()))))
            }
            (Some(path), None) => Ok(Box::new(Lines::of(open(path)?))),
            (None, None) => Err(Failure::usage("there is nothing to import", "no file was named")),
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| Failure::usage(format!("cannot read {}", path.display()), error))
}

fn print(orders: impl Iterator<Item = Result<Order, line::BadLine>>, output: Output) -> Exit {
    let mut exit = Exit::Ok;
    for order in orders {
        match order {
            Ok(order) => output.document(&order.command),
            Err(bad) => {
                output.progress(bad);
                exit = Exit::Failed;
            }
        }
    }
    exit
}

/// At least one node must answer before the file is read.
async fn greet(clients: &[ApiClient]) -> Result<(), Failure> {
    let mut last = None;
    for client in clients {
        match client.version().await {
            Ok(_) => return Ok(()),
            Err(error @ ClientError::Unreachable { .. }) => _ = last.get_or_insert(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| Failure::new("no node is known", ""), Failure::from))
}
