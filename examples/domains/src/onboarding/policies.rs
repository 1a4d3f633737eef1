//! The policies that make a flow of the services: two beside a process manager, or four instead of one.

use std::time::Duration;

use holm::{Policy, Then};

use super::{
    AddressCheck, AddressEvent, Admit, CheckAddress, CheckCredit, CreditCheck, CreditEvent,
    Customer, CustomerEvent, ForgetAddress, Found, Onboarding, RecordCheck, RecordEvent,
    ReleaseCredit, RequestRecord, Start, TurnDown,
};

/// Whoever applies is onboarded by a process manager; the services know nothing of it. `within`: how long an onboarding may take.
#[must_use]
pub fn orchestration(within: Duration) -> [Policy; 2] {
    [
        Policy::whenever::<Customer>("onboarding-start", move |event, fact, then| match event {
            CustomerEvent::Applied { application } => {
                then.send::<Onboarding, _>(fact.address().id(), Start { application, within })
            }
            _ => then,
        }),
        // The office answers when it does, so it cannot be the answer to a command.
        Policy::whenever::<RecordCheck>("onboarding-found", |event, fact, then| match event {
            RecordEvent::Clean {} | RecordEvent::Tainted {} => {
                let clean = event == RecordEvent::Clean {};
                then.send::<Onboarding, _>(fact.address().id(), Found { clean })
            }
            _ => then,
        }),
    ]
}

/// Each check follows from the event of the one before, and so does the way back: nobody has the whole. `within`: how long the office has.
#[must_use]
pub fn choreography(within: Duration) -> [Policy; 4] {
    [
        Policy::whenever::<Customer>("applied", |event, fact, then| match event {
            CustomerEvent::Applied { application } => {
                then.send::<CreditCheck, _>(fact.address().id(), CheckCredit { application })
            }
            _ => then,
        }),
        Policy::whenever::<CreditCheck>("credit-checked", |event, fact, then| {
            let id = fact.address().id();
            match event {
                CreditEvent::Reserved { application } => {
                    then.send::<AddressCheck, _>(id, CheckAddress { application })
                }
                CreditEvent::Refused { reason } => {
                    then.send::<Customer, _>(id, TurnDown { reason })
                }
                CreditEvent::Released {} => then,
            }
        }),
        Policy::whenever::<AddressCheck>("address-checked", move |event, fact, then| {
            let (id, within) = (fact.address().id(), Some(within));
            match event {
                AddressEvent::Confirmed { application } => {
                    then.send::<RecordCheck, _>(id, RequestRecord { application, within })
                }
                AddressEvent::NotFound { reason } => then
                    .send::<Customer, _>(id, TurnDown { reason })
                    .send::<CreditCheck, _>(id, ReleaseCredit {}),
                // On the way back, what was done before the address is next.
                AddressEvent::Forgotten {} => then.send::<CreditCheck, _>(id, ReleaseCredit {}),
            }
        }),
        Policy::whenever::<RecordCheck>("record-checked", |event, fact, then| {
            let id = fact.address().id();
            let turn_down = |then: Then, reason: &str| {
                let reason = reason.to_owned();
                then.send::<Customer, _>(id, TurnDown { reason })
                    .send::<AddressCheck, _>(id, ForgetAddress {})
            };
            match event {
                RecordEvent::Clean {} => then.send::<Customer, _>(id, Admit {}),
                RecordEvent::Tainted {} => turn_down(then, "there is a criminal record"),
                RecordEvent::Lapsed {} => turn_down(then, "the office did not answer"),
                RecordEvent::Requested { .. } | RecordEvent::Dropped {} => then,
            }
        }),
    ]
}
