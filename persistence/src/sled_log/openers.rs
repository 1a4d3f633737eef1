//! The threads that open shards: they wait for the disk, so that nobody else has to.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use futures::channel::oneshot;
use holm_core::{ShardId, Term};

use super::{Shard, Shared, TERM_RECORD, term_record};
use crate::shard_log::{OpenError, Opened};
use crate::store::{LogId, Op, StoreError};

/// Shards that are opened at the same time: their terms share an fsync, and their indexes catch up while the disk is busy with others.
const OPENERS: usize = 4;

/// One shard to open. Each has a term above every earlier one, so few of them wait.
pub(super) struct Opening {
    pub(super) shard: ShardId,
    pub(super) term: Term,
    pub(super) answer: oneshot::Sender<Result<Opened, OpenError>>,
}

/// The threads end when this is dropped; dropping waits for them, so that the store can be opened again at once.
pub(super) struct Openers {
    sender: Option<mpsc::Sender<Opening>>,
    threads: Vec<JoinHandle<()>>,
}

impl Openers {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let dir = shared.store.dir().to_owned();
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(OPENERS);
        for number in 0..OPENERS {
            let (shared, receiver) = (Arc::clone(shared), Arc::clone(&receiver));
            let name = format!("holm-opener-{number}");
            let started = thread::Builder::new().name(name).spawn(move || run(&shared, &receiver));
            threads.push(started.map_err(|error| StoreError::Io {
                dir: dir.clone(),
                during: "starting a thread",
                reason: error.to_string(),
            })?);
        }
        Ok(Self { sender: Some(sender), threads })
    }

    pub(super) fn open(&self, opening: Opening) {
        // When the threads are gone the answer is dropped, and its receiver says that the log was closed.
        if let Some(sender) = &self.sender {
            let _ = sender.send(opening);
        }
    }
}

impl Drop for Openers {
    fn drop(&mut self) {
        drop(self.sender.take());
        for thread in self.threads.drain(..) {
            if thread.thread().id() != thread::current().id() {
                // It returns nothing to look at.
                let _ = thread.join();
            }
        }
    }
}

fn run(shared: &Shared, receiver: &Mutex<mpsc::Receiver<Opening>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Opening { shard, term, answer }) = next else { return };
        let opened = open(shared, shard, term);
        // A caller that went away needs no answer; the shard is open at its term all the same.
        let _ = answer.send(opened);
    }
}

/// Makes the term durable, which comes behind everything appended under older ones, then catches up.
fn open(shared: &Shared, id: ShardId, term: Term) -> Result<Opened, OpenError> {
    let failed = |reason: String| OpenError::Log { shard: id, reason };
    shared.store.reopen().map_err(|error| failed(error.to_string()))?;
    let shard = shared.shard(id).map_err(|error| failed(error.to_string()))?;
    let queued = put_term(shared, shard, term)?;
    let durable = queued
        .recv()
        .unwrap_or_else(|_| Err(StoreError::Closed { dir: shared.store.dir().to_owned() }));
    durable.map_err(|error| failed(error.to_string()))?;
    let mut tail = shard.tail();
    tail.load(&shared.store).map_err(|error| failed(error.to_string()))?;
    let last = tail.durable();
    drop(tail);
    let mut writing = shard.writing();
    writing.gate.complete_open(term, last)?;
    writing.next_entry = shared.store.last_index(LogId::from(id)).unwrap_or(0) + 1;
    Ok(Opened { last })
}

/// Queues the term, unless a newer one was asked for meanwhile: the record must never go back.
fn put_term(
    shared: &Shared,
    shard: &Shard,
    term: Term,
) -> Result<mpsc::Receiver<Result<(), StoreError>>, OpenError> {
    let writing = shard.writing();
    let newest = writing.gate.term();
    if newest != term {
        return Err(OpenError::Fenced { shard: shard.id, term, newest });
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let log = LogId::from(shard.id);
    let put = Op::PutRecord { log, name: TERM_RECORD, value: term_record(term) };
    let done = Box::new(move |result| {
        let _ = sender.send(result);
    });
    shared.store.commit(vec![put], done);
    drop(writing);
    Ok(receiver)
}
