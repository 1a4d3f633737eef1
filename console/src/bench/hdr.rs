//! Every latency of a run as an HdrHistogram log: the format that the plotters and analysers of other tools read, so that runs can be laid over each other.
//!
//! One line for each step, with the step's name as its tag; values are microseconds. Steps stand one after the other from zero on, because only how long
//! they were measured is known. Each histogram tells values apart to three digits, up to a minute.

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::caption;
use super::document::BenchDocument;

/// The maximum of a line is for people and stands in milliseconds, as in the table.
const MICROSECONDS_PER_MS: f64 = 1_000.0;

/// The log of a run that was just measured; a saved run has no histograms any more.
///
/// # Errors
/// What the histogram's own writer says.
pub(super) fn log(document: &BenchDocument) -> Result<Vec<u8>, String> {
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Latencies of holm bench in microseconds; the tag is the step]");
    for (word, text) in caption::lines(document) {
        builder.add_comment(&format!("[{word}: {text}]"));
    }
    builder.with_max_value_divisor(MICROSECONDS_PER_MS);
    let mut writer =
        builder.begin_log_with(&mut bytes, &mut serializer).map_err(|error| error.to_string())?;
    let time = Duration::from_secs(document.seconds);
    let mut start = Duration::ZERO;
    for step in &document.steps {
        let Some(latency) = &step.latency else { continue };
        let name = tag(&step.name);
        let written = writer.write_histogram(latency, start, time, Tag::new(&name));
        written.map_err(|error| format!("{error:?}"))?;
        start += time;
    }
    Ok(bytes)
}

/// The name of a step without what ends a tag: `command+persist`, `remote-read-64-in-flight`.
fn tag(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '+' { c } else { ' ' };
    let words: String = name.chars().map(plain).collect();
    words.split_whitespace().collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::bench::StepFigures;
    use crate::bench::document::histogram;

    fn step(name: &str, values: &[u64]) -> StepFigures {
        let mut latency = histogram();
        values.iter().for_each(|value| latency.record(*value).unwrap());
        StepFigures::of(name, &latency, Duration::from_secs(5))
    }

    #[test]
    fn what_is_written_is_read_back_step_by_step() {
        let steps = vec![step("read state", &[100, 200, 90_000]), step("… at 50 % load", &[7])];
        let document = BenchDocument { seconds: 5, steps, ..BenchDocument::default() };
        let bytes = log(&document).unwrap();
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let encoded = decoded(interval.encoded_histogram());
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut encoded.as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                found.push((tag, interval.start_timestamp().as_secs(), read));
            }
        }
        let [(first, at, read), (second, later, _)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((first.as_str(), *at), ("read-state", 0));
        assert_eq!((second.as_str(), *later), ("at-50-load", 5));
        assert_eq!(read, document.steps[0].latency.as_ref().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("#[durable: ") && text.contains("#[machine: "), "{text}");
    }

    #[test]
    fn a_saved_run_has_no_histograms_and_tags_have_no_separators() {
        let steps = vec![StepFigures::default()];
        let text = log(&BenchDocument { steps, ..BenchDocument::default() }).unwrap();
        let lines = String::from_utf8(text).unwrap();
        assert!(lines.lines().all(|line| line.starts_with('#') || line.starts_with('"')));
        assert_eq!(tag("remote read, 1,024\nin flight"), "remote-read-1-024-in-flight");
    }

    /// Base64 by hand: a dependency for one test would be too much.
    fn decoded(text: &str) -> Vec<u8> {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
        for c in text.bytes().filter(|c| *c != b'=') {
            held = held << 6 | digits.iter().position(|digit| *digit == c).unwrap() as u32;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((held >> bits) as u8);
            }
        }
        bytes
    }
}
