//! The connections of one process to the database of a view: how they are made, kept for the next one, and ended.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use postgres::config::Host;
use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::{Client, Config, Error, IsolationLevel, Socket, Transaction};
use tokio::sync::Semaphore;

use super::errors::{is_passing, said};
use super::names::Names;
use crate::shelf::READERS;
use crate::view::{Identity, ViewError, WriteError};

/// How long making a connection may take, where the configuration does not say it.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the network may take nothing of what is sent, where the configuration does not say it.
const NETWORK: Duration = Duration::from_secs(15);

/// What a session may wait for, in milliseconds. A member that is frozen in the middle of a transaction holds the rows of its shards for as long as the last of them.
const LIMITS: &str = "SET statement_timeout = 30000; SET lock_timeout = 5000;
    SET idle_in_transaction_session_timeout = 10000;";

/// Connections that are kept for the next one: those of four writers, and the readers.
const KEPT: usize = 4 + READERS;

type Connect = dyn Fn() -> Result<Client, Error> + Send + Sync;

/// The way to the database of a view.
pub(super) struct Database {
    connect: Box<Connect>,
    pub(super) names: Names,
    /// Where it is, for whoever is told that it cannot be reached.
    pub(super) place: String,
    pub(super) readers: Arc<Semaphore>,
    kept: Mutex<Vec<Connection>>,
    projection: OnceLock<Identity>,
}

impl Database {
    pub(super) fn new<T>(mut config: Config, schema: &str, tls: T) -> Result<Self, ViewError>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let names = Names::of(schema)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(NETWORK);
        }
        if config.get_application_name().is_none() {
            config.application_name(&format!("holm view {schema}"));
        }
        Ok(Self {
            place: place_of(&config),
            connect: Box::new(move || config.connect(tls.clone())),
            names,
            readers: Arc::new(Semaphore::new(READERS)),
            kept: Mutex::default(),
            projection: OnceLock::new(),
        })
    }

    /// From now on what is written is of this projection.
    pub(super) fn belongs_to(&self, projection: Identity) {
        _ = self.projection.set(projection);
    }

    /// The version of who writes here; none before it has adopted the view.
    pub(super) fn version(&self) -> Option<u32> {
        self.projection.get().map(|projection| projection.version)
    }

    /// Runs `work` in a transaction that is committed when it goes well. Where the way is lost while that is done, whether it is in the view is not known; who tries it
    /// again finds the position moved or not.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        self.with(|client| {
            let begun = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
            let mut tx = begun.read_only(false).start()?;
            let result = work(&mut tx)?;
            tx.commit()?;
            Ok(result)
        })
    }

    /// A transaction of ours alone, which is on the disk when this returns, whatever the configuration says.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, ViewError> {
        let changed = self.transact(|tx| {
            tx.batch_execute("SET LOCAL synchronous_commit = on")?;
            work(tx)
        });
        changed.map_err(of_the_view)
    }

    /// Reads our tables, all of one moment.
    pub(super) fn look<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, ViewError> {
        let looked = self.with(|client| {
            let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
            work(&mut begun.read_only(true).start()?)
        });
        looked.map_err(of_the_view)
    }

    /// Runs `work` on a connection that nobody else uses meanwhile.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Client) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let kept = self.kept.lock().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open()?,
        };
        let result = work(connection.client());
        let mut kept = self.kept.lock();
        if connection.client().is_closed() {
            // What ended one connection has most likely ended all of them.
            kept.clear();
        } else if kept.len() < KEPT {
            kept.push(connection);
        }
        result
    }

    fn open(&self) -> Result<Connection, ViewError> {
        let place = &self.place;
        let open = || -> Result<(Client, bool), Error> {
            let mut client = (self.connect)()?;
            // What comes behind a transaction that a handler ended writes nothing.
            client.batch_execute("SET default_transaction_read_only = on")?;
            client.batch_execute(LIMITS)?;
            let follows = client.query_one("SELECT pg_is_in_recovery()", &[])?.get(0);
            Ok((client, follows))
        };
        match open() {
            Ok((client, false)) => Ok(Connection(Some(client))),
            Ok((client, true)) => {
                drop(Connection(Some(client)));
                let reason = format!("{place} is a copy that takes no writes");
                Err(ViewError::Passing { reason })
            }
            Err(error) => {
                let reason = format!("{place}: {}", said(&error));
                Err(match is_passing(&error) {
                    true => ViewError::Passing { reason },
                    false => ViewError::Broken { reason },
                })
            }
        }
    }
}

/// One connection. Its end waits for the network on a runtime of its own, which is not allowed on the threads of another one: so it gets a thread.
struct Connection(Option<Client>);

impl Connection {
    fn client(&mut self) -> &mut Client {
        self.0.as_mut().expect("taken by drop alone")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = self.0.take();
        let end = std::thread::Builder::new().name("holm-view-end".to_owned());
        if let Err(error) = end.spawn(move || drop(client)) {
            tracing::warn!(%error, "a connection was not ended in order");
        }
    }
}

/// What went wrong with a change in which no handler has a part.
fn of_the_view(error: WriteError) -> ViewError {
    match error {
        WriteError::View(error) => error,
        other => ViewError::Broken { reason: other.to_string() },
    }
}

/// As it is named where something is wrong. Without the password.
fn place_of(config: &Config) -> String {
    let mut place = String::from("PostgreSQL at ");
    for (number, host) in config.get_hosts().iter().enumerate() {
        let port = config.get_ports().get(number).or(config.get_ports().first());
        let port = port.copied().unwrap_or(5432);
        let comma = if number == 0 { "" } else { ", " };
        // Writing to a text does not fail.
        _ = match host {
            Host::Tcp(name) => write!(place, "{comma}{name}:{port}"),
            Host::Unix(path) => write!(place, "{comma}{} port {port}", path.display()),
        };
    }
    let user = config.get_user().unwrap_or("of this process");
    let database = config.get_dbname().unwrap_or(user);
    _ = write!(place, ", database {database}, user {user}");
    place
}
