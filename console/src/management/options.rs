//! Where the management HTTP listens, who may use it, and its limits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How the management HTTP is served.
#[derive(Clone)]
pub struct HttpOptions {
    /// Where to listen. Port 0 lets the system pick one.
    pub bind: SocketAddr,
    /// What a request must carry as `Authorization: Bearer …`; needed on every address that other machines can reach.
    pub token: Option<String>,
    /// Names besides loopback and the bound address that `Host` may carry, as in `holm.internal`.
    pub hosts: Vec<String>,
    /// The limits.
    pub limits: HttpLimits,
    /// Renders what `/metrics` shows in the text format of Prometheus. The library installs no recorder; a program that has one says so here.
    pub metrics: Option<MetricsText>,
}

/// Renders all metrics of the process.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070),
            token: None,
            hosts: Vec::new(),
            limits: HttpLimits::default(),
            metrics: None,
        }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret and stays out of every log.
        f.debug_struct("HttpOptions")
            .field("bind", &self.bind)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("hosts", &self.hosts)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The limits of the management HTTP, each with its default and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of one request body: a command has at most 256 KiB.
    pub body_bytes: usize,
    /// Connections at once. The next one gets the place of the client that has asked for nothing for longest, a second at least; where there is none, 503. Each costs a
    /// task and two buffers, about 20 KiB.
    pub connections: usize,
    /// Time for the head of a request; also the time that an idle connection is kept.
    pub head_timeout: Duration,
    /// Time for the whole body of a request.
    pub body_timeout: Duration,
    /// Time in which a client must take at least one byte of what is written to it, an answer or a stream; else its connection is closed.
    pub write_stall: Duration,
    /// The longest time that a caller may let a command wait.
    pub longest_wait: Duration,
    /// Rows of one page.
    pub page_rows: usize,
    /// Records that are replayed to show a state; an entity with more is not shown this way.
    pub replayed_records: usize,
    /// States that are replayed at once; the next one gets 503.
    pub concurrent_replays: usize,
    /// Searches for flows at once; the next one gets 503. Each reads the logs of the whole cluster and holds 2 MiB of them, and 16 MiB of what it
    /// found.
    pub concurrent_searches: usize,
    /// The longest time that a caller may let a search take.
    pub longest_search: Duration,
    /// Orders over failures that are under way at once; the next one gets 503. Each acts on sixteen entities at a time.
    pub concurrent_operations: usize,
    /// The longest time that such an order may take; what it did not come to is left.
    pub longest_operation: Duration,
    /// Streams of facts at once; the next one gets 503. Each holds a page of 64 KiB for each shard at most.
    pub concurrent_streams: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            connections: 1_024,
            // Long enough that a client's pool of idle connections is of use between two commands of a person.
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            // A machine that wakes up or changes its network is back within that; nobody who reads is so slow.
            write_stall: Duration::from_secs(30),
            longest_wait: Duration::from_secs(60),
            page_rows: 1_000,
            // About 200 bytes each: 40 MiB.
            replayed_records: 200_000,
            concurrent_replays: 4,
            concurrent_searches: 2,
            longest_search: Duration::from_secs(600),
            concurrent_operations: 4,
            // Thousands of entities take seconds. Only shards that nobody leads make it long, and another order will find them as they are.
            longest_operation: Duration::from_secs(600),
            concurrent_streams: 32,
        }
    }
}

/// Why the management HTTP is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Other machines can reach the address and there is no token.
    #[error(
        "{bind} can be reached from other machines, so the management HTTP needs a token there; set HOLM_HTTP__TOKEN or bind a loopback address"
    )]
    TokenMissing {
        /// The address.
        bind: SocketAddr,
    },
    /// The token is too short to be a secret.
    #[error("the token of the management HTTP has {bytes} bytes, it needs at least {needed}")]
    TokenWeak {
        /// Its length.
        bytes: usize,
        /// The shortest token.
        needed: usize,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {bind}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The shortest token: 16 random characters of base 64 are 96 bits.
pub(super) const SHORTEST_TOKEN_BYTES: usize = 16;

impl HttpOptions {
    /// Checks what must hold before anything listens.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        match &self.token {
            None if !self.bind.ip().is_loopback() => {
                Err(ServeError::TokenMissing { bind: self.bind })
            }
            Some(token) if token.len() < SHORTEST_TOKEN_BYTES => {
                Err(ServeError::TokenWeak { bytes: token.len(), needed: SHORTEST_TOKEN_BYTES })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_address_needs_a_token() {
        let open = HttpOptions { bind: ([0, 0, 0, 0], 0).into(), ..HttpOptions::default() };
        assert!(matches!(open.check(), Err(ServeError::TokenMissing { .. })));
        let short = HttpOptions { token: Some("secret".into()), ..open.clone() };
        assert!(matches!(short.check(), Err(ServeError::TokenWeak { bytes: 6, .. })));
        let long = HttpOptions { token: Some("0123456789abcdef".into()), ..open };
        assert!(long.check().is_ok());
        assert!(!format!("{long:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn loopback_needs_none() {
        assert!(HttpOptions::default().check().is_ok());
    }
}
