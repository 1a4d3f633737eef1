//! The doors of the fuzz targets into this crate: what comes over HTTP, the files that somebody hands in, and what other processes answer.
//!
//! Compiled for tests and for fuzzing only.

use holm::bus::CloudEvent;

use crate::api_client::stream::events_of;
use crate::bench::fuzzing::{saved, saved_seeds};
use crate::dev::control::{Request, Response};
use crate::ledger::{Acknowledged, Entry, Told};
use crate::state_file::RunningCluster;
use crate::views::{FlowDocument, HistoryDocument, ProblemDocument, RecordsDocument, Served};

pub use crate::import::fuzzing::{import, import_seeds};
pub use crate::management::fuzzing::{http_body, http_body_seeds, request, request_seeds};

/// What the first byte of an input says that the rest is.
mod kind {
    pub(super) const LEDGER: u8 = 0;
    pub(super) const RUN: u8 = 1;
    pub(super) const STREAM: u8 = 2;
    pub(super) const SUPERVISOR: u8 = 3;
    pub(super) const ANSWER: u8 = 4;
    pub(super) const COUNT: u8 = 5;
}

/// A line of a ledger, a saved run, a stream of events, what a supervisor hears and writes, or the answer of a node.
pub fn documents(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    match kind % kind::COUNT {
        kind::LEDGER => {
            if let Ok(entry) = serde_json::from_slice::<Entry>(bytes) {
                let again = serde_json::to_vec(&entry).expect("what was read can be written");
                let again: Entry = serde_json::from_slice(&again).expect("and read again");
                assert_eq!(again, entry);
            }
        }
        kind::RUN => saved(bytes),
        kind::STREAM => {
            let Some((&piece, stream)) = bytes.split_first() else { return };
            let events = events_of(stream, usize::from(piece));
            assert_eq!(events_of(stream, stream.len()), events, "however it is cut");
            for event in events {
                _ = serde_json::from_str::<CloudEvent>(&event.data);
            }
        }
        kind::SUPERVISOR => {
            _ = serde_json::from_slice::<Request>(bytes);
            _ = serde_json::from_slice::<Response>(bytes);
            _ = serde_json::from_slice::<RunningCluster>(bytes);
        }
        _ => {
            _ = serde_json::from_slice::<ProblemDocument>(bytes);
            _ = serde_json::from_slice::<Served<HistoryDocument>>(bytes);
            _ = serde_json::from_slice::<Served<RecordsDocument>>(bytes);
            _ = serde_json::from_slice::<Served<FlowDocument>>(bytes);
        }
    }
}

/// Seeds of [`documents`].
#[must_use]
pub fn documents_seeds() -> Vec<Vec<u8>> {
    let (balance, replayed, served_by) = (Some(4), true, "holm-1".to_owned());
    let place = Acknowledged { seq: 1, shard: 2, offset: 3, balance, replayed, served_by };
    let entry = |told| Entry {
        entity: "account/a".to_owned(),
        command: "deposit".to_owned(),
        key: "k1".to_owned(),
        amount: 1,
        sent_us: 1,
        at_us: 2,
        told,
    };
    let told = [Told::Accepted(place), Told::Unknown { error: "lost".to_owned() }];
    let ledger = told.map(|told| serde_json::to_vec(&entry(told)).expect("an entry"));
    let stream =
        ": alive\n\nevent: fact\nid: 0:1\ndata: {\"a\":\ndata: 1}\n\r\nevent: error\ndata: no\n\n";
    let problem = serde_json::to_vec(&ProblemDocument::default()).expect("a document");
    let mut seeds = vec![
        (kind::STREAM, [&[7], stream.as_bytes()].concat()),
        (kind::SUPERVISOR, br#"{"ask":"kill","node":"holm-1","graceful":true}"#.to_vec()),
        (kind::SUPERVISOR, br#"{"answer":"refused","reason":"no"}"#.to_vec()),
        (kind::ANSWER, problem),
    ];
    seeds.extend(ledger.map(|line| (kind::LEDGER, line)));
    seeds.extend(saved_seeds().into_iter().map(|run| (kind::RUN, run)));
    seeds.into_iter().map(|(kind, body)| [&[kind], &body[..]].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Door = (fn(&[u8]), fn() -> Vec<Vec<u8>>);

    /// Every seed and every beginning of it goes through its door.
    #[test]
    fn seeds_and_their_beginnings_pass() {
        let doors: [Door; 4] = [
            (http_body, http_body_seeds),
            (request, request_seeds),
            (documents, documents_seeds),
            (import, import_seeds),
        ];
        for (door, seeds) in doors {
            for seed in seeds() {
                (0..=seed.len()).for_each(|end| door(&seed[..end]));
            }
        }
    }
}
