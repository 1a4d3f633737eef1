//! Reads that saw only durable state: they may be answered once the log confirms that the term still held after they were executed (promise G5).

use super::pipeline::Parked;
use super::ports::ConfirmToken;

/// Places of an empty list that are kept.
const KEPT: usize = 256;

/// The reads that wait for a confirmation. One confirmation covers all reads executed before it was asked for.
#[derive(Debug)]
pub(super) struct Confirmations<T> {
    gathering: Vec<Parked<T>>,
    asked: Vec<Parked<T>>,
    token: Option<ConfirmToken>,
    last: u64,
}

impl<T> Confirmations<T> {
    pub(super) fn new() -> Self {
        Self { gathering: Vec::new(), asked: Vec::new(), token: None, last: 0 }
    }

    #[inline]
    pub(super) fn add(&mut self, read: Parked<T>) {
        self.gathering.push(read);
    }

    /// True when reads wait and no confirmation is on its way.
    pub(super) fn is_unasked(&self) -> bool {
        self.token.is_none() && !self.gathering.is_empty()
    }

    /// Asks for a confirmation when reads wait and none is on its way.
    pub(super) fn ask(&mut self) -> Option<ConfirmToken> {
        if !self.is_unasked() {
            return None;
        }
        std::mem::swap(&mut self.gathering, &mut self.asked);
        self.last += 1;
        self.token = Some(ConfirmToken(self.last));
        self.token
    }

    /// The reads that this confirmation answers.
    pub(super) fn answered(&mut self, token: ConfirmToken) -> Vec<Parked<T>> {
        if self.token != Some(token) {
            return Vec::new();
        }
        self.token = None;
        std::mem::take(&mut self.asked)
    }

    /// Takes a list back that was emptied, so that the next reads need none.
    pub(super) fn use_again(&mut self, emptied: Vec<Parked<T>>) {
        if emptied.is_empty() && emptied.capacity() <= KEPT && self.asked.capacity() == 0 {
            self.asked = emptied;
        }
    }

    /// Every waiting read; nothing waits afterwards.
    pub(super) fn abandon(&mut self) -> Vec<Parked<T>> {
        self.token = None;
        self.asked.drain(..).chain(self.gathering.drain(..)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.gathering.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len() + self.gathering.len()
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Parked<T>> {
        self.asked.iter_mut().chain(self.gathering.iter_mut())
    }
}
