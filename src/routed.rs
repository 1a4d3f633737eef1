//! The router in the seams of the runtime.

use holm_core::{
    Answer, AskError, CommandEnvelope, EntityAddress, Offset, SequenceNumber, ShardId,
};
use holm_persistence::Pending;
use holm_runtime::{Asker, HistoryPage, Inspector};
use holm_sharding::Router;

pub(crate) struct Routed(pub(crate) Router);

impl Asker for Routed {
    fn ask(&self, envelope: CommandEnvelope) -> Pending<Result<Answer, AskError>> {
        self.0.ask(envelope)
    }
}

impl Inspector for Routed {
    fn history(
        &self,
        _: EntityAddress,
        _: SequenceNumber,
        _: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        unimplemented!()
    }
    fn batches(
        &self,
        _: ShardId,
        _: Offset,
        _: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        unimplemented!()
    }
}
