//! The connections: accepted while there are places, each with time limits for the head of a request and for taking the answers, and closed in good order at
//! the end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::places::{Answering, Place, Places};
use super::server::Serving;
use super::socket::{Conduct, Socket};

/// What a connection over the limit gets: short enough to be written without waiting.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\ncontent-length: 252\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"type\":\"urn:holm:problem:overloaded\",\"title\":\"overloaded\",\"status\":503,\
    \"detail\":\"every connection of the management HTTP is taken\",\"kind\":\"back_off\",\"outcome\":\"not_applied\",\
    \"try\":\"wait a second, after which quiet connections make room\",\"served_by\":\"\"}";

/// After an error of `accept` that is not about one connection, as when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stopped` says so, then waits for the running requests.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    serving: Arc<Serving>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Places::new(serving.options.limits.connections);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = wait_for_stop(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let socket = Socket::new(stream, serving.options.limits.write_stall);
        match places.take(socket.conduct()).await {
            Some(place) => {
                let (app, serving) = (app.clone(), Arc::clone(&serving));
                let stopped = stopped.clone();
                connections.spawn(async move {
                    serve(socket, peer, app, &serving, place, stopped).await;
                });
            }
            None => {
                serving.refusals.tell(peer, "overloaded", "every connection is taken");
                refuse(socket).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(
    socket: Socket,
    peer: SocketAddr,
    app: Router,
    serving: &Serving,
    place: Place,
    mut stopped: watch::Receiver<bool>,
) {
    let conduct = socket.conduct();
    let app = TowerToHyperService::new(app);
    let from_peer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let in_hand = place.begin();
        let answer = app.call(request);
        async move {
            Ok::<_, Infallible>(answer.await?.map(|body| Body::new(Answering::new(body, in_hand))))
        }
    });
    let ended = {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(serving.options.limits.head_timeout)
            .serve_connection(TokioIo::new(socket), from_peer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // First: a request that has come is in hand before anybody asks whether the client is quiet.
            biased;
            ended = connection.as_mut() => ended,
            () = wait_for_stop(&mut stopped) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = place.asked_back() => {
                if place.is_quiet() {
                    serving.refusals.tell(peer, "idle", "it had no request in hand, and its place was needed");
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let Err(error) = ended else { return };
    match reason(&error, &conduct) {
        Some((reason, detail)) => serving.refusals.tell(peer, reason, detail),
        None => tracing::debug!(%peer, %error, "a connection of the management HTTP ended early"),
    }
}

/// Why a connection had to be ended, and what the client did; none when it went away by itself, or had nothing more to say.
fn reason(error: &hyper::Error, conduct: &Conduct) -> Option<(&'static str, &'static str)> {
    if conduct.is_deaf() {
        return Some(("deaf", "it does not read its answers"));
    }
    if error.is_timeout() && conduct.spoke() {
        return Some(("slow-head", "the head of its request did not end in time"));
    }
    if error.is_parse_too_large() {
        return Some(("long-head", "the head of its request is too long"));
    }
    error.is_parse().then_some(("no-http", "what it says is no HTTP"))
}

/// Writes at once or not at all: who is over the limit must not take our time.
async fn refuse(mut stream: Socket) {
    let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(FULL)).await;
    let _ = stream.shutdown().await;
}

async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server handle is gone without a shutdown: then nobody asked us to stop.
    if stopped.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn pause_after(error: &io::Error) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_one_connection {
        tracing::warn!(%error, "the management HTTP cannot take a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_its_length() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<crate::views::ProblemDocument>(body).is_ok());
    }
}
