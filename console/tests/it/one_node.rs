//! One node with the demo domains in this process, with its management HTTP on a port that the system picked.

use std::time::Duration;

use holm::{Holm, ShardState};
use holm_console::management::{self, HttpOptions, HttpServer};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct OneNode {
    pub(crate) holm: Holm,
    server: HttpServer,
    http: Client,
    _dir: TempDir,
}

impl OneNode {
    pub(crate) async fn start() -> Self {
        Self::with(HttpOptions::default()).await
    }

    pub(crate) async fn with(options: HttpOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = Holm::builder().data_dir(dir.path()).shards(4).arbiters(1);
        let holm = holm_domains::register(builder).start().await.unwrap();
        // A shard shows that it leads with its first tick, a moment after it does.
        while !holm.view().shards.iter().all(|shard| shard.state == ShardState::Serving) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let options = HttpOptions { bind: ([127, 0, 0, 1], 0).into(), ..options };
        let server = management::serve(holm.clone(), options).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { holm, server, http, _dir: dir }
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    pub(crate) fn server(&self) -> &HttpServer {
        &self.server
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url()))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url()))
    }

    /// A command with a JSON body, as in `account/alice/deposit`.
    pub(crate) fn command(&self, target: &str, body: &Value) -> RequestBuilder {
        let (entity, command) = target.rsplit_once('/').unwrap();
        self.post(&format!("/api/v1/entities/{entity}/commands/{command}")).json(body)
    }

    pub(crate) async fn stop(self) {
        self.holm.shutdown().await;
        self.server.shutdown(Duration::from_secs(5)).await;
    }
}

/// Status and body; its media type is checked on the way.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    read(request.send().await.unwrap()).await
}

pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let media_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    // By this type a client tells an error of Holm's from what an entity said.
    let name = body["type"].as_str().unwrap_or_default();
    let is_problem = name.starts_with("urn:holm:problem:");
    assert_eq!(media_type == "application/problem+json", is_problem, "{media_type}: {body}");
    (status, body)
}
