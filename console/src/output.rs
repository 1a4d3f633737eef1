//! How the program speaks: results on stdout, everything else on stderr, colour and redrawing only where somebody looks.

mod failure;
mod time;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

pub use failure::{Exit, Failure};
pub use time::{clock_of_day, rfc3339, short_age};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` or `CI` says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a line is about; each mark has a symbol, an ASCII form and a colour, so that colour is never alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Done, up, held.
    Good,
    /// Failed, down, not held.
    Bad,
    /// Look here.
    Warning,
    /// Something moves on.
    Step,
}

/// How the program speaks in this run.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    ascii: bool,
    color: bool,
}

impl Output {
    /// Decides from flags, environment and terminal.
    #[must_use]
    pub fn new(json: bool, ascii: bool, color: Color) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_set("CI")
            }
        };
        Self { json, ascii: ascii || !locale_is_utf8(), color }
    }

    /// True when the result is to be JSON and nothing else goes to stdout.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// True when only ASCII may be printed.
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// True when a line may be redrawn in place.
    #[must_use]
    pub fn may_redraw(&self) -> bool {
        io::stdout().is_terminal() && std::env::var_os("CI").is_none() && !self.json
    }

    /// A mark in its colour.
    #[must_use]
    pub fn mark(&self, mark: Mark) -> String {
        let (symbol, ascii, color) = match mark {
            Mark::Good => ("✓", "ok", AnsiColor::Green),
            Mark::Bad => ("✕", "x", AnsiColor::Red),
            Mark::Warning => ("▲", "!", AnsiColor::Yellow),
            Mark::Step => ("→", "->", AnsiColor::Cyan),
        };
        self.paint(
            Style::new().fg_color(Some(color.into())),
            if self.ascii { ascii } else { symbol },
        )
    }

    /// Text that stands out.
    #[must_use]
    pub fn strong(&self, text: impl Display) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// Text that stands back.
    #[must_use]
    pub fn faint(&self, text: impl Display) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    fn paint(&self, style: Style, text: impl Display) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// One line of the result.
    pub fn line(&self, text: impl Display) {
        // A closed pipe (`| head`) is no failure of ours.
        let _ = self.is_read(text);
    }

    /// The same, for what has no end of its own: false when nobody reads any more.
    pub fn is_read(&self, text: impl Display) -> bool {
        writeln!(io::stdout(), "{text}").is_ok()
    }

    /// One JSON document on one line of the result.
    pub fn document(&self, document: &impl Serialize) {
        match serde_json::to_string(document) {
            Ok(text) => self.line(text),
            Err(error) => self.progress(format_args!("error: the result is no JSON: {error}")),
        }
    }

    /// One line about what goes on; never part of the result.
    pub fn progress(&self, text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says why the verb failed: what, why, next. With `--json` as one document on stderr.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let text = serde_json::to_string(failure).unwrap_or_else(|_| failure.to_string());
            self.progress(text);
        } else {
            let error =
                self.paint(Style::new().bold().fg_color(Some(AnsiColor::Red.into())), "error:");
            self.progress(failure.rendered(&error));
        }
    }
}

/// By the rule of POSIX: the first of the three that is set decides. Nothing set means a bare environment, which today is UTF-8.
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_none_or(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}
