//! Where the money is at the end.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use super::TransfersDocument;
use super::bank::{Bank, events_of, read};
use super::plan::Plan;
use super::starts::{Asked, Record};
use crate::api_client::{AnyNode, ClientError};
use crate::views::EventDocument;

/// How long one question is asked again before others have their turn. A transfer that is not over is asked again as long as there is time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at the transfers that are not over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stages in which a transfer ended.
const OVER: [&str; 4] = ["completed", "failed", "refunded", "stranded"];

/// Stages in which the money is in the transfer and on no account.
const HOLDS_THE_MONEY: [&str; 3] = ["depositing", "refunding", "stranded"];

/// What the nodes do not know of.
const UNSTARTED: &str = "unstarted";

/// What was seen of a transfer when it was looked at last; nothing, when nobody answered.
#[derive(Debug, Clone, Default)]
struct Seen {
    stage: Option<String>,
    events: u64,
    /// The first event that happened twice.
    twice: Option<String>,
    /// When its last event happened, in microseconds since the epoch, once it is over.
    over_us: Option<u64>,
    /// Why it cannot be asked, and asking again would not help.
    error: Option<String>,
}

impl Seen {
    fn is_settled(&self) -> bool {
        let settled = |stage: &String| stage == UNSTARTED || OVER.contains(&stage.as_str());
        self.error.is_some() || self.stage.as_ref().is_some_and(settled)
    }
}

/// What is on an account, or was paid out when it was closed.
#[derive(Debug, Clone)]
enum Holding {
    Balance(u64),
    PaidOut(u64),
}

/// Looks at every transfer that was asked for until it is over, then at every account, and adds up; all of it until one moment.
pub(super) async fn judge(
    bank: &Bank,
    plan: &Plan,
    record: &Record,
    harms_us: &[u64],
    until: Instant,
) -> TransfersDocument {
    let mut document = TransfersDocument {
        planned: u32::try_from(plan.transfers.len()).unwrap_or(u32::MAX),
        accounts: plan.accounts,
        paid_in: plan.paid_in(),
        ..TransfersDocument::default()
    };
    for (account, told) in &record.closings {
        match told {
            Ok(()) => document.closed += 1,
            Err(error) => document.problem(format!("account {account} was not closed: {error}")),
        }
    }
    let seen = look(bank, plan, record, until).await;
    for (nth, (asked, seen)) in record.starts.iter().zip(&seen).enumerate() {
        let Some(asked) = asked else { continue };
        document.add(nth, asked, seen, plan.transfers[nth].amount);
    }
    document.at_harm = harms_us.iter().map(|at_us| under_way(*at_us, record, &seen)).collect();
    document.add_up(bank, plan, until).await;
    document.retries = bank.retries();
    document
}

/// Asks for each transfer until all are over or there is no more time.
async fn look(bank: &Bank, plan: &Plan, record: &Record, until: Instant) -> Vec<Seen> {
    let seen = RefCell::new(vec![Seen::default(); plan.transfers.len()]);
    let mut open: Vec<usize> =
        (0..plan.transfers.len()).filter(|nth| record.starts[*nth].is_some()).collect();
    let looking = async {
        while !open.is_empty() {
            bank.each(open.len(), PATIENCE, async |at, nodes| {
                let now = look_at(&plan.transfer(open[at]), nodes).await;
                seen.borrow_mut()[open[at]] = now;
            })
            .await;
            open.retain(|nth| !seen.borrow()[*nth].is_settled());
            sleep(LOOK_EVERY).await;
        }
    };
    // Whoever is not over by then is a problem of its own.
    let _ = timeout_at(until, looking).await;
    seen.into_inner()
}

async fn look_at(id: &str, nodes: &mut AnyNode) -> Seen {
    match stage_of(id, nodes).await {
        Ok(seen) => seen,
        Err(error) if error.is_retryable() => Seen::default(),
        Err(error) => Seen { error: Some(error.to_string()), ..Seen::default() },
    }
}

async fn stage_of(id: &str, nodes: &mut AnyNode) -> Result<Seen, ClientError> {
    let stage = match read(nodes, ("transfer", id), "status").await? {
        Ok(status) => status["stage"].as_str().unwrap_or("unreadable").to_owned(),
        Err(_) => UNSTARTED.to_owned(),
    };
    if !OVER.contains(&stage.as_str()) {
        return Ok(Seen { stage: Some(stage), ..Seen::default() });
    }
    let events = events_of(nodes, ("transfer", id)).await?;
    Ok(Seen {
        stage: Some(stage),
        events: events.len() as u64,
        over_us: events.last().and_then(|event| us(&event.at)),
        twice: first_repeated(&events),
        error: None,
    })
}

/// How many were asked for before a moment and over after it. The end is told by the clock of the node that handled it, in milliseconds.
fn under_way(at_us: u64, record: &Record, seen: &[Seen]) -> u32 {
    let starts = record.starts.iter().zip(seen);
    let count = starts.filter(|(asked, seen)| {
        let begun = asked.as_ref().is_some_and(|asked| asked.at_us <= at_us);
        begun && seen.over_us.is_none_or(|over_us| over_us > at_us)
    });
    u32::try_from(count.count()).unwrap_or(u32::MAX)
}

impl TransfersDocument {
    fn add(&mut self, nth: usize, asked: &Asked, seen: &Seen, amount: u64) {
        match &asked.told {
            Some(Ok(())) => self.started += 1,
            Some(Err(error)) => self.problem(format!("transfer {nth} was not started: {error}")),
            None => self.problem(format!("nobody answered the start of transfer {nth}")),
        }
        let Some(stage) = &seen.stage else {
            let why = seen.error.as_deref().unwrap_or("nobody answered in time");
            self.unknown += 1;
            return self.problem(format!("transfer {nth} cannot be asked: {why}"));
        };
        let acknowledged = matches!(asked.told, Some(Ok(())));
        if stage == UNSTARTED && acknowledged {
            self.problem(format!("transfer {nth} was acknowledged, and nobody knows it"));
        } else if !seen.is_settled() {
            self.unknown += 1;
            self.problem(format!("transfer {nth} is still {stage}"));
        }
        if HOLDS_THE_MONEY.contains(&stage.as_str()) {
            self.sum += amount;
        }
        if let Some(twice) = &seen.twice {
            self.problem(format!("transfer {nth} has {twice} twice"));
        }
        self.events += seen.events;
        *self.stages.entry(stage.clone()).or_default() += 1;
    }

    /// The balances, and what was paid out. While money is on its way, or where an account does not answer, there is no sum that could be wrong.
    async fn add_up(&mut self, bank: &Bank, plan: &Plan, until: Instant) {
        let held = RefCell::new(vec![None; plan.accounts as usize]);
        let asking = bank.each(plan.accounts as usize, PATIENCE, async |nth, nodes| {
            let id = plan.account(u32::try_from(nth).unwrap_or(u32::MAX));
            let there = holding(&id, nodes).await;
            held.borrow_mut()[nth] = Some(there);
        });
        // Whoever was not asked by then is told below.
        let _ = timeout_at(until, asking).await;
        for (nth, held) in held.into_inner().into_iter().enumerate() {
            match held.unwrap_or_else(|| Err("there was no more time".to_owned())) {
                Ok(Holding::Balance(cents)) => self.sum += cents,
                Ok(Holding::PaidOut(cents)) => {
                    self.paid_out += cents;
                    self.sum += cents;
                }
                Err(why) => {
                    self.unknown += 1;
                    self.problem(format!("account {nth} cannot be asked: {why}"));
                }
            }
        }
        if self.sum != self.paid_in {
            let (sum, paid_in) = (self.sum, self.paid_in);
            self.problem(match self.unknown {
                0 => format!("{sum} cents are there, {paid_in} were paid in"),
                unknown => format!("{sum} of {paid_in} cents were found; where money can be, {unknown} places are not known"),
            });
        }
    }
}

/// What is on an account; of a closed one, what its last event paid out.
async fn holding(id: &str, nodes: &mut AnyNode) -> Result<Holding, String> {
    let failed = |error: ClientError| error.to_string();
    let refused = match read(nodes, ("account", id), "balance").await.map_err(failed)? {
        Ok(balance) => {
            let cents = balance.as_u64().ok_or_else(|| format!("{balance} is no balance"))?;
            return Ok(Holding::Balance(cents));
        }
        Err(refused) => refused,
    };
    let events = events_of(nodes, ("account", id)).await.map_err(failed)?;
    let closed = events.last().filter(|event| event.event == "Closed");
    let paid_out = closed.and_then(|event| event.data["paid_out"].as_u64());
    paid_out.map(Holding::PaidOut).ok_or_else(|| format!("it said {refused}"))
}

/// No event of a transfer can happen twice.
fn first_repeated(events: &[EventDocument]) -> Option<String> {
    let mut names: Vec<_> = events.iter().map(|event| &event.event).collect();
    names.sort();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

/// A time of RFC 3339 in microseconds since the epoch.
fn us(rfc3339: &str) -> Option<u64> {
    let time: Timestamp = rfc3339.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_stands_twice_is_found() {
        let events = |names: &[&str]| -> Vec<_> {
            let event = |name: &&str| EventDocument {
                event: (*name).to_owned(),
                ..EventDocument::default()
            };
            names.iter().map(event).collect()
        };
        assert_eq!(first_repeated(&events(&["Started", "Withdrawn", "Completed"])), None);
        let twice = first_repeated(&events(&["Started", "Withdrawn", "Withdrawn"]));
        assert_eq!(twice.as_deref(), Some("Withdrawn"));
    }

    #[test]
    fn under_way_is_what_began_before_and_ended_after() {
        let asked = |at_us| Some(Asked { at_us, told: Some(Ok(())) });
        let over = |over_us| Seen { over_us, ..Seen::default() };
        let starts = vec![asked(1), asked(5), asked(9), None, asked(2)];
        let record = Record { starts, closings: Vec::new() };
        let seen = [over(Some(3)), over(Some(8)), over(Some(12)), Seen::default(), over(None)];
        assert_eq!([2, 5, 20].map(|at| under_way(at, &record, &seen)), [2, 2, 1]);
    }
}
