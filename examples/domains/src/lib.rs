//! The demo domains: small models of real things, each a folder of small files, meant to be read and copied.
//!
//! - [`bank`]: accounts with money in whole cents. Rules that refuse, and how a refusal is typed. Transfers between accounts: a process with deadline and
//!   compensation.
//! - [`seats`]: the seat map of a show. One seat, one holder, whoever asks first.
//! - [`flights`]: airports that count departures and arrivals. Facts from outside, summed up.
//! - [`onboarding`]: whoever applies is checked three times before being a customer; the same flow by a process manager and by policies alone. The demo
//!   nodes do not host it, its examples do.
//!
//! Each folder but the last has the same files: `events` (what can happen), `rejection` (why a command is refused), `commands` (what can be asked), and the
//! entity itself with its handlers. The views beside them, for questions about many entities at once, are started by [`views`].

pub mod bank;
pub mod flights;
pub mod onboarding;
pub mod seats;
pub mod views;

use holm::Builder;

/// A demo domain by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Domain {
    /// Its name, as in `holm dev --domain bank`.
    pub name: &'static str,
    /// The entity type it brings.
    pub entity_type: &'static str,
    /// What it models.
    pub about: &'static str,
}

/// Every demo domain.
pub const DOMAINS: [Domain; 3] = [
    Domain { name: "bank", entity_type: "account", about: "accounts with money in whole cents" },
    Domain { name: "seats", entity_type: "show", about: "seat maps: one seat, one holder" },
    Domain { name: "flights", entity_type: "airport", about: "airports that count their flights" },
];

/// The domain with this name.
#[must_use]
pub fn named(name: &str) -> Option<Domain> {
    DOMAINS.into_iter().find(|domain| domain.name == name)
}

/// Lets a node host the entities of all demo domains.
pub fn register(builder: Builder) -> Builder {
    builder
        .entity::<bank::Account>()
        .entity::<bank::Transfer>()
        .entity::<seats::Show>()
        .entity::<flights::Airport>()
}

#[cfg(test)]
mod tests {
    use holm::Entity;

    use super::*;

    #[test]
    fn every_domain_is_found_by_its_name() {
        let types = [bank::Account::TYPE, seats::Show::TYPE, flights::Airport::TYPE];
        for (domain, entity_type) in DOMAINS.into_iter().zip(types) {
            assert_eq!(named(domain.name), Some(domain));
            assert_eq!(domain.entity_type, entity_type);
        }
        assert_eq!(named("cart"), None);
    }
}
