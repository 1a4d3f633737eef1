//! Several nodes as one: whoever answers.

use std::time::Duration;

use tokio::time::Instant;

use super::{ApiClient, ClientError};

/// The first and the longest wait between two tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The nodes of a cluster, asked one after the other until one answers. It goes on with the one that answered last.
#[derive(Debug, Clone)]
pub struct AnyNode {
    clients: Vec<ApiClient>,
    at: usize,
    patience: Duration,
    retries: u64,
}

impl AnyNode {
    /// These nodes, beginning with the `first`th, each question asked again for at most `patience`.
    ///
    /// # Errors
    /// When there is no node.
    pub fn new(
        clients: Vec<ApiClient>,
        first: usize,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        if clients.is_empty() {
            let reason = "no node is known".to_owned();
            return Err(ClientError::InvalidUrl { url: String::new(), reason });
        }
        let at = first % clients.len();
        Ok(Self { clients, at, patience, retries: 0 })
    }

    /// How often a question had to be asked again.
    #[must_use]
    pub const fn retries(&self) -> u64 {
        self.retries
    }

    /// Asks node after node, with growing waits, until one answers or the patience is over. What is asked must be safe to ask again: a read, or a command
    /// with a key.
    ///
    /// # Errors
    /// What the last node said.
    pub async fn until_answered<T>(
        &mut self,
        ask: impl AsyncFn(&ApiClient) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let give_up = Instant::now() + self.patience;
        let mut wait = WAITS.0;
        loop {
            match ask(&self.clients[self.at]).await {
                Err(error) if error.is_retryable() && Instant::now() < give_up => {
                    self.retries += 1;
                    self.at = (self.at + 1) % self.clients.len();
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS.1);
                }
                answer => return answer,
            }
        }
    }
}
