//! Commands that came together go to their shard together.
//!
//! A command that is handed over alone wakes the arbiter, which often takes the processor at once, handles it, and sleeps again: with sixty-four commands in one read of
//! a connection the two threads change places sixty-four times. Handed over in one piece they are handled in one turn, and their records share a batch.

use std::cell::RefCell;
use std::sync::Arc;

use holm_core::{AskError, Limit, ShardId};

use super::{ShardHost, stopping};
use crate::shell::actor::Deliver;
use crate::shell::intake::NotTaken;

thread_local! {
    /// What is held until the end of [`together`]; none outside of it.
    static HELD: RefCell<Option<Vec<Group>>> = const { RefCell::new(None) };
}

/// Commands for one shard of one host, in the order in which they were submitted.
struct Group {
    host: ShardHost,
    shard: ShardId,
    commands: Vec<Deliver>,
}

/// Runs `work`; what it submits to shard hosts on this thread, they get at its end, shard by shard, also when it panics. Within another one it does nothing of its own.
///
/// The order of commands for one shard stays. Whoever waits in `work` for an answer waits for ever, so it must not block.
pub fn together<R>(work: impl FnOnce() -> R) -> R {
    let begun = HELD.with_borrow_mut(|held| match held {
        Some(_) => false,
        None => {
            *held = Some(Vec::new());
            true
        }
    });
    let _handing_over = begun.then_some(HandingOver);
    work()
}

/// Whether this is inside of [`together`]. Looked at for each command, and nearly always false.
pub(super) fn is_together() -> bool {
    HELD.with_borrow(Option::is_some)
}

struct HandingOver;

impl Drop for HandingOver {
    fn drop(&mut self) {
        for Group { host, shard, commands } in HELD.take().into_iter().flatten() {
            host.deliver_all(shard, commands);
        }
    }
}

impl ShardHost {
    /// Holds a command until all that came together with it are there.
    pub(super) fn hold(&self, shard: ShardId, command: Deliver) {
        HELD.with_borrow_mut(|held| {
            let groups = held.get_or_insert_default();
            let is_it =
                |group: &&mut Group| group.shard == shard && Arc::ptr_eq(&group.host.0, &self.0);
            match groups.iter_mut().find(is_it) {
                Some(group) => group.commands.push(command),
                None => {
                    groups.push(Group { host: self.clone(), shard, commands: vec![command] });
                }
            }
        });
    }

    fn deliver_all(&self, shard: ShardId, commands: Vec<Deliver>) {
        match self.seat(shard).intake.put_all(commands) {
            Ok(()) => {}
            Err(NotTaken::Full(commands)) => self.refuse(shard, commands),
            Err(NotTaken::Closed(commands)) => {
                for Deliver { reply, .. } in commands {
                    reply.answer(Err(stopping(shard)));
                }
            }
        }
    }

    /// The mailbox is full.
    pub(super) fn refuse(&self, shard: ShardId, commands: impl IntoIterator<Item = Deliver>) {
        let seat = self.seat(shard);
        for Deliver { reply, .. } in commands {
            seat.board.overflowed();
            let allowed = self.0.options.limits.mailbox_capacity as u64;
            let limit = Limit::MailboxCapacity;
            reply.answer(Err(AskError::Overloaded { limit, allowed }));
        }
    }
}
