//! Commands to relics: mostly harmless, now and then a curse. Pure.

use super::{Ask, Kind, Workload};
use crate::relic::{Count, Curse, Lay, Relic};

/// How many there are: some are cursed early, some late, some never.
const RELICS: usize = 24;

/// One in so many commands is a curse.
const CURSED: u64 = 12;

pub(super) fn ask(workload: &mut Workload) -> Ask {
    let id = format!("t{}", workload.below(RELICS));
    if workload.chance(1, CURSED) {
        return workload.fresh::<Relic, _>(Kind::Relic, &id, &Curse {}, false);
    }
    if workload.chance(1, 3) {
        return workload.fresh::<Relic, _>(Kind::Relic, &id, &Count {}, true);
    }
    workload.fresh::<Relic, _>(Kind::Relic, &id, &Lay {}, false)
}
