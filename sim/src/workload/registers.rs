//! Commands to registers, and what the workload believes to stand in them. Pure.

use std::time::Duration;

use super::{Ask, Kind, Mix, Workload};
use crate::register::{
    Burst, Fill, Look, Poison, PoisonAt, Register, Shout, Swap, Write, WriteAndRest,
};

/// A command's name and a variant before the bytes; enough for the longest length prefix.
const LENGTH_PREFIX_BYTES: usize = 5;

/// Most values of one burst.
const MOST_IN_BURST: u64 = 12;

/// What the workload believes. It is wrong whenever another client was faster, which is the point of a swap.
#[derive(Debug)]
pub(super) struct Registers {
    believed: Vec<u64>,
    /// The next value that nobody wrote yet. Zero is what stands there at first.
    next: u64,
}

impl Registers {
    pub(super) fn new(mix: &Mix) -> Self {
        Self { believed: vec![0; mix.hot + mix.cold], next: 1 }
    }

    /// Values that nobody else writes, `count` in a row; the first of them.
    fn values(&mut self, count: u64) -> u64 {
        let first = self.next;
        self.next += count.max(1);
        first
    }

    fn write(&mut self, register: usize, value: u64) -> u64 {
        std::mem::replace(&mut self.believed[register], value)
    }
}

/// A command to a register, of this kind.
pub(super) fn ask(workload: &mut Workload, kind: Kind) -> Ask {
    let register = workload.id();
    let id = format!("r{register}");
    match kind {
        Kind::Look => workload.fresh::<Register, _>(kind, &id, &Look {}, true),
        Kind::Swap => {
            let value = workload.registers.values(1);
            let expected = workload.registers.write(register, value);
            workload.fresh::<Register, _>(kind, &id, &Swap { expected, value }, false)
        }
        Kind::Refusal => {
            let value = workload.registers.values(1);
            // Nobody writes this one.
            let swap = Swap { expected: u64::MAX - 1, value };
            workload.fresh::<Register, _>(kind, &id, &swap, false)
        }
        Kind::Burst => {
            let count = 2 + workload.entropy_below(MOST_IN_BURST - 1);
            let first = workload.registers.values(count);
            workload.registers.write(register, first + count - 1);
            let count = u8::try_from(count).expect("a short burst");
            workload.fresh::<Register, _>(kind, &id, &Burst { first, count }, false)
        }
        Kind::Nothing => {
            workload.fresh::<Register, _>(kind, &id, &Burst { first: 0, count: 0 }, false)
        }
        Kind::Fill => {
            let bytes = 100 + workload.below(8_000);
            workload.fresh::<Register, _>(kind, &id, &Fill { bytes: vec![b'.'; bytes] }, false)
        }
        Kind::NearLimit => fill_to(workload, kind, &id, 0),
        Kind::TooLong => fill_to(workload, kind, &id, 1),
        Kind::LongReply => {
            let value = workload.registers.values(1);
            let reply_bytes = u32::try_from(workload.limits.reply_bytes + 1).unwrap_or(u32::MAX);
            workload.fresh::<Register, _>(kind, &id, &Shout { value, reply_bytes }, false)
        }
        Kind::Rest => {
            let value = workload.registers.values(1);
            workload.registers.write(register, value);
            workload.fresh::<Register, _>(kind, &id, &WriteAndRest { value }, false)
        }
        Kind::Poison => {
            let at = [PoisonAt::Handle, PoisonAt::Apply, PoisonAt::Reply][workload.below(3)];
            workload.fresh::<Register, _>(kind, &id, &Poison { at }, false)
        }
        Kind::Stranger => {
            let ask = workload.fresh::<Register, _>(kind, &id, &Look {}, false);
            Ask { command: "lok", ..ask }
        }
        Kind::Hurry => {
            let ask = write(workload, kind, register);
            Ask { patience: Duration::from_millis(workload.entropy_below(15)), ..ask }
        }
        _ => write(workload, Kind::Write, register),
    }
}

fn write(workload: &mut Workload, kind: Kind, register: usize) -> Ask {
    let value = workload.registers.values(1);
    workload.registers.write(register, value);
    workload.fresh::<Register, _>(kind, &format!("r{register}"), &Write { value }, false)
}

/// A command of exactly the longest length, or so many bytes beyond.
fn fill_to(workload: &mut Workload, kind: Kind, id: &str, beyond: usize) -> Ask {
    let wanted = workload.limits.command_bytes + beyond;
    let fill = |bytes: usize| Fill { bytes: vec![b'.'; bytes] };
    let shortest = wanted.saturating_sub(LENGTH_PREFIX_BYTES);
    let mut ask = workload.fresh::<Register, _>(kind, id, &fill(shortest), false);
    // A length prefix takes 1, 3 or 5 bytes; what it leaves is filled up.
    let missing = wanted.saturating_sub(ask.payload.len());
    if missing > 0 {
        ask.payload = holm_persistence::encode(&fill(shortest + missing)).expect("as before");
    }
    ask
}
