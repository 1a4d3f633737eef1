//! Which failures are meant.

use std::str::FromStr;

use super::books::FailureRow;
use crate::failure::{FailureKind, Subject};

/// Which failures are meant: by the kind, the entity type, or the beginning of an address. As text: `panicked`, `account`, `account/al`, or
/// several of them with spaces between; `all` is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureFilter {
    kind: Option<FailureKind>,
    entity_type: Option<Box<str>>,
    prefix: Option<Box<str>>,
}

/// A text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` says again what another word of the filter says; write a kind, an entity type, or the beginning of type/id"
)]
pub struct MalformedFilter {
    /// The word that does not fit.
    pub word: Box<str>,
}

impl FailureFilter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only failures of this kind.
    #[must_use]
    pub fn kind(mut self, kind: FailureKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only failures of entities of this type.
    #[must_use]
    pub fn entity_type(mut self, name: impl Into<Box<str>>) -> Self {
        self.entity_type = Some(name.into());
        self
    }

    /// Only failures of entities whose address, as in `account/alice`, begins so.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Whether a failure is meant.
    #[must_use]
    pub fn wants(&self, row: &FailureRow) -> bool {
        self.means(&row.subject, row.kind)
    }

    /// Whether failures of this kind are meant that this subject has.
    #[must_use]
    pub fn means(&self, subject: &Subject, kind: FailureKind) -> bool {
        let address = match subject {
            Subject::Entity(address) => Some(address),
            _ => None,
        };
        let of_type = self
            .entity_type
            .as_ref()
            .is_none_or(|name| address.is_some_and(|address| address.entity_type() == &**name));
        let begins = self.prefix.as_ref().is_none_or(|prefix| {
            address.is_some_and(|address| address.to_string().starts_with(&**prefix))
        });
        self.kind.is_none_or(|meant| meant == kind) && of_type && begins
    }
}

impl FromStr for FailureFilter {
    type Err = MalformedFilter;

    fn from_str(text: &str) -> Result<Self, MalformedFilter> {
        let mut filter = Self::all();
        for word in text.split_whitespace().filter(|word| *word != "all") {
            let kind = FailureKind::ALL.into_iter().find(|kind| kind.name() == word);
            let taken = match kind {
                Some(kind) => filter.kind.replace(kind).is_some(),
                None if word.contains('/') => filter.prefix.replace(word.into()).is_some(),
                None => filter.entity_type.replace(word.into()).is_some(),
            };
            if taken {
                return Err(MalformedFilter { word: word.into() });
            }
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureFact;
    use crate::failures::books::Books;
    use holm_core::{FailureId, Timestamp};

    #[test]
    fn a_filter_means_what_its_words_say() {
        let subject = Subject::Entity("account/alice".parse().unwrap());
        let fact = FailureFact::new(FailureId(1), FailureKind::Panicked, subject, Timestamp::EPOCH);
        let mut books = Books::default();
        books.failed(fact);
        let row = books.rows().next().unwrap().1;
        let wants = |text: &str| text.parse::<FailureFilter>().unwrap().wants(row);
        for text in ["", "all", "panicked", "account", "account/al", "account panicked"] {
            assert!(wants(text), "{text}");
        }
        for text in ["slow_handler", "seat", "account/bob", "account slow_handler"] {
            assert!(!wants(text), "{text}");
        }
        assert!("account seat".parse::<FailureFilter>().is_err());
    }
}
