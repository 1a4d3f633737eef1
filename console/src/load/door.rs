//! The two doors into a cluster: the binary protocol through `EntityRef`, and the management HTTP of its nodes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holm::{
    AskOptions, Clock as _, EntityError, ErrorKind, Holm, IdempotencyKey, Outcome, SystemClock,
};
use holm_domains::bank::{Account, Balance, Deposit, Open, Withdraw};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::api_client::{ApiClient, ClientError, SendOptions};
use crate::ledger::{Acknowledged, Told};

/// What can be done to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Opens it.
    Open { owner: String },
    /// Pays in.
    Deposit { amount: u64 },
    /// Pays out.
    Withdraw { amount: u64 },
    /// Reads the balance.
    Balance,
}

/// One command to one account, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) command: Command,
    pub(crate) key: String,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) struct NoAnswer {
    pub(crate) error: String,
    /// It may have taken effect.
    pub(crate) unknown: bool,
    /// Worth another try with the same key.
    pub(crate) again: bool,
    /// The cluster knows no such thing, and will not however often it is asked.
    pub(crate) wrong: bool,
}

/// A way into the cluster.
pub(crate) enum Door {
    /// A client that is no member.
    Client(Holm),
    /// Some nodes' management HTTP, asked in turn; after a lost connection the next one is asked.
    Http { nodes: Vec<HttpNode>, next: AtomicUsize },
}

/// Requests to one node at once, each a connection: a quarter of those that a node takes, so that others get in after an outage, when all that waited is sent.
const REQUESTS_PER_NODE: usize = 256;

/// A node, and the requests that may still be sent to it.
pub(crate) struct HttpNode {
    client: ApiClient,
    places: Semaphore,
}

impl Command {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Deposit { .. } => "deposit",
            Self::Withdraw { .. } => "withdraw",
            Self::Balance => "balance",
        }
    }

    pub(crate) const fn amount(&self) -> u64 {
        match self {
            Self::Deposit { amount } | Self::Withdraw { amount } => *amount,
            Self::Open { .. } | Self::Balance => 0,
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::Open { owner } => json!({ "owner": owner }),
            Self::Deposit { amount } | Self::Withdraw { amount } => json!({ "amount": amount }),
            Self::Balance => json!({}),
        }
    }
}

impl NoAnswer {
    fn never_sent(error: impl ToString) -> Self {
        Self { error: error.to_string(), unknown: false, again: false, wrong: false }
    }

    /// What the ledger is told.
    pub(crate) fn told(&self) -> Told {
        let error = self.error.clone();
        if self.unknown { Told::Unknown { error } } else { Told::NotApplied { error } }
    }
}

impl Door {
    /// A door through these nodes' HTTP.
    pub(crate) fn http(clients: Vec<ApiClient>) -> Self {
        let node = |client| HttpNode { client, places: Semaphore::new(REQUESTS_PER_NODE) };
        Self::Http { nodes: clients.into_iter().map(node).collect(), next: AtomicUsize::new(0) }
    }

    /// Sends an order once and waits for the answer.
    pub(crate) async fn send(&self, order: &Order, within: Duration) -> Result<Told, NoAnswer> {
        match self {
            Self::Client(holm) => send_typed(holm, order, within).await,
            Self::Http { nodes, next } => {
                let turn = next.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
                let Some(node) = nodes.get(turn) else {
                    return Err(NoAnswer::never_sent("no node is known"));
                };
                // It is never closed.
                let _place = node.places.acquire().await;
                send_json(&node.client, order, within).await
            }
        }
    }
}

async fn send_typed(holm: &Holm, order: &Order, within: Duration) -> Result<Told, NoAnswer> {
    let account = holm.entity::<Account>(order.id.as_str());
    let key = IdempotencyKey::new(&order.key).map_err(NoAnswer::never_sent)?;
    let options =
        AskOptions { deadline: Some(SystemClock.now().plus(within)), ..AskOptions::with_key(key) };
    macro_rules! ask {
        ($command:expr) => {
            match account.ask_with($command, options).await {
                Ok(reply) => Ok(Told::Accepted(Acknowledged {
                    seq: reply.sequence.0,
                    shard: reply.shard.0,
                    offset: reply.offset.0,
                    balance: Some(reply.value),
                    replayed: reply.replayed,
                    served_by: reply.served_by.to_string(),
                })),
                Err(EntityError::Rejected(_)) => Ok(Told::Refused),
                Err(error) => Err(NoAnswer {
                    unknown: error.outcome() == Outcome::Unknown,
                    again: matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff),
                    wrong: error.kind() == ErrorKind::FixRequest,
                    error: error.to_string(),
                }),
            }
        };
    }
    match &order.command {
        Command::Open { owner } => ask!(Open { owner: owner.clone() }),
        Command::Deposit { amount } => ask!(Deposit { amount: *amount }),
        Command::Withdraw { amount } => ask!(Withdraw { amount: *amount }),
        Command::Balance => ask!(Balance {}),
    }
}

async fn send_json(client: &ApiClient, order: &Order, within: Duration) -> Result<Told, NoAnswer> {
    let options = SendOptions {
        key: Some(order.key.clone()),
        timeout: Some(within),
        ..SendOptions::default()
    };
    let body = order.command.body();
    match client.send("account", &order.id, order.command.name(), &body, &options).await {
        Ok(sent) => {
            let place = Acknowledged {
                seq: sent.place.seq,
                shard: sent.place.shard,
                offset: sent.place.offset,
                balance: sent.verdict.as_ref().ok().and_then(Value::as_u64),
                replayed: sent.place.replayed,
                served_by: sent.place.served_by,
            };
            Ok(if sent.verdict.is_ok() { Told::Accepted(place) } else { Told::Rejected(place) })
        }
        Err(error) => Err(NoAnswer {
            unknown: match &error {
                ClientError::Problem(problem) => problem.outcome != "not_applied",
                ClientError::Unreachable { .. } | ClientError::InvalidUrl { .. } => false,
                _ => true,
            },
            again: error.is_retryable(),
            wrong: matches!(&error, ClientError::Problem(it) if it.kind == "fix_request"),
            error: format!("{error}: {}", error.reason()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;
    use crate::api_client::ClientOptions;

    /// Promise G9: a node whose answers do not come is left connections for others.
    #[tokio::test]
    async fn no_more_requests_are_sent_to_a_node_than_it_spares() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = ApiClient::new(&url, ClientOptions::default()).unwrap();
        let door = Arc::new(Door::http(vec![client]));
        let order = Order { id: "a".into(), command: Command::Balance, key: "k".into() };
        for _ in 0..REQUESTS_PER_NODE + 20 {
            let (door, order) = (Arc::clone(&door), order.clone());
            tokio::spawn(async move { door.send(&order, Duration::from_secs(60)).await.map(drop) });
        }
        let mut silent = Vec::new();
        for _ in 0..REQUESTS_PER_NODE {
            silent.push(listener.accept().await.unwrap());
        }
        let more = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
        assert!(more.is_err(), "{more:?}");
        drop(silent.pop());
        listener.accept().await.expect("the next one, when one has come back");
    }
}
