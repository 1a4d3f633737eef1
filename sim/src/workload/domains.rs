//! Commands to the demo domains, as people would send them: mostly sensible, often too late. Pure.

use holm_domains::bank::{Account, Balance, Close, Deposit, Open, Withdraw};
use holm_domains::flights::{Airport, Arrive, Depart, Totals};
use holm_domains::seats::{Choose, Map, Release, Show};

use super::{Ask, Kind, Workload};

/// People who want seats, and seats that they want.
const PEOPLE: usize = 4;
const SEATS: usize = 6;

/// A command to an account. Most are open soon; some are closed, and nobody tells the others.
pub(super) fn bank(workload: &mut Workload) -> Ask {
    let id = format!("a{}", workload.id());
    let amount = workload.entropy_below(100);
    match workload.below(16) {
        0..=2 => {
            let open = Open { owner: format!("owner-{}", workload.below(PEOPLE)) };
            workload.fresh::<Account, _>(Kind::Bank, &id, &open, false)
        }
        // A deposit of nothing is refused.
        3..=8 => workload.fresh::<Account, _>(Kind::Bank, &id, &Deposit { amount }, false),
        9..=12 => workload.fresh::<Account, _>(Kind::Bank, &id, &Withdraw { amount }, false),
        13 => workload.fresh::<Account, _>(Kind::Bank, &id, &Close {}, false),
        _ => workload.fresh::<Account, _>(Kind::Bank, &id, &Balance {}, true),
    }
}

/// A command to a show.
pub(super) fn seats(workload: &mut Workload) -> Ask {
    let id = format!("s{}", workload.id());
    let seat = format!("A{}", workload.below(SEATS));
    let holder = format!("person-{}", workload.below(PEOPLE));
    match workload.below(8) {
        0..=4 => workload.fresh::<Show, _>(Kind::Seats, &id, &Choose { seat, holder }, false),
        5 | 6 => workload.fresh::<Show, _>(Kind::Seats, &id, &Release { seat, holder }, false),
        _ => workload.fresh::<Show, _>(Kind::Seats, &id, &Map {}, true),
    }
}

/// A command to an airport.
pub(super) fn flights(workload: &mut Workload) -> Ask {
    let id = format!("p{}", workload.id());
    let other = format!("p{}", workload.id());
    let at = "2026-11-25T12:00".to_owned();
    let delay = i32::try_from(workload.entropy_below(120)).expect("small") - 20;
    let distance = u32::try_from(workload.entropy_below(5_000)).expect("small");
    match workload.below(4) {
        0 => {
            let depart = Depart { at, delay, distance, to: other };
            workload.fresh::<Airport, _>(Kind::Flights, &id, &depart, false)
        }
        1 | 2 => {
            let arrive = Arrive { at, delay, distance, from: other };
            workload.fresh::<Airport, _>(Kind::Flights, &id, &arrive, false)
        }
        _ => workload.fresh::<Airport, _>(Kind::Flights, &id, &Totals {}, true),
    }
}
