//! Which plots some runs make: rate and p99 against load, against shards, against nodes. Pure.

use std::collections::BTreeMap;

use super::plot::{Plot, Series};
use crate::bench::{BenchDocument, StepFigures};

/// What the runs of a series have in common: nodes and shards, each where it is not what the plot goes along.
type Kind = (Option<u32>, Option<u32>);

/// A figure of one run against another of its figures.
type Point = (Kind, f64, f64);

/// All plots; those without a line are left to the caller to leave out.
pub(super) fn plots(runs: &[&BenchDocument]) -> Vec<Plot> {
    let fixed = |figure: fn(&StepFigures) -> f64| {
        let points = runs.iter().flat_map(|run| {
            run.steps.iter().filter_map(move |step| {
                let kind = (Some(run.nodes), Some(run.shards));
                Some((kind, f64::from(step.planned_rate?), figure(step)))
            })
        });
        series(points)
    };
    let over = |x: fn(&BenchDocument) -> u32, kind: fn(&BenchDocument) -> Kind, rate: bool| {
        let points = runs.iter().filter_map(|run| {
            let step = if rate { closed_loop(run)? } else { fixed_rate(run)? };
            let y = if rate { step.rate } else { step.p99_ms };
            Some((kind(run), f64::from(x(run)), y))
        });
        series(points)
    };
    let plot = |file, title: &str, x: &str, y: &str, series| {
        let (title, x, y) = (title.to_owned(), x.to_owned(), y.to_owned());
        Plot { file, title, x, y, series }
    };
    let (rate, p99) = ("commands/s", "p99 in ms");
    vec![
        plot(
            "rate-by-load",
            "Rate against load: what was answered of what was planned",
            "planned commands/s",
            rate,
            fixed(|step| step.rate),
        ),
        plot(
            "p99-by-load",
            "p99 against load, from the planned send time",
            "planned commands/s",
            p99,
            fixed(|step| step.p99_ms),
        ),
        plot(
            "rate-by-shards",
            "Rate of the closed loop against shards",
            "shards",
            rate,
            over(shards, nodes, true),
        ),
        plot(
            "p99-by-shards",
            "p99 at the fixed rate against shards",
            "shards",
            p99,
            over(shards, nodes, false),
        ),
        plot(
            "rate-by-nodes",
            "Rate of the closed loop against nodes",
            "nodes",
            rate,
            over(count, on, true),
        ),
        plot(
            "p99-by-nodes",
            "p99 at the fixed rate against nodes",
            "nodes",
            p99,
            over(count, on, false),
        ),
    ]
}

fn closed_loop(run: &BenchDocument) -> Option<&StepFigures> {
    run.steps.iter().find(|step| step.persists && step.planned_rate.is_none())
}

fn fixed_rate(run: &BenchDocument) -> Option<&StepFigures> {
    run.steps.iter().find(|step| step.planned_rate.is_some())
}

const fn shards(run: &BenchDocument) -> u32 {
    run.shards
}

const fn count(run: &BenchDocument) -> u32 {
    run.nodes
}

const fn nodes(run: &BenchDocument) -> Kind {
    (Some(run.nodes), None)
}

const fn on(run: &BenchDocument) -> Kind {
    (None, Some(run.shards))
}

fn name((nodes, shards): Kind) -> String {
    let plural = |count: u32| if count == 1 { "" } else { "s" };
    let nodes = nodes.map(|count| format!("{count} node{}", plural(count)));
    let shards = shards.map(|count| format!("{count} shard{}", plural(count)));
    nodes.into_iter().chain(shards).collect::<Vec<_>>().join(", ")
}

/// Points by their kind, each series from left to right. Several runs of the same kind at the same place are drawn above each other: their spread is part of
/// the truth.
fn series(points: impl Iterator<Item = Point>) -> Vec<Series> {
    let mut kinds: BTreeMap<Kind, Vec<(f64, f64)>> = BTreeMap::new();
    for (kind, x, y) in points {
        kinds.entry(kind).or_default().push((x, y));
    }
    let series = kinds.into_iter().map(|(kind, mut points)| {
        points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        Series { name: name(kind), points }
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(nodes: u32, shards: u32, rate: f64, fixed: &[(u32, f64)]) -> BenchDocument {
        let closed = StepFigures { persists: true, rate, ..StepFigures::default() };
        let fixed = fixed.iter().map(|&(planned, p99_ms)| StepFigures {
            persists: true,
            planned_rate: Some(planned),
            rate: planned.into(),
            p99_ms,
            ..StepFigures::default()
        });
        let steps = std::iter::once(closed).chain(fixed).collect();
        BenchDocument { nodes, shards, steps, ..BenchDocument::default() }
    }

    #[test]
    fn each_run_is_in_the_series_of_its_kind() {
        let runs = [
            run(1, 32, 90.0, &[(40, 4.0), (20, 2.0)]),
            run(1, 64, 80.0, &[(30, 3.0)]),
            run(3, 32, 30.0, &[(10, 9.0)]),
            run(1, 128, 70.0, &[(30, 5.0)]),
        ];
        let plots = plots(&runs.iter().collect::<Vec<_>>());
        let load = &plots[1];
        let names: Vec<_> = load.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(
            names,
            ["1 node, 32 shards", "1 node, 64 shards", "1 node, 128 shards", "3 nodes, 32 shards"]
        );
        assert_eq!(load.series[0].points, [(20.0, 2.0), (40.0, 4.0)], "from left to right");
        assert_eq!(plots[2].series[0].points, [(32.0, 90.0), (64.0, 80.0), (128.0, 70.0)]);
        assert_eq!(plots[3].series[0].points, [(32.0, 4.0), (64.0, 3.0), (128.0, 5.0)]);
        assert_eq!(plots[4].series[0].points, [(1.0, 90.0), (3.0, 30.0)]);
        assert!(plots.iter().all(Plot::says_something));
    }

    #[test]
    fn one_run_alone_draws_no_line_and_an_idle_run_no_point() {
        let runs = [run(1, 32, 90.0, &[(40, 4.0)]), BenchDocument::default()];
        let plots = plots(&runs.iter().collect::<Vec<_>>());
        assert!(!plots.iter().any(Plot::says_something));
        assert!(plots.iter().all(|plot| plot.series.len() == 1));
    }
}
