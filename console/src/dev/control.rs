//! The supervisor's socket: one JSON document a line in each direction, so that it knows what is intended with each process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::state::{DevStatus, NodeStatus, control_socket};
use crate::state_file::RunningCluster;

/// Longest request; a status with a minute of reports is a few hundred kilobytes, and goes the other way.
const REQUEST_BYTES: u64 = 64 * 1024;

/// Longest answer that is read.
const RESPONSE_BYTES: u64 = 16 * 1024 * 1024;

/// What can be asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Everything it knows.
    Status,
    /// End a node at once (SIGKILL), or let it hand over and end (SIGTERM).
    Kill {
        /// Its name.
        node: String,
        /// With SIGTERM.
        graceful: bool,
    },
    /// Start a node that ended; end and start one that runs.
    Restart {
        /// Its name.
        node: String,
    },
    /// SIGSTOP.
    Pause {
        /// Its name.
        node: String,
    },
    /// SIGCONT.
    Resume {
        /// Its name.
        node: String,
    },
    /// Start one more node.
    Join,
    /// Note that a node was told to leave; its end is then intended.
    Left {
        /// Its name.
        node: String,
    },
    /// End everything.
    Stop,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// The status asked for.
    Status(Box<DevStatus>),
    /// It was done.
    Done {
        /// The node, as it is now.
        node: Box<NodeStatus>,
        /// The instant of the signal, in microseconds since the epoch.
        at_us: u64,
    },
    /// The cluster ends.
    Stopping,
    /// It was not done.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A request on its way to the supervisor's loop.
pub(super) type Asked = (Request, oneshot::Sender<Response>);

/// Takes connections until the receiver is gone.
pub(super) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    while let Ok((stream, _)) = listener.accept().await {
        let asked = asked.clone();
        tokio::spawn(async move {
            // A caller that goes away in the middle concerns nobody else.
            let _ = converse(stream, asked).await;
        });
    }
}

async fn converse(stream: UnixStream, asked: mpsc::Sender<Asked>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        if (&mut reader).take(REQUEST_BYTES).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let response = match serde_json::from_slice(&line) {
            Ok(request) => {
                let (answer, wait) = oneshot::channel();
                asked.send((request, answer)).await?;
                wait.await?
            }
            Err(error) => Response::Refused { reason: format!("no such request: {error}") },
        };
        let mut line = serde_json::to_vec(&response)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
}

/// The calling end.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects to the supervisor of a running cluster.
    ///
    /// # Errors
    /// When there is none: the state file is left over, or its supervisor does not answer.
    pub async fn connect(cluster: &RunningCluster) -> anyhow::Result<Self> {
        let socket = control_socket(cluster).context("the state file names no control socket")?;
        Self::connect_to(&socket).await
    }

    async fn connect_to(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("no supervisor answers at {}", socket.display()))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the supervisor ends, refuses, or takes longer than half a minute.
    pub async fn ask(&mut self, request: &Request) -> anyhow::Result<Response> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await?;
        let mut answer = Vec::new();
        let read = (&mut self.stream).take(RESPONSE_BYTES);
        let mut read = std::pin::pin!(read);
        let bytes =
            tokio::time::timeout(Duration::from_secs(30), read.read_until(b'\n', &mut answer))
                .await
                .context("the supervisor does not answer")??;
        if bytes == 0 {
            bail!("the supervisor ended");
        }
        match serde_json::from_slice(&answer)? {
            Response::Refused { reason } => bail!("{reason}"),
            response => Ok(response),
        }
    }

    /// Everything the supervisor knows.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub async fn status(&mut self) -> anyhow::Result<DevStatus> {
        match self.ask(&Request::Status).await? {
            Response::Status(status) => Ok(*status),
            other => bail!("the supervisor answered something else: {other:?}"),
        }
    }

    /// Asks for something to be done to one node; gives the node as it is now and the instant in microseconds since the epoch.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub async fn act(&mut self, request: &Request) -> anyhow::Result<(NodeStatus, u64)> {
        match self.ask(request).await? {
            Response::Done { node, at_us } => Ok((*node, at_us)),
            other => bail!("the supervisor answered something else: {other:?}"),
        }
    }
}
