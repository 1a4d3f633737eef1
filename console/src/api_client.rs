//! A client of the management HTTP of one node: typed documents in, typed errors out.
//!
//! It asks one node and retries nothing; who knows several nodes (`holm import`, the load generator) decides what to do about an error
//! with [`ClientError::is_retryable`]. The same idempotency key makes the next try safe.

mod any_node;
mod error;
mod failures;
pub(crate) mod stream;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use any_node::AnyNode;
pub use error::ClientError;
pub use stream::{FactStream, StreamEvent, StreamWish};

use crate::views::{
    ClusterDocument, EntityDocument, EntityTypesDocument, FlowDocument, FlowsDocument,
    HistoryDocument, MemberDocument, MembersDocument, Place, PositionDocument, ProblemDocument,
    ProjectionDocument, ProjectionsDocument, RecordsDocument, RejectionDocument, ReplyDocument,
    Served, ShardsDocument, VersionDocument,
};

/// Time for the connection to stand. The nodes are near: a local cluster or one network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a whole answer when the caller names none: above the 5 s that a node waits for an entity, so that its own verdict arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// How the client introduces itself and how long it waits.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// The bearer token, where the node wants one.
    pub token: Option<String>,
    /// Time for a whole answer.
    pub timeout: Option<Duration>,
}

/// What may come along with a command.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The idempotency key; without one the node draws one, and a retry after a lost answer is then not safe.
    pub key: Option<String>,
    /// The conversation that the command belongs to, a UUID.
    pub correlation: Option<String>,
    /// How long the node waits for the entity.
    pub timeout: Option<Duration>,
}

/// What an entity said to a command.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The reply, or the typed rejection.
    pub verdict: Result<Value, Value>,
    /// What a rejection says to a person; empty for a reply.
    pub message: String,
    /// Where in history it stands.
    pub place: Place,
}

/// A client of one node. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct ApiClient {
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
}

impl ApiClient {
    /// A client of the node at `base`, as in `http://127.0.0.1:7070`. Nothing is sent yet.
    ///
    /// # Errors
    /// When `base` is no `http` URL.
    pub fn new(base: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let invalid = |reason: String| ClientError::InvalidUrl { url: base.to_owned(), reason };
        let parsed = Url::parse(base).map_err(|error| invalid(error.to_string()))?;
        if parsed.scheme() != "http" || parsed.host_str().is_none() {
            return Err(invalid("it must begin with http:// and name a host".to_owned()));
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(options.timeout.unwrap_or(ANSWER_TIMEOUT))
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self { base: parsed, http, token: options.token })
    }

    /// The URL of the node without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Who the node is.
    ///
    /// # Errors
    /// When no node answers or it answers with a problem; the same holds for every method below.
    pub async fn version(&self) -> Result<VersionDocument, ClientError> {
        self.get(&["version"], &[]).await
    }

    /// True when the node says that it is ready for traffic.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn ready(&self) -> Result<bool, ClientError> {
        let request = self.request(Method::GET, &["readyz"])?;
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        Ok(response.status().is_success())
    }

    /// Members and shards.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn cluster(&self) -> Result<Served<ClusterDocument>, ClientError> {
        self.get(&["api", "v1", "cluster"], &[]).await
    }

    /// The members.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn members(&self) -> Result<Served<MembersDocument>, ClientError> {
        self.get(&["api", "v1", "members"], &[]).await
    }

    /// Asks a member to leave the cluster for good, with hand-off.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn leave(&self, member: u64) -> Result<Served<MemberDocument>, ClientError> {
        let target = format!("{member}:leave");
        let request = self.request(Method::POST, &["api", "v1", "members", &target])?;
        self.read(request.json(&serde_json::json!({}))).await
    }

    /// The registered entity types.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn entity_types(&self) -> Result<Served<EntityTypesDocument>, ClientError> {
        self.get(&["api", "v1", "entity-types"], &[]).await
    }

    /// The shards.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn shards(&self) -> Result<Served<ShardsDocument>, ClientError> {
        self.get(&["api", "v1", "shards"], &[]).await
    }

    /// The state of one entity, now or as of a sequence number.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn state(
        &self,
        entity_type: &str,
        id: &str,
        at_seq: Option<u64>,
    ) -> Result<Served<EntityDocument>, ClientError> {
        let query: Vec<_> = at_seq.map(|seq| ("at_seq", seq)).into_iter().collect();
        self.get(&["api", "v1", "entities", entity_type, id, "state"], &query).await
    }

    /// One page of an entity's events, oldest first.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn history(
        &self,
        entity_type: &str,
        id: &str,
        after: u64,
        limit: u64,
    ) -> Result<Served<HistoryDocument>, ClientError> {
        let path = ["api", "v1", "entities", entity_type, id, "history"];
        self.get(&path, &[("after", after), ("limit", limit)]).await
    }

    /// One page of the records of a shard, in offset order.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn events(
        &self,
        shard: u32,
        after: u64,
        limit: u64,
    ) -> Result<Served<RecordsDocument>, ClientError> {
        let query = [("shard", u64::from(shard)), ("after", after), ("limit", limit)];
        self.get(&["api", "v1", "events"], &query).await
    }

    /// Everything that a conversation led to. Searching everything may take minutes: `timeout` is the time that the node takes, and the client must be
    /// more patient than that.
    ///
    /// # Errors
    /// As [`ApiClient::version`]; also when no record of it is found.
    pub async fn flow(
        &self,
        correlation: &str,
        everything: bool,
        timeout: Duration,
    ) -> Result<Served<FlowDocument>, ClientError> {
        let request = self.request(Method::GET, &["api", "v1", "flows", correlation])?;
        let timeout_ms = timeout.as_millis().to_string();
        let query = [("everything", everything.to_string()), ("timeout_ms", timeout_ms)];
        self.read(request.query(&query)).await
    }

    /// The newest conversations, of one type of entities or of all.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn flows(
        &self,
        entity_type: Option<&str>,
        limit: usize,
    ) -> Result<Served<FlowsDocument>, ClientError> {
        let request = self.request(Method::GET, &["api", "v1", "flows"])?;
        let request = request.query(&[("limit", limit)]);
        let query = entity_type.map(|entity_type| ("entity_type", entity_type));
        self.read(request.query(query.as_slice())).await
    }

    /// The projections of all nodes; who of them did not answer is in `partial`.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn projections(&self) -> Result<Served<ProjectionsDocument>, ClientError> {
        self.get(&["api", "v1", "projections"], &[]).await
    }

    /// Those of this node alone, where `positions` with the place of each in each shard.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn own_projections(
        &self,
        positions: bool,
    ) -> Result<Served<ProjectionsDocument>, ClientError> {
        let request = self.request(Method::GET, &["api", "v1", "projections"])?;
        self.read(request.query(&[("positions", positions), ("local", true)])).await
    }

    /// Those of all nodes, with the place of each in each shard.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn projection_positions(&self) -> Result<Served<ProjectionsDocument>, ClientError> {
        let request = self.request(Method::GET, &["api", "v1", "projections"])?;
        self.read(request.query(&[("positions", true)])).await
    }

    /// Tells a shared projection where to stand.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn set_projection_position(
        &self,
        name: &str,
        position: &PositionDocument,
    ) -> Result<Served<ProjectionDocument>, ClientError> {
        let target = format!("{name}:set-position");
        let request = self.request(Method::POST, &["api", "v1", "projections", &target])?;
        self.read(request.json(position)).await
    }

    /// Tells a projection of the node to `pause`, `resume` or `rebuild`.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn act_on_projection(
        &self,
        name: &str,
        verb: &str,
    ) -> Result<Served<ProjectionDocument>, ClientError> {
        let target = format!("{name}:{verb}");
        let request = self.request(Method::POST, &["api", "v1", "projections", &target])?;
        self.read(request.json(&serde_json::json!({}))).await
    }

    /// Sends a command and waits for what the entity says.
    ///
    /// # Errors
    /// As [`ApiClient::version`]. A rejection by the entity is no error.
    pub async fn send(
        &self,
        entity_type: &str,
        id: &str,
        command: &str,
        body: &Value,
        options: &SendOptions,
    ) -> Result<Sent, ClientError> {
        let path = ["api", "v1", "entities", entity_type, id, "commands", command];
        let mut request = self.request(Method::POST, &path)?.json(body);
        if let Some(key) = &options.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(correlation) = &options.correlation {
            request = request.header("X-Correlation-Id", correlation);
        }
        if let Some(timeout) = options.timeout {
            request = request
                .query(&[("timeout_ms", timeout.as_millis().to_string())])
                .timeout(timeout + CONNECT_TIMEOUT);
        }
        let (status, is_problem, bytes) = self.exchange(request).await?;
        match (status, is_problem) {
            (200, _) => {
                let document: ReplyDocument = self.parse(&bytes)?;
                Ok(Sent {
                    verdict: Ok(document.reply),
                    message: String::new(),
                    place: document.place,
                })
            }
            (422, false) => {
                let document: RejectionDocument = self.parse(&bytes)?;
                Ok(Sent {
                    verdict: Err(document.rejection),
                    message: document.message,
                    place: document.place,
                })
            }
            _ => Err(self.problem(status, &bytes)),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, u64)],
    ) -> Result<T, ClientError> {
        self.read(self.request(Method::GET, path)?.query(query)).await
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let (status, _, bytes) = self.exchange(request).await?;
        if !matches!(status, 200 | 202) {
            return Err(self.problem(status, &bytes));
        }
        self.parse(&bytes)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        // A URL drops the segments `.` and `..`, so an entity with such an id would silently become another request.
        if path.iter().any(|segment| *segment == "." || *segment == "..") {
            return Err(ClientError::InvalidUrl {
                url: url.to_string(),
                reason: "`.` and `..` cannot be named in a URL".to_owned(),
            });
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Ok(request)
    }

    /// Status, whether the body is a problem document, and the body.
    async fn exchange(&self, request: RequestBuilder) -> Result<(u16, bool, Vec<u8>), ClientError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let is_problem = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/problem+json"));
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, is_problem, bytes.to_vec()))
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|error| ClientError::Unreadable {
            url: self.base().to_owned(),
            reason: error.to_string(),
        })
    }

    fn problem(&self, status: u16, bytes: &[u8]) -> ClientError {
        let problem = serde_json::from_slice(bytes).unwrap_or_else(|_| ProblemDocument {
            status,
            title: format!("HTTP status {status}"),
            detail: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
            ..ProblemDocument::default()
        });
        ClientError::Problem(Box::new(problem))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::lost(self.base(), error)
    }
}
