//! `--report`: some runs as one page that needs nothing but a browser. No script, no font, no picture from elsewhere, and it says so to the browser.
//!
//! Pure: from documents to text. Everything that stands in a document is escaped, because a saved run is a file of somebody.

mod curves;
mod plot;
mod tables;

use super::document::BenchDocument;
use plot::Plot;

/// A run and what it is called on the page.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) document: BenchDocument,
}

const STYLE: &str = include_str!("report/style.css");

/// The whole page.
pub(super) fn page(runs: &[Run]) -> String {
    let documents: Vec<_> = runs.iter().map(|run| &run.document).collect();
    let plots = curves::plots(&documents);
    let drawn: Vec<_> =
        plots.iter().filter(|plot| plot.says_something()).map(Plot::figure).collect();
    let plots = if drawn.is_empty() {
        "<p>No plot: a line needs several rates, as in <code>holm bench --rate 10k,20k,40k</code>, or several runs, as in <code>holm bench --report page.html --from one.json --from other.json</code>.</p>\n".to_owned()
    } else {
        drawn.concat()
    };
    let sections: String =
        runs.iter().map(|run| tables::section(&run.name, &run.document)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>holm bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>holm bench</h1>\n{plots}{sections}</body>\n</html>\n"
    )
}

/// Each plot that says something as a picture of its own, with the name of its file.
pub(super) fn pictures(runs: &[Run]) -> Vec<(String, String)> {
    let documents: Vec<_> = runs.iter().map(|run| &run.document).collect();
    let plots = curves::plots(&documents).into_iter().filter(Plot::says_something);
    plots.map(|plot| (format!("{}.svg", plot.file), plot.picture(STYLE))).collect()
}

/// Text that means nothing to a browser.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::idle::IdleCluster;
    use crate::bench::processes::ProcessUse;
    use crate::bench::{BenchDocument, StepFigures};

    const HOSTILE: &str = "</td><script>alert('x')</script>&\"";

    fn run() -> Run {
        let step = |name: &str, planned_rate, rate| StepFigures {
            name: name.into(),
            persists: true,
            planned_rate,
            rate,
            p99_ms: 7.25,
            first_error: Some(HOSTILE.into()),
            processes: vec![ProcessUse { name: HOSTILE.into(), cores: 0.5, ..Default::default() }],
            ..StepFigures::default()
        };
        let mut document = BenchDocument {
            nodes: 3,
            replication: 3,
            shards: 32,
            steps: vec![
                step(HOSTILE, None, 41_200.4),
                step("a", Some(10_000), 10_000.0),
                step("b", Some(20_000), 19_000.0),
            ],
            ..BenchDocument::default()
        };
        document.environment.cpu = HOSTILE.into();
        Run { name: HOSTILE.into(), document }
    }

    #[test]
    fn what_stands_in_a_file_cannot_speak_to_the_browser() {
        let page = page(&[run()]);
        assert!(!page.contains("<script") && !page.contains("alert('x')"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        for outside in ["http://", "https://", "src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_table_says_how_durable_how_many_replicas_and_on_which_machine() {
        let mut idle = BenchDocument { nodes: 3, replication: 3, ..BenchDocument::default() };
        let node = ProcessUse { name: "holm-1".into(), cores: 0.031, ..Default::default() };
        idle.idle = vec![IdleCluster { shards: 64, nodes: vec![node], ..IdleCluster::default() }];
        let page = page(&[run(), Run { name: "idle".into(), document: idle }]);
        let captions = page.matches("<caption>").count();
        assert_eq!(captions, page.matches("<table>").count());
        for word in ["<b>durable</b>", "<b>replicas</b>", "<b>machine</b>"] {
            assert_eq!(page.matches(word).count(), captions, "{word}");
        }
        assert!(page.contains("41,200/s") && page.contains("7.25 ms") && page.contains("3.1 %"));
    }

    #[test]
    fn elements_are_closed_and_plots_are_there_when_there_is_a_line() {
        let drawn = page(&[run()]);
        assert_eq!(drawn.matches("<svg").count(), 2, "rate and p99 against load");
        for element in ["section", "table", "tr", "td", "th", "figure", "svg", "g", "text", "p"] {
            let opened = drawn.matches(&format!("<{element}>")).count()
                + drawn.matches(&format!("<{element} ")).count();
            assert_eq!(opened, drawn.matches(&format!("</{element}>")).count(), "{element}");
        }
        let empty = page(&[]);
        assert!(empty.contains("No plot") && !empty.contains("<svg"));
    }

    #[test]
    fn light_and_dark_have_every_color() {
        for nth in 1..=6 {
            assert_eq!(STYLE.matches(&format!("--s{nth}:")).count(), 2, "s{nth} in both");
        }
        assert!(STYLE.contains("prefers-color-scheme: dark"));
    }
}
