//! The couriers: each takes the commands of some entities, one after the other, and tries every node until one answers.
//!
//! All commands of an entity go to the same courier, which keeps their order; there are as many couriers as commands may be on their way.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use holm::{IdempotencyKey, OsEntropy};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::line::Order;
use super::report::{Failed, Report};
use crate::api_client::{AnyNode, ApiClient, ClientError, SendOptions};

/// Commands that may wait for one courier: enough to keep it busy, little memory.
const QUEUE: usize = 64;

/// Events of a history that are read at a time.
const HISTORY_PAGE: u64 = 1_000;

/// Everybody who is on the way.
pub(super) struct Couriers {
    queues: Vec<mpsc::Sender<Order>>,
    parts: Vec<JoinHandle<Report>>,
    hash: RandomState,
}

impl Couriers {
    /// Starts `count` couriers over these nodes.
    pub(super) fn start(
        clients: &[ApiClient],
        count: usize,
        patience: Duration,
        reads_history: bool,
    ) -> Result<Self, ClientError> {
        let hash = RandomState::new();
        let (mut queues, mut parts) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (sender, receiver) = mpsc::channel(QUEUE);
            queues.push(sender);
            let courier = Courier {
                // Spread over the nodes.
                nodes: AnyNode::new(clients.to_vec(), number, patience)?,
                reads_history,
                hash: hash.clone(),
                seen: HashMap::new(),
                report: Report::default(),
            };
            // The verb runs on one thread, see `verbs::block_on`.
            parts.push(tokio::task::spawn_local(courier.run(receiver)));
        }
        Ok(Self { queues, parts, hash })
    }

    /// Hands a command over; waits while its courier is behind.
    pub(super) async fn send(&mut self, order: Order) {
        let hash = self.hash.hash_one((&order.command.entity_type, &order.command.id));
        let place = usize::try_from(hash % self.queues.len() as u64).unwrap_or(0);
        // A courier ends only when its queue is closed.
        let _ = self.queues[place].send(order).await;
    }

    /// Waits until everything was answered or given up.
    pub(super) async fn finish(self) -> Vec<Report> {
        drop(self.queues);
        let mut reports = Vec::new();
        for part in self.parts {
            reports.push(part.await.unwrap_or_default());
        }
        reports
    }
}

/// Hashes of the keys in the history of one entity: 8 bytes each instead of up to 64.
type Keys = HashSet<u64>;

struct Courier {
    nodes: AnyNode,
    reads_history: bool,
    hash: RandomState,
    seen: HashMap<(String, String), Keys>,
    report: Report,
}

impl Courier {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Report {
        while let Some(order) = orders.recv().await {
            self.report.lines += 1;
            if let Err(error) = self.deliver(&order).await {
                self.report.failed(Failed {
                    line: order.line,
                    entity: format!("{}/{}", order.command.entity_type, order.command.id),
                    reason: match error.reason() {
                        "" => error.to_string(),
                        reason => format!("{error} ({reason})"),
                    },
                });
            }
        }
        self.report.retries = self.nodes.retries();
        self.report
    }

    async fn deliver(&mut self, order: &Order) -> Result<(), ClientError> {
        let command = &order.command;
        if self.was_applied(order).await? {
            self.report.replayed += 1;
            self.report.replayed_from_history += 1;
            return Ok(());
        }
        // Without a key of its own a line still must not take effect twice because of a retry.
        let key = command
            .key
            .clone()
            .unwrap_or_else(|| IdempotencyKey::generate(&mut OsEntropy).to_string());
        let options = SendOptions { key: Some(key), ..SendOptions::default() };
        let sent = self
            .nodes
            .until_answered(async |client| {
                let (entity_type, id) = (&command.entity_type, &command.id);
                client.send(entity_type, id, &command.command, &command.body, &options).await
            })
            .await?;
        match sent.verdict {
            Ok(_) if sent.place.replayed => self.report.replayed += 1,
            Ok(_) => self.report.accepted += 1,
            Err(_) => self.report.rejected(order.line, &sent.message),
        }
        Ok(())
    }

    /// Whether the key of this line stands in the history of its entity, which is read before its first command.
    async fn was_applied(&mut self, order: &Order) -> Result<bool, ClientError> {
        let Some(key) = order.command.key.as_ref().filter(|_| self.reads_history) else {
            return Ok(false);
        };
        let entity = (order.command.entity_type.clone(), order.command.id.clone());
        if !self.seen.contains_key(&entity) {
            let keys = self.keys_of(&entity).await?;
            self.seen.insert(entity.clone(), keys);
        }
        Ok(self.seen[&entity].contains(&self.hash.hash_one(key.as_str())))
    }

    async fn keys_of(&mut self, entity: &(String, String)) -> Result<Keys, ClientError> {
        let (mut keys, mut after) = (Keys::new(), 0);
        loop {
            let page = self
                .nodes
                .until_answered(async |client| {
                    client.history(&entity.0, &entity.1, after, HISTORY_PAGE).await
                })
                .await;
            let page = match page {
                Ok(page) => page.body,
                // It has no history yet, or there is no such type, which the command itself will say.
                Err(ClientError::Problem(problem)) if problem.status == 404 => return Ok(keys),
                Err(error) => return Err(error),
            };
            keys.extend(page.events.iter().map(|event| self.hash.hash_one(event.key.as_str())));
            match page.next_after {
                Some(next) => after = next,
                None => return Ok(keys),
            }
        }
    }
}
