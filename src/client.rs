//! A process that hosts nothing: a load generator, a command line, a service that only asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Limits, SeededEntropy, SystemClock};
use holm_runtime::{Caller, Entity, Registry};
use holm_sharding::{Client, ClientOptions, Secret};

use crate::builder::NAMESPACE;
use crate::handle::{Holm, Parts, Role};
use crate::start_error::StartError;

/// Builds a client. Made by [`Holm::client`].
#[must_use = "a builder does nothing until it is connected"]
pub struct ClientBuilder {
    registry: Registry,
    options: ClientOptions,
    ask_timeout: Duration,
    event_namespace: String,
}

impl ClientBuilder {
    pub(crate) fn new(cluster: String, seeds: Vec<SocketAddr>) -> Self {
        Self {
            registry: Registry::new(),
            options: ClientOptions::new(cluster, seeds),
            ask_timeout: Limits::default().ask_timeout,
            event_namespace: NAMESPACE.to_owned(),
        }
    }

    /// Knows entities of type `E` by name, for JSON. Typed references work without it.
    pub fn entity<E: Entity>(mut self) -> Self {
        self.registry = self.registry.entity::<E>();
        self
    }

    /// The client's name, for the logs of the nodes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// The cluster's secret.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.options.secret = Some(Secret::new(secret.into()));
        self
    }

    /// What the types of events begin with where they leave this process as CloudEvents, as [`crate::Builder::event_namespace`].
    pub fn event_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.event_namespace = namespace.into();
        self
    }

    /// How long a command waits that names no deadline.
    pub fn ask_timeout(mut self, timeout: Duration) -> Self {
        self.ask_timeout = timeout;
        self
    }

    /// Connects to the first seed that answers. The client runs on the tokio runtime that this is called on.
    ///
    /// # Errors
    /// [`StartError::Client`] says what was tried.
    pub async fn connect(self) -> Result<Holm, StartError> {
        let name = self.options.name.clone();
        let client = Client::connect(self.options).await?;
        let router = Arc::new(client.router().clone());
        let shards = u32::try_from(client.view().shards.len()).unwrap_or(u32::MAX).max(1);
        let caller = Caller::new(
            Arc::clone(&router) as _,
            Arc::new(SystemClock),
            self.ask_timeout,
            SeededEntropy::from_os(),
        );
        Ok(Holm(Arc::new(Parts {
            name,
            shards,
            registry: self.registry.with_system_types(),
            event_namespace: self.event_namespace,
            caller,
            inspector: router,
            policies: None,
            role: Role::Client(client),
        })))
    }
}
