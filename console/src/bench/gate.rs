//! The gate: a check on the figures that a script relies on, as in `p99>10ms`.

use std::fmt;
use std::str::FromStr;

use super::document::BenchDocument;

/// A figure, a comparison and a bound. The gate closes when the comparison holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    figure: Figure,
    above: bool,
    bound: f64,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// Of the closed loop that persists, per second.
    Rate,
    /// Of the fixed-rate step, in milliseconds.
    P50,
    P99,
    P999,
    Max,
    /// Over all steps, and the turns with subscribers and without.
    Errors,
    /// One entity against the disk's own fsyncs.
    Ratio,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no check: write p99>10ms, rate<100k, errors>0 or ratio<10");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let figure = match name.trim() {
            "rate" => Figure::Rate,
            "p50" => Figure::P50,
            "p99" => Figure::P99,
            "p99.9" | "p999" => Figure::P999,
            "max" => Figure::Max,
            "errors" => Figure::Errors,
            "ratio" => Figure::Ratio,
            _ => return Err(wrong()),
        };
        let bound = parse_bound(rest[1..].trim()).ok_or_else(wrong)?;
        Ok(Self { figure, above: rest.starts_with('>'), bound, text: text.to_owned() })
    }
}

/// A number with `k`, `ms`, `s`, `us` or nothing; times come out in milliseconds.
fn parse_bound(text: &str) -> Option<f64> {
    let units =
        [("ms", 1.0), ("us", 0.001), ("µs", 0.001), ("s", 1_000.0), ("k", 1_000.0), ("/s", 1.0)];
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1.0));
    let bound: f64 = digits.trim().parse().ok()?;
    bound.is_finite().then_some(bound * factor)
}

impl Gate {
    /// The figure found, when the gate closes on it. A figure that was not measured closes every gate: nothing was shown.
    pub(super) fn closes(&self, document: &BenchDocument) -> Option<String> {
        let Some(found) = self.find(document) else {
            return Some(format!("{self}: not measured"));
        };
        let holds = if self.above { found > self.bound } else { found < self.bound };
        holds.then(|| format!("{self}: it is {found:.2}"))
    }

    fn find(&self, document: &BenchDocument) -> Option<f64> {
        // A step without an answer has no latency; its zeros would pass every bound.
        let fixed = || {
            let mut steps = document.steps.iter();
            steps.find(|step| step.planned_rate.is_some()).filter(|step| step.rate > 0.0)
        };
        Some(match self.figure {
            Figure::Rate => document.steps.iter().find(|step| step.persists)?.rate,
            Figure::P50 => fixed()?.p50_ms,
            Figure::P99 => fixed()?.p99_ms,
            Figure::P999 => fixed()?.p999_ms,
            Figure::Max => fixed()?.max_ms,
            #[expect(clippy::cast_precision_loss, reason = "compared with a bound only")]
            Figure::Errors => {
                let turns = document.sleepers.as_ref().map_or(0, |measured| measured.errors);
                (turns + document.steps.iter().map(|step| step.errors).sum::<u64>()) as f64
            }
            Figure::Ratio => document.one_entity.as_ref()?.ratio,
        })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::StepFigures;

    fn document(p99_ms: f64, rate: f64) -> BenchDocument {
        BenchDocument {
            steps: vec![
                StepFigures { persists: true, rate, ..StepFigures::default() },
                StepFigures {
                    persists: true,
                    planned_rate: Some(1),
                    rate: 1.0,
                    p99_ms,
                    ..StepFigures::default()
                },
            ],
            ..BenchDocument::default()
        }
    }

    #[test]
    fn a_gate_closes_when_its_comparison_holds() {
        let gate: Gate = "p99>10ms".parse().unwrap();
        assert_eq!(gate.closes(&document(9.9, 1.0)), None);
        assert_eq!(gate.closes(&document(10.5, 1.0)).unwrap(), "p99>10ms: it is 10.50");
        let gate: Gate = "rate<100k".parse().unwrap();
        assert!(gate.closes(&document(0.0, 99_999.0)).is_some());
        assert!(gate.closes(&document(0.0, 100_000.0)).is_none());
    }

    #[test]
    fn units_are_understood_and_nonsense_is_refused() {
        assert_eq!(parse_bound("500us"), Some(0.5));
        assert_eq!(parse_bound("2s"), Some(2_000.0));
        assert_eq!(parse_bound("10k/s"), None);
        assert!("p99=10ms".parse::<Gate>().is_err());
        assert!("speed>1".parse::<Gate>().is_err());
    }

    #[test]
    fn a_step_without_an_answer_closes_the_gate() {
        let mut unanswered = document(0.0, 1.0);
        unanswered.steps[1].rate = 0.0;
        let gate: Gate = "p99>10ms".parse().unwrap();
        assert_eq!(gate.closes(&unanswered).unwrap(), "p99>10ms: not measured");
    }

    #[test]
    fn what_was_not_measured_closes_the_gate() {
        let gate: Gate = "ratio<10".parse().unwrap();
        assert!(gate.closes(&BenchDocument::default()).is_some());
    }
}
