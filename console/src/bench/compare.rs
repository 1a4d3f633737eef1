//! Two runs side by side: what became faster, what became slower.

use super::document::{BenchDocument, StepFigures};

/// Below this change a difference is noise: two runs of the same program on a quiet machine differ by as much.
const NOISE: f64 = 0.05;

/// One line for each step that both runs have.
pub(super) fn lines(before: &BenchDocument, after: &BenchDocument) -> Vec<String> {
    let mut lines = Vec::new();
    if before.environment != after.environment {
        lines.push("measured on another machine, or built otherwise".to_owned());
    }
    if (before.nodes, before.entities, before.in_flight, before.near)
        != (after.nodes, after.entities, after.in_flight, after.near)
    {
        lines.push("measured with other nodes, entities or commands in flight".to_owned());
    }
    for now in &after.steps {
        if let Some(then) = before.steps.iter().find(|step| step.name == now.name) {
            lines.push(format!(
                "{:<26} rate {}   p99 {}",
                now.name,
                rate(then, now),
                change(then.p99_ms, now.p99_ms)
            ));
        }
    }
    lines
}

/// A planned rate changes only because somebody planned otherwise.
fn rate(then: &StepFigures, now: &StepFigures) -> String {
    match (then.planned_rate, now.planned_rate) {
        (Some(then), Some(now)) if then != now => format!("planned {then}/s, now {now}/s"),
        (Some(_), _) => "as planned".to_owned(),
        _ => change(then.rate, now.rate),
    }
}

fn change(then: f64, now: f64) -> String {
    if then <= 0.0 {
        return "not comparable".to_owned();
    }
    let change = now / then - 1.0;
    if change.abs() < NOISE { "same".to_owned() } else { format!("{:+.0} %", change * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_beyond_the_noise_are_named() {
        assert_eq!(change(100.0, 102.0), "same");
        assert_eq!(change(100.0, 150.0), "+50 %");
        assert_eq!(change(100.0, 50.0), "-50 %");
        assert_eq!(change(0.0, 50.0), "not comparable");
    }

    #[test]
    fn another_machine_is_said_first() {
        let mut other = BenchDocument::default();
        other.environment.cpu = "another".into();
        let lines = lines(&other, &BenchDocument::default());
        assert_eq!(lines, ["measured on another machine, or built otherwise"]);
    }
}
