//! Every type that a peer may send is walked through; types that would be bombs are found.

use std::collections::BTreeMap;

use bytes::Bytes;
use holm_core::{CommandEnvelope, CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::{Record, StoredReaction};
use holm_runtime::{ConversationPage, HistoryPage};
use serde::Deserialize;

use super::*;
use crate::cluster_log::Fact;
use crate::raft::{Applied, Membership};
use crate::view::ClusterView;
use crate::wire::{BatchesAnswer, CommandAnswer, ConversationAnswer, HistoryAnswer, TailAnswer};

macro_rules! walked {
    ($($type:ty),* $(,)?) => {
        [$((stringify!($type), walk::<$type>())),*]
    };
}

/// What is decoded from a peer: the vocabulary, the facts of the cluster log, and the records inside batches. What only nodes
/// say to each other is walked through where it is private.
#[test]
fn no_type_on_the_wire_is_a_bomb() {
    let walked = walked![
        CommandEnvelope,
        (EntityAddress, SequenceNumber, u32),
        (ShardId, Offset, u32),
        (ShardId, Option<Offset>),
        (ShardId, CorrelationId, Offset, u32),
        CommandAnswer,
        HistoryAnswer,
        HistoryPage,
        BatchesAnswer,
        TailAnswer,
        ConversationAnswer,
        ConversationPage,
        ClusterView,
        Record<'static>,
        Vec<StoredReaction<'static>>,
        Fact,
        Applied,
        Membership,
    ];
    for (name, ways) in walked {
        assert!(ways.as_ref().is_ok_and(|ways| *ways > 0), "{name}: {ways:?}");
    }
    assert!(walk::<CommandAnswer>().unwrap() > 10, "every error is walked through");
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the walk looks at its type only")]
enum Tree {
    Leaf(u8),
    Node(Vec<Tree>),
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the walk looks at its type only")]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Debug, Deserialize)]
struct Nothing;

/// Promise G9: the walk finds what it is there for, wherever it hides.
#[test]
fn bombs_are_found() {
    let recursive = Err(Bomb("it is recursive".to_owned()));
    assert_eq!(walk::<Tree>(), recursive);
    assert_eq!(walk::<Chain>(), recursive);
    assert_eq!(walk::<(u8, BTreeMap<u8, Tree>)>(), recursive);
    for found in [
        walk::<Vec<()>>(),
        walk::<Vec<Nothing>>(),
        walk::<Option<(u8, Vec<((), Nothing)>)>>(),
        walk::<Result<Vec<[u8; 0]>, u8>>(),
    ] {
        let error = found.unwrap_err();
        assert!(error.to_string().contains("take no bytes"), "{error}");
    }
    assert_eq!(walk::<Vec<Vec<Bytes>>>(), Ok(1));
    assert_eq!(walk::<(Option<u8>, Result<(), bool>)>(), Ok(2), "every variant is one way");
}
