//! The bank from outside: every question goes over HTTP to whichever node answers, with a key where it changes something.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::TransfersDocument;
use super::plan::{PAID_IN, Plan};
use crate::api_client::{AnyNode, ApiClient, ClientError, SendOptions, Sent};

/// Questions under way at once.
const AT_ONCE: usize = 16;

/// Between two looks at a transfer that is not over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Events of one transfer; it has at most five.
const HISTORY_PAGE: u64 = 100;

/// Stages in which a transfer ended.
const OVER: [&str; 4] = ["completed", "failed", "refunded", "stranded"];

/// Stages in which the money is in the transfer and on no account.
const HOLDS_THE_MONEY: [&str; 3] = ["depositing", "refunding", "stranded"];

#[derive(Clone)]
pub(super) struct Bank {
    clients: Vec<ApiClient>,
    patience: Duration,
}

impl Bank {
    pub(super) fn new(clients: Vec<ApiClient>, patience: Duration) -> Result<Self, ClientError> {
        AnyNode::new(clients.clone(), 0, patience)?;
        Ok(Self { clients, patience })
    }

    /// Opens every account and pays in.
    pub(super) async fn open(&self, plan: &Plan) -> Result<(), ClientError> {
        let opened = self.each(plan.accounts as usize, async |nth, nodes| {
            let id = plan.account(u32::try_from(nth).unwrap_or(u32::MAX));
            let id = id.as_str();
            ask(nodes, ("account", id), "open", &json!({ "owner": "chaos" }), "open").await?;
            ask(nodes, ("account", id), "deposit", &json!({ "amount": PAID_IN }), "pay-in").await
        });
        opened.await.0.into_iter().try_for_each(|opened| opened.map(drop))
    }

    /// Starts every transfer, each acknowledged before its sender goes on.
    pub(super) async fn start(&self, plan: &Plan) -> TransfersDocument {
        let (started, retries) = self
            .each(plan.transfers.len(), async |nth, nodes| {
                let it = &plan.transfers[nth];
                let (from, to) = (plan.account(it.from), plan.account(it.to));
                let body = json!({ "from": from, "to": to, "amount": it.amount });
                ask(nodes, ("transfer", &plan.transfer(nth)), "start", &body, "start").await
            })
            .await;
        let (accounts, paid_in) = (plan.accounts, plan.paid_in());
        let mut document =
            TransfersDocument { accounts, paid_in, retries, ..TransfersDocument::default() };
        for (nth, started) in started.into_iter().enumerate() {
            match started.map(|sent| sent.verdict) {
                Ok(Ok(_)) => document.started += 1,
                Ok(Err(rejection)) => {
                    document.problem(format!("transfer {nth} was refused: {rejection}"));
                }
                Err(error) => document.problem(format!("transfer {nth} was not started: {error}")),
            }
        }
        document
    }

    /// Waits until every transfer is over, and adds up.
    pub(super) async fn judge(&self, plan: &Plan, document: &mut TransfersDocument) {
        let give_up = Instant::now() + self.patience;
        let (ends, retries) = self
            .each(plan.transfers.len(), async |nth, nodes| {
                let id = plan.transfer(nth);
                let stage = self.end_of(&id, nodes, give_up).await?;
                Ok((stage, events_of(&id, nodes).await?))
            })
            .await;
        document.retries += retries;
        for (nth, end) in ends.into_iter().enumerate() {
            let (stage, events) = match end {
                Ok(end) => end,
                Err(error) => {
                    document.problem(format!("transfer {nth} cannot be asked: {error}"));
                    continue;
                }
            };
            if !OVER.contains(&stage.as_str()) {
                document.problem(format!("transfer {nth} is still {stage}"));
            }
            if HOLDS_THE_MONEY.contains(&stage.as_str()) {
                document.sum += plan.transfers[nth].amount;
            }
            document.events += events.len() as u64;
            if let Some(twice) = first_repeated(events) {
                document.problem(format!("transfer {nth} has {twice} twice"));
            }
            *document.stages.entry(stage).or_default() += 1;
        }
        self.add_up(plan, document).await;
    }

    async fn add_up(&self, plan: &Plan, document: &mut TransfersDocument) {
        let (balances, retries) = self
            .each(plan.accounts as usize, async |nth, nodes| {
                let id = plan.account(u32::try_from(nth).unwrap_or(u32::MAX));
                read(nodes, ("account", &id), "balance").await
            })
            .await;
        document.retries += retries;
        for (nth, balance) in balances.into_iter().enumerate() {
            match balance.map(|balance| balance.as_u64()) {
                Ok(Some(balance)) => document.sum += balance,
                Ok(None) => document.problem(format!("account {nth} told no balance")),
                Err(error) => document.problem(format!("account {nth} cannot be asked: {error}")),
            }
        }
        if document.sum != document.paid_in {
            let (sum, paid_in) = (document.sum, document.paid_in);
            document.problem(format!("{sum} cents are there, {paid_in} were paid in"));
        }
    }

    /// The stage of a transfer when it is over, or when there is no more patience.
    async fn end_of(
        &self,
        id: &str,
        nodes: &mut AnyNode,
        give_up: Instant,
    ) -> Result<String, ClientError> {
        loop {
            let status = read(nodes, ("transfer", id), "status").await?;
            let stage = status["stage"].as_str().unwrap_or("unreadable").to_owned();
            if OVER.contains(&stage.as_str()) || Instant::now() > give_up {
                return Ok(stage);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Does something for each number below `count`, some of them at once; the answers in their order, and how often somebody had to ask again.
    async fn each<T>(
        &self,
        count: usize,
        work: impl AsyncFn(usize, &mut AnyNode) -> Result<T, ClientError>,
    ) -> (Vec<Result<T, ClientError>>, u64) {
        let (next, retries) = (Cell::new(0), Cell::new(0));
        let answers = RefCell::new(Vec::with_capacity(count));
        let (work, next, retries, collected) = (&work, &next, &retries, &answers);
        let workers = (0..AT_ONCE).map(|worker| async move {
            let Ok(mut nodes) = AnyNode::new(self.clients.clone(), worker, self.patience) else {
                return;
            };
            while next.get() < count {
                let nth = next.replace(next.get() + 1);
                let answer = work(nth, &mut nodes).await;
                collected.borrow_mut().push((nth, answer));
            }
            retries.set(retries.get() + nodes.retries());
        });
        join_all(workers).await;
        let mut answers = answers.into_inner();
        answers.sort_by_key(|(nth, _)| *nth);
        (answers.into_iter().map(|(_, answer)| answer).collect(), retries.get())
    }
}

/// Sends a command that takes effect once, however often it is sent.
async fn ask(
    nodes: &mut AnyNode,
    (entity_type, id): (&str, &str),
    command: &str,
    body: &Value,
    key: &str,
) -> Result<Sent, ClientError> {
    let options = SendOptions { key: Some(format!("{id}-{key}")), ..SendOptions::default() };
    nodes
        .until_answered(async |client| client.send(entity_type, id, command, body, &options).await)
        .await
}

async fn read(
    nodes: &mut AnyNode,
    entity: (&str, &str),
    command: &str,
) -> Result<Value, ClientError> {
    // A read takes no effect; its key only names it.
    let sent = ask(nodes, entity, command, &json!({}), command).await?;
    Ok(sent.verdict.unwrap_or_else(|rejection| rejection))
}

/// The names of a transfer's events.
async fn events_of(id: &str, nodes: &mut AnyNode) -> Result<Vec<String>, ClientError> {
    let page = nodes
        .until_answered(async |client| client.history("transfer", id, 0, HISTORY_PAGE).await)
        .await?;
    Ok(page.body.events.into_iter().map(|event| event.event).collect())
}

/// No event of a transfer can happen twice.
fn first_repeated(mut events: Vec<String>) -> Option<String> {
    events.sort();
    events.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_stands_twice_is_found() {
        let events = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        assert_eq!(first_repeated(events(&["started", "withdrawn", "completed"])), None);
        let twice = first_repeated(events(&["started", "withdrawn", "withdrawn"]));
        assert_eq!(twice.as_deref(), Some("withdrawn"));
    }
}
