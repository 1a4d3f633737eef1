//! Following a stream of facts by way of whichever node answers, and going on at another when one is lost.

use std::time::Duration;

use crate::api_client::{ApiClient, ClientError, StreamEvent, StreamWish};
use crate::cli::Global;
use crate::output::{Exit, Failure};

/// Pause before the nodes are asked again when a stream broke.
const AGAIN: Duration = Duration::from_millis(200);

/// Rounds through all nodes after which nobody is thought to be there.
const MOST_ROUNDS: usize = 25;

/// What to follow, and how long.
pub(super) struct Follow {
    pub(super) wish: StreamWish,
    /// Go on for ever; else end when everything that is there was seen.
    pub(super) forever: bool,
    /// End after so many events.
    pub(super) limit: Option<u64>,
}

/// How following one node ended.
enum Ended {
    /// There is no more to come, or nobody reads any more.
    Done,
    /// Another node should go on.
    GoOn,
}

impl Follow {
    /// Gives each event to `show`, which says false when nobody reads any more.
    ///
    /// # Errors
    /// When no node can be reached, or a log cannot be read.
    pub(super) async fn run(
        mut self,
        global: &Global,
        show: impl Fn(&StreamEvent) -> bool,
    ) -> Result<Exit, Failure> {
        let clients = global.clients()?;
        let (mut left, mut rounds) = (self.limit.unwrap_or(u64::MAX), 0);
        loop {
            for client in &clients {
                match self.by_way_of(client, &mut left, &show).await {
                    Ok(Ended::Done) => return Ok(Exit::Ok),
                    Ok(Ended::GoOn) => rounds = 0,
                    Err(ClientError::Unreachable { .. } | ClientError::Lost { .. })
                        if self.forever && rounds < MOST_ROUNDS => {}
                    Err(error) => return Err(error.into()),
                }
            }
            rounds += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn by_way_of(
        &mut self,
        client: &ApiClient,
        left: &mut u64,
        show: impl Fn(&StreamEvent) -> bool,
    ) -> Result<Ended, ClientError> {
        let mut stream = client.stream(&self.wish).await?;
        let mut came = false;
        while *left > 0 {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                // A node that stops ends its streams in order.
                Ok(None) if self.forever => return Ok(Ended::GoOn),
                Ok(None) => return Ok(Ended::Done),
                Err(_) if came && self.forever => return Ok(Ended::GoOn),
                Err(error) => return Err(error),
            };
            came = true;
            if event.event == "error" {
                let reason = event.data;
                return Err(ClientError::Unreadable { url: client.base().to_owned(), reason });
            }
            self.wish.last_id = Some(event.id.clone());
            if !show(&event) {
                return Ok(Ended::Done);
            }
            *left -= 1;
        }
        Ok(Ended::Done)
    }
}
