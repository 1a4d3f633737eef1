//! `holm chaos`, from the command line to the exit code.

use std::time::Duration;

use super::campaign::{Campaign, Terms};
use super::document::CampaignDocument;
use super::hands::ProcessHands;
use super::show;
use crate::dev::DevPaths;
use crate::dev::process::random;
use crate::dev::verbs::{connect, unanswered};
use crate::output::{Exit, Failure, Output};
use crate::timeline::ChaosArgs;

/// Carries out `holm chaos`.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run_chaos(args: &ChaosArgs, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the watch cannot be started", error))?;
    runtime.block_on(async {
        let paths = DevPaths::here().map_err(|error| Failure::new("where is this?", error))?;
        let (_, mut control) = connect(&paths).await?;
        let status = control.status().await.map_err(unanswered)?;
        let running = status.running().count();
        if running < 3 {
            return Err(Failure::new(
                "a fault would take the majority away",
                format!("{running} nodes are running"),
            )
            .or_try("holm dev --nodes 3"));
        }
        let mut hands = ProcessHands;
        let campaign = Campaign::new(&mut hands, &mut control, args.terms(), output);
        Ok(conclude(&campaign.run().await?, output))
    })
}

/// Prints a report and gives the exit code that it deserves.
#[must_use]
pub fn conclude(document: &CampaignDocument, output: Output) -> Exit {
    if output.is_json() {
        output.document(document);
    } else {
        show::report(document, output);
    }
    if document.holds { Exit::Ok } else { Exit::CheckFailed }
}

impl ChaosArgs {
    /// What the command line asks for.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            seed: self.seed.unwrap_or_else(|| random() & 0xFFFF_FFFF),
            wishes: self.faults.clone(),
            rounds: self.rounds,
            within: Duration::from_secs(self.within),
            longest: Duration::from_secs(self.longest),
            followers: self.followers,
            transfers: self.transfers,
        }
    }
}
