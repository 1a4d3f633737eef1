//! What is shown of a run: first what is wrong with it, then the lines of its trace that matter, and where the whole trace is.

use std::path::Path;

use serde_json::Value;

use super::child::Told;

/// Lines of a trace that are shown: the last ones, and the last ones about what was found.
const LAST_LINES: usize = 25;
const ABOUT_LINES: usize = 40;

/// Shows a run.
pub(super) fn show(told: &Told, trace: &Path) {
    for list in ["problems", "findings"] {
        for what in texts(&told.summary[list]) {
            println!("  {what}");
        }
    }
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    let about = About { entities: texts(&told.summary["entities"]), shards: shards(told) };
    for line in lines_that_matter(&text, &about) {
        println!("    {line}");
    }
    println!("  the whole trace: {}", trace.display());
}

/// What the findings are about.
#[derive(Debug, Default)]
struct About {
    entities: Vec<String>,
    shards: Vec<String>,
}

impl About {
    fn concerns(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split([' ', ':', ',', '(', ')', '=']).collect();
        if self.entities.is_empty() && self.shards.is_empty() {
            // Nobody in particular: what was done to the machines.
            return line.contains(" # ") && !line.contains("# network");
        }
        self.entities.iter().any(|entity| words.contains(&&**entity))
            || words
                .windows(2)
                .any(|two| two[0] == "shard" && self.shards.iter().any(|it| it == two[1]))
    }
}

fn lines_that_matter<'a>(trace: &'a str, about: &About) -> Vec<&'a str> {
    let lines: Vec<&str> = trace.lines().collect();
    let concern = lines.iter().copied().filter(|line| about.concerns(line));
    let mut shown: Vec<&str> = concern.collect();
    shown.drain(..shown.len().saturating_sub(ABOUT_LINES));
    shown.extend(&lines[lines.len().saturating_sub(LAST_LINES)..]);
    shown
}

fn shards(told: &Told) -> Vec<String> {
    let shards = told.summary["shards"].as_array().into_iter().flatten();
    shards.map(ToString::to_string).collect()
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
   0.100 world  # n1 starts (life 1)
   1.000 world  # network: 1 packets, 1 bytes, 0 broken, 0 refused, digest 00
   2.000 callers c1 #7 write (Write) → register/r1 at n1 [k]
   2.500 callers c1 #7 register/r1: accepted 00 at sequence 1 (shard 3, offset 1, node 1)
   3.000 n1     INFO leads shard=31
   3.100 n1     INFO leads shard=3";

    fn shown(entities: &[&str], shards: &[&str]) -> Vec<&'static str> {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let about = About { entities: own(entities), shards: own(shards) };
        let mut lines = lines_that_matter(TRACE, &about);
        // Behind them come the last lines, which are all of so short a trace.
        lines.truncate(lines.len() - TRACE.lines().count());
        lines
    }

    #[test]
    fn lines_of_an_entity_of_a_shard_or_of_the_machines_are_shown() {
        let all: Vec<&str> = TRACE.lines().collect();
        assert_eq!(shown(&["register/r1"], &[]), all[2..4]);
        assert_eq!(shown(&[], &["3"]), [all[3], all[5]]);
        assert_eq!(shown(&[], &[]), all[..1]);
    }

    #[test]
    fn a_long_trace_is_cut() {
        let long = "   0.1 n1 INFO x shard=3\n".repeat(1_000);
        let about = About { entities: Vec::new(), shards: vec!["3".into()] };
        assert_eq!(lines_that_matter(&long, &about).len(), ABOUT_LINES + LAST_LINES);
    }
}
