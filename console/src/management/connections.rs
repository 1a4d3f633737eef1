//! The connections: accepted up to a limit, each with a time limit for the head of a request, and closed in good order at the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::options::HttpLimits;

/// What a connection over the limit gets: short enough to be written without waiting.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\ncontent-length: 238\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"type\":\"urn:holm:problem:overloaded\",\"title\":\"overloaded\",\"status\":503,\
    \"detail\":\"every connection of the management HTTP is taken\",\"kind\":\"back_off\",\"outcome\":\"not_applied\",\
    \"try\":\"close idle connections, or wait a second\",\"served_by\":\"\"}";

/// After an error of `accept` that is not about one connection, as when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stopped` says so, then waits for the running requests.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    limits: HttpLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = wait_for_stop(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let (app, limits, stopped) = (app.clone(), limits.clone(), stopped.clone());
                connections.spawn(async move {
                    serve(stream, app, &limits, stopped).await;
                    drop(place);
                });
            }
            Err(_) => refuse(stream).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(
    stream: TcpStream,
    app: Router,
    limits: &HttpLimits,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = wait_for_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the management HTTP ended early");
    }
}

/// Writes at once or not at all: who is over the limit must not take our time.
async fn refuse(mut stream: TcpStream) {
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
