//! Reading a stream of facts: the lines of server-sent events, as <https://html.spec.whatwg.org/multipage/server-sent-events.html> has them.

use std::time::Duration;

use reqwest::Method;

use super::{ApiClient, ClientError};

/// A stream has no end of its own. This only bounds what a forgotten program costs.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Bytes of one event. A fact has at most a MiB of events, which JSON makes a few times as long.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What to follow; see `GET /api/v1/stream`.
#[derive(Debug, Clone, Default)]
pub struct StreamWish {
    /// Pairs for the query.
    pub query: Vec<(&'static str, String)>,
    /// The id of the last event that was seen.
    pub last_id: Option<String>,
}

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// `fact` or `error`.
    pub event: String,
    /// Where to go on after it.
    pub id: String,
    /// A document, or what went wrong.
    pub data: String,
}

/// A stream under way.
#[derive(Debug)]
pub struct FactStream {
    response: reqwest::Response,
    url: String,
    parser: Parser,
}

impl ApiClient {
    /// Begins to follow.
    ///
    /// # Errors
    /// As [`ApiClient::version`].
    pub async fn stream(&self, wish: &StreamWish) -> Result<FactStream, ClientError> {
        let mut request = self.request(Method::GET, &["api", "v1", "stream"])?.query(&wish.query);
        if let Some(id) = &wish.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response =
            request.timeout(LONGEST).send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
            return Err(self.problem(status, &bytes));
        }
        let url = self.base().to_owned();
        Ok(FactStream { response, url, parser: Parser::default() })
    }
}

impl FactStream {
    /// The next event; none when the node ended the stream.
    ///
    /// # Errors
    /// When the connection broke, or what comes is no stream of events.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let chunk = self.response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| ClientError::lost(&self.url, &error))? else {
                return Ok(None);
            };
            self.parser
                .feed(&chunk)
                .map_err(|reason| ClientError::Unreadable { url: self.url.clone(), reason })?;
        }
    }
}

/// Puts lines together to events.
#[derive(Debug, Default)]
struct Parser {
    unread: Vec<u8>,
    event: StreamEvent,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.unread.len() + self.event.data.len() + bytes.len() > MOST_BYTES {
            return Err(format!("an event of more than {MOST_BYTES} bytes"));
        }
        self.unread.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<StreamEvent> {
        let mut begin = 0;
        let mut whole = None;
        while let Some(length) = self.unread[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.unread[begin..begin + length]).into_owned();
            begin += length + 1;
            if let Some(event) = self.take(line.trim_end_matches('\r')) {
                whole = Some(event);
                break;
            }
        }
        self.unread.drain(..begin);
        whole
    }

    /// Takes one line; an empty one ends an event.
    fn take(&mut self, line: &str) -> Option<StreamEvent> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() && !self.event.data.is_empty() => {
                return Some(std::mem::take(&mut self.event));
            }
            "event" => value.clone_into(&mut self.event.event),
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments, which keep the connection alive, and what nobody here asks for.
            _ => {}
        }
        None
    }
}

/// A stream as a node sends it, cut into pieces of so many bytes. For the fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn events_of(stream: &[u8], piece: usize) -> Vec<StreamEvent> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        if parser.feed(bytes).is_err() {
            break;
        }
        events.extend(std::iter::from_fn(|| parser.next()));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": alive\n\nevent: fact\nid: 0:1\ndata: {\"a\":\ndata: 1}\n\r\nevent: error\ndata: no\n\n";
        for cut in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                parser.feed(piece).unwrap();
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            let told: Vec<_> = events.iter().map(|it| (&*it.event, &*it.id, &*it.data)).collect();
            assert_eq!(told, [("fact", "0:1", "{\"a\":\n1}"), ("error", "", "no")], "cut at {cut}");
        }
    }

    /// Promise G9: a stream cannot make its reader use up the memory.
    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        parser.feed(&vec![b'x'; MOST_BYTES]).unwrap();
        assert!(parser.feed(b"x").is_err());
    }
}
