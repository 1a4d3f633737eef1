//! The names of the schemas of a view. They are made of letters that need no escaping, and are quoted because a word of SQL may be among them.

use crate::view::ViewError;

/// Bytes of a schema's name. PostgreSQL cuts names at 63 without a word, and ours are longer by `_holm` or `_` and a number.
const LONGEST: usize = 40;

/// What the schema `balances` is called, and those beside it.
#[derive(Debug)]
pub(super) struct Names {
    present: String,
    ours: String,
}

impl Names {
    pub(super) fn of(schema: &str) -> Result<Self, ViewError> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        let is_name = begins && schema.bytes().all(word) && !schema.starts_with("pg_");
        if !is_name || schema.len() > LONGEST {
            let reason = format!(
                "`{schema}` is no name for the schema of a view: 1 to {LONGEST} of a-z, 0-9 and _, not a digit or `pg_` first"
            );
            return Err(ViewError::Broken { reason });
        }
        Ok(Self { present: schema.to_owned(), ours: format!("\"{schema}_holm\"") })
    }

    /// Where readers look, without quotes.
    pub(super) fn present(&self) -> &str {
        &self.present
    }

    /// The same as it stands in a statement.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.present)
    }

    /// Where our tables are, as it stands in a statement.
    pub(super) fn ours(&self) -> &str {
        &self.ours
    }

    /// Where a view is that is not the present one, as it stands in a statement.
    pub(super) fn numbered(&self, number: i64) -> String {
        format!("\"{}_{number}\"", self.present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["", "1a", "a-b", "Big", "pg_x", "a\"; DROP", "ä", &"x".repeat(41)] {
            let refused = Names::of(name).unwrap_err();
            assert!(refused.to_string().contains("is no name"), "{name}");
        }
        let names = Names::of("order").unwrap();
        assert_eq!((names.quoted().as_str(), names.ours()), ("\"order\"", "\"order_holm\""));
        assert_eq!(names.numbered(2), "\"order_2\"");
    }
}
