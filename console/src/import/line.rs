//! The lines of the file: each one command, or a bad line with its number and the reason.

use std::fmt;
use std::io::{BufRead, Read as _};

use holm::{EntityAddress, IdempotencyKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest line. A body has at most 256 KiB; the rest is for names and white space.
const MAX_LINE_BYTES: u64 = 512 * 1024;

/// One command as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandLine {
    #[serde(rename = "type")]
    pub(super) entity_type: String,
    pub(super) id: String,
    pub(super) command: String,
    #[serde(default = "no_fields")]
    pub(super) body: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

/// A command with the number of its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) line: u64,
    pub(super) command: CommandLine,
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

fn no_fields() -> Value {
    Value::Object(serde_json::Map::new())
}

/// Reads commands line by line; empty lines are passed over.
pub(super) struct Lines<R> {
    reader: R,
    line: u64,
    is_broken: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn of(reader: R) -> Self {
        Self { reader, line: 0, is_broken: false }
    }

    /// The next line without its end; `None` at the end of the file.
    fn next_line(&mut self) -> Option<Result<Vec<u8>, String>> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        match read {
            Ok(0) => None,
            Ok(_) if line.ends_with(b"\n") => Some(Ok(line)),
            Ok(read) if read as u64 == MAX_LINE_BYTES => {
                let skipped = self.reader.skip_until(b'\n');
                self.is_broken = skipped.is_err();
                Some(Err(format!("it is longer than {MAX_LINE_BYTES} bytes{}", hint(&line))))
            }
            Ok(_) => Some(Ok(line)),
            Err(error) => {
                self.is_broken = true;
                Some(Err(format!("the file cannot be read on: {error}")))
            }
        }
    }
}

/// What a line is rather than a command.
fn hint(line: &[u8]) -> &'static str {
    if line.trim_ascii_start().starts_with(b"[") {
        "; it begins a JSON array: flights go in with --flights, commands are one object a line"
    } else {
        ""
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Order, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.is_broken {
                return None;
            }
            let text = self.next_line()?;
            self.line += 1;
            let line = self.line;
            let command = match text {
                Ok(text) if text.trim_ascii().is_empty() => continue,
                Ok(text) => parse(&text),
                Err(reason) => Err(reason),
            };
            return Some(match command {
                Ok(command) => Ok(Order { line, command }),
                Err(reason) => Err(BadLine { line, reason }),
            });
        }
    }
}

/// A command whose address and key a node would take.
fn parse(text: &[u8]) -> Result<CommandLine, String> {
    let command: CommandLine =
        serde_json::from_slice(text).map_err(|error| format!("{error}{}", hint(text)))?;
    EntityAddress::new(command.entity_type.as_str(), command.id.as_str())
        .map_err(|error| error.to_string())?;
    if let Some(key) = &command.key {
        IdempotencyKey::new(key).map_err(|error| error.to_string())?;
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Order, BadLine>> {
        Lines::of(text.as_bytes()).collect()
    }

    #[test]
    fn lines_are_read_with_their_numbers() {
        let good = r#"{"type":"account","id":"a","command":"open","body":{"owner":"x"},"key":"k"}"#;
        let orders = read(&format!("{good}\n\n{good}"));
        let numbers: Vec<_> = orders.into_iter().map(|order| order.unwrap().line).collect();
        assert_eq!(numbers, [1, 3]);
    }

    #[test]
    fn bad_lines_are_named_and_passed_over() {
        let good = r#"{"type":"account","id":"a","command":"balance"}"#;
        let long = "x".repeat(MAX_LINE_BYTES as usize + 9);
        let bad_type = r#"{"type":"Account","id":"a","command":"balance"}"#;
        let bad_key = r#"{"type":"account","id":"a","command":"balance","key":"a b"}"#;
        let orders = read(&format!("{{\n{long}\n{bad_type}\n{bad_key}\n{good}\n"));
        let bad: Vec<_> = orders.iter().filter_map(|order| order.as_ref().err()).collect();
        let numbers: Vec<_> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert!(bad[1].reason.contains("longer than"), "{}", bad[1]);
        assert!(!bad[1].reason.contains("--flights"), "{}", bad[1]);
        assert_eq!(orders[4].as_ref().unwrap().command.body, no_fields());
        for array in [format!("[{long}"), "[]".to_owned()] {
            let orders = read(&array);
            let bad = orders[0].as_ref().unwrap_err();
            assert!(bad.reason.contains("--flights"), "{bad}");
        }
    }
}
