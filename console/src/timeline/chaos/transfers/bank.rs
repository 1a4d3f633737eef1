//! The bank from outside: every question goes over HTTP to whichever node answers, with a key where it changes something.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::plan::{PAID_IN, Plan};
use crate::api_client::{AnyNode, ApiClient, ClientError, SendOptions};
use crate::views::EventDocument;

/// Questions under way at once.
pub(super) const AT_ONCE: usize = 16;

/// Events of one page. A transfer has at most five, an account one for each transfer and a few more.
const HISTORY_PAGE: u64 = 100;

/// The nodes, and how often somebody had to ask again.
#[derive(Clone)]
pub(super) struct Bank {
    clients: Vec<ApiClient>,
    retries: Arc<AtomicU64>,
}

impl Bank {
    pub(super) fn new(clients: Vec<ApiClient>) -> Result<Self, ClientError> {
        AnyNode::new(clients.clone(), 0, Duration::ZERO)?;
        Ok(Self { clients, retries: Arc::default() })
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Does something for each number below `count`, some of them at once and each question again for `patience`. Whoever drops it keeps what was done.
    pub(super) async fn each(
        &self,
        count: usize,
        patience: Duration,
        work: impl AsyncFn(usize, &mut AnyNode),
    ) {
        let next = Cell::new(0);
        let (work, next) = (&work, &next);
        join_all((0..AT_ONCE).map(|worker| async move {
            let nodes = AnyNode::new(self.clients.clone(), worker, patience);
            let mut nodes = nodes.expect("a bank has a node");
            while next.get() < count {
                let nth = next.replace(next.get() + 1);
                let before = nodes.retries();
                work(nth, &mut nodes).await;
                self.retries.fetch_add(nodes.retries() - before, Ordering::Relaxed);
            }
        }))
        .await;
    }
}

/// Opens an account and pays in.
pub(super) async fn open(plan: &Plan, number: u32, nodes: &mut AnyNode) -> Result<(), String> {
    let id = plan.account(number);
    let id = ("account", id.as_str());
    done(ask(nodes, id, "open", &json!({ "owner": "chaos" }), "open").await)?;
    done(ask(nodes, id, "deposit", &json!({ "amount": PAID_IN }), "pay-in").await)
}

/// Closes an account: what is on it is paid out.
pub(super) async fn close(plan: &Plan, number: u32, nodes: &mut AnyNode) -> Result<(), String> {
    done(ask(nodes, ("account", &plan.account(number)), "close", &json!({}), "close").await)
}

/// Starts a transfer.
pub(super) async fn start(plan: &Plan, nth: usize, nodes: &mut AnyNode) -> Result<(), String> {
    let it = &plan.transfers[nth];
    let (from, to) = (plan.account(it.from), plan.account(it.to));
    let body = json!({ "from": from, "to": to, "amount": it.amount });
    done(ask(nodes, ("transfer", &plan.transfer(nth)), "start", &body, "start").await)
}

/// Asks something that changes nothing: the reply or the rejection.
pub(super) async fn read(
    nodes: &mut AnyNode,
    entity: (&str, &str),
    command: &str,
) -> Result<Result<Value, Value>, ClientError> {
    // Its key only names it.
    ask(nodes, entity, command, &json!({}), command).await
}

/// All events of an entity.
pub(super) async fn events_of(
    nodes: &mut AnyNode,
    (entity_type, id): (&str, &str),
) -> Result<Vec<EventDocument>, ClientError> {
    let (mut events, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = nodes
            .until_answered(async |client| {
                client.history(entity_type, id, from, HISTORY_PAGE).await
            })
            .await?;
        events.extend(page.body.events);
        after = page.body.next_after;
    }
    Ok(events)
}

/// Sends a command that takes effect once, however often it is sent.
async fn ask(
    nodes: &mut AnyNode,
    (entity_type, id): (&str, &str),
    command: &str,
    body: &Value,
    key: &str,
) -> Result<Result<Value, Value>, ClientError> {
    let options = SendOptions { key: Some(format!("{id}-{key}")), ..SendOptions::default() };
    let sent = nodes
        .until_answered(async |client| client.send(entity_type, id, command, body, &options).await);
    Ok(sent.await?.verdict)
}

/// What must not be refused: that would be missing in the sum as if it were lost.
fn done(told: Result<Result<Value, Value>, ClientError>) -> Result<(), String> {
    match told {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(rejection)) => Err(format!("refused: {rejection}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_done() {
        assert_eq!(done(Ok(Ok(json!(7)))), Ok(()));
        let refused = done(Ok(Err(json!({ "closed": {} })))).unwrap_err();
        assert!(refused.contains("refused") && refused.contains("closed"), "{refused}");
    }
}
