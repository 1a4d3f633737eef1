//! A campaign: the rounds of a schedule one after another, and the judgement at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::{CampaignDocument, RoundDocument, Skipped};
use super::fault::Shape;
use super::followers::Followers;
use super::hands::Hands;
use super::resources::Resources;
use super::round::{Site, carry_out};
use super::schedule::{Planned, Wish, schedule};
use super::show;
use super::transfers::Transfers;
use crate::dev::control::Control;
use crate::dev::verbs::unanswered;
use crate::ledger::LedgerFollower;
use crate::load::HttpRecords;
use crate::output::{Failure, Output};
use crate::timeline::ProbeKind;

/// What is to be done and what must hold.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The seed of the schedule.
    pub seed: u64,
    /// Which faults.
    pub wishes: Vec<Wish>,
    /// How many rounds are shared by the faults without a number of their own.
    pub rounds: u32,
    /// Within this every shard must answer a probe again.
    pub within: Duration,
    /// No fault is kept up for longer.
    pub longest: Duration,
    /// Whether readers follow, are harmed too, and are asked at the end what they saw.
    pub followers: bool,
    /// How many transfers of money are to go on meanwhile.
    pub transfers: Option<u32>,
}

/// A campaign under way.
pub struct Campaign<'a, H> {
    hands: &'a mut H,
    control: &'a mut Control,
    terms: Terms,
    output: Output,
    resources: Resources,
    document: CampaignDocument,
}

impl<'a, H: Hands> Campaign<'a, H> {
    /// A campaign against the cluster behind `control`.
    pub fn new(hands: &'a mut H, control: &'a mut Control, terms: Terms, output: Output) -> Self {
        let document = CampaignDocument {
            seed: terms.seed,
            within_s: terms.within.as_secs(),
            ..CampaignDocument::default()
        };
        Self { hands, control, terms, output, resources: Resources::default(), document }
    }

    /// Carries it out. A round whose checks do not hold is the last one: what came after it would only say that it was broken before.
    ///
    /// # Errors
    /// What stood in the way; then there is no judgement.
    pub async fn run(mut self) -> Result<CampaignDocument, Failure> {
        let status = self.control.status().await.map_err(unanswered)?;
        let nodes = u32::try_from(status.running().count()).unwrap_or(u32::MAX);
        self.document.nodes = nodes;
        self.document.probed = ProbeKind::for_cluster(status.running().map(|it| &it.node)).await?;
        self.document.load = status.load.as_ref().map_or(0, |load| load.rate);
        let planned = schedule(self.terms.seed, &self.terms.wishes, self.terms.rounds, nodes);
        self.document.planned = u32::try_from(planned.len()).unwrap_or(u32::MAX);
        let planned = self.without_what_cannot_be_had(planned);
        show::heading(&self.document, planned.len(), self.output);
        let mut followers = match self.terms.followers {
            true => Some(Followers::start(&status).map_err(readers)?),
            false => None,
        };
        let mut transfers = match self.terms.transfers {
            Some(count) => {
                let (seed, rounds) = (self.terms.seed, planned.len());
                Some(Transfers::begin(&status, count, seed, rounds).await?)
            }
            None => None,
        };
        let mut ledger = LedgerFollower::new(&status.ledger);
        let carried_out =
            self.carry_out(planned, &mut ledger, followers.as_mut(), transfers.as_mut()).await;
        if let Some(transfers) = transfers {
            match &carried_out {
                Ok(()) => self.count(transfers).await?,
                Err(_) => transfers.stop().await,
            }
        }
        carried_out?;
        if let Some(followers) = followers {
            self.ask(followers).await?;
        }
        self.judge(&ledger).await?;
        Ok(self.document)
    }

    async fn carry_out(
        &mut self,
        planned: Vec<Planned>,
        ledger: &mut LedgerFollower,
        mut followers: Option<&mut Followers>,
        mut transfers: Option<&mut Transfers>,
    ) -> Result<(), Failure> {
        for planned in planned {
            let mut site = Site {
                hands: self.hands,
                control: self.control,
                ledger,
                followers: followers.as_deref_mut(),
                transfers: transfers.as_deref_mut(),
                terms: &self.terms,
                probed: self.document.probed,
            };
            let round = carry_out(&planned, &mut site).await?;
            show::round(&round, self.output);
            let well = round.problems.is_empty();
            self.sample(&round).await?;
            self.document.rounds.push(round);
            if !well {
                break;
            }
        }
        Ok(())
    }

    /// Drops the rounds whose fault cannot be had, and says so.
    fn without_what_cannot_be_had(&mut self, planned: Vec<Planned>) -> Vec<Planned> {
        let mut skipped: BTreeMap<Shape, Skipped> = BTreeMap::new();
        let mut left = Vec::new();
        for round in planned {
            match self.hands.lacks(round.shape) {
                None => left.push(round),
                Some(reason) => {
                    let fault = round.shape;
                    skipped.entry(fault).or_insert(Skipped { fault, rounds: 0, reason }).rounds +=
                        1;
                }
            }
        }
        self.document.skipped = skipped.into_values().collect();
        left
    }

    async fn sample(&mut self, round: &RoundDocument) -> Result<(), Failure> {
        let status = self.control.status().await.map_err(unanswered)?;
        for status in status.running() {
            self.resources.look(round.nth, &status.node.name, status.node.pid);
        }
        Ok(())
    }

    /// Where the money is.
    async fn count(&mut self, transfers: Transfers) -> Result<(), Failure> {
        let well = self.document.rounds.iter().all(|round| round.problems.is_empty());
        let money = transfers.judge(well, self.output).await?;
        self.document.problems.extend(money.problems.iter().map(|it| format!("transfers: {it}")));
        if money.unlisted > 0 {
            self.document.problems.push(format!("transfers: {} more problems", money.unlisted));
        }
        self.document.transfers = Some(money);
        Ok(())
    }

    /// What the readers saw, against the logs.
    async fn ask(&mut self, followers: Followers) -> Result<(), Failure> {
        let status = self.control.status().await.map_err(unanswered)?;
        let urls: Vec<_> = status.running().map(|it| it.node.http.clone()).collect();
        let records = HttpRecords::new(urls.iter().map(String::as_str))?;
        let saw = followers.judge(&records).await.map_err(readers)?;
        self.document.problems.extend(saw.problems.iter().map(|it| format!("followers: {it}")));
        self.document.followers = Some(saw);
        Ok(())
    }

    async fn judge(&mut self, ledger: &LedgerFollower) -> Result<(), Failure> {
        let status = self.control.status().await.map_err(unanswered)?;
        let document = &mut self.document;
        if status.load.as_ref().is_some_and(|load| load.pid == 0) {
            document.problems.push("the load generator ended".to_owned());
        }
        // Once more from the beginning: what was right after a round must still be.
        let urls: Vec<_> = status.running().map(|it| it.node.http.clone()).collect();
        if status.ledger.exists() {
            let whole = crate::load::audit(&status.ledger, urls.iter().map(String::as_str)).await?;
            if !whole.holds() {
                document.problems.extend(whole.problems.first().map(ToString::to_string));
            }
            document.ledger = Some(whole);
        }
        let order = ledger.judge_order();
        if !order.holds() {
            document.problems.push(format!(
                "{} answers contradict real time, {} reads are untrue; the first: {:?}",
                order.stale,
                order.untrue,
                order.problems.first()
            ));
        }
        document.order = Some(order);
        document.processes = self.resources.processes();
        document.resources = self.resources.summary();
        let grown = document.resources.iter().flat_map(super::NodeResources::problems);
        document.problems.extend(grown.collect::<Vec<_>>());
        document.add_up();
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn readers(error: anyhow::Error) -> Failure {
    Failure::new("what the followers saw is not known", format!("{error:#}"))
}
