//! One entity alone, between two measurements of what the disk itself can do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::args::BenchArgs;
use super::cluster::Target;
use super::document::{OneEntity, StepFigures};
use super::step::{step, times};
use super::work::{Kind, Work};
use super::{closed_loop, fsync};
use crate::output::{Failure, Output};

/// Requests in flight to the one entity.
const IN_FLIGHT: u32 = 64;

/// How long the disk's own rate of fsyncs is measured, before and after the one entity.
const FSYNC_TIME: Duration = Duration::from_secs(1);

pub(super) async fn run(
    args: &BenchArgs,
    target: &Target,
    dir: &Path,
    output: Output,
) -> Result<(StepFigures, OneEntity), Failure> {
    let failed = |error| Failure::new("the disk cannot be measured", error);
    let alone = Arc::new(Work::new(&target.holm, "alone", 1).near(args.near));
    let unopened = |error| Failure::new("the account cannot be opened", error);
    closed_loop::open_accounts(&alone, 1).await.map_err(unopened)?;
    let (warm_up, time) = times(args);
    let before = fsync::rates(dir, FSYNC_TIME).map_err(failed)?;
    let asks =
        closed_loop::run("one entity alone", Kind::Persist, &alone, IN_FLIGHT, warm_up, time);
    let mut figures =
        step("4/4 one entity alone", target, &alone, output, async { Ok(asks.await) }).await?;
    let after = fsync::rates(dir, FSYNC_TIME).map_err(failed)?;
    figures.name = format!("one entity, {IN_FLIGHT} in flight");
    // The disk's better figures of the two: the comparison shall not flatter us.
    let disk = before.max(after);
    let one = OneEntity {
        in_flight: IN_FLIGHT,
        rate: figures.rate,
        disk_fsyncs: disk.best,
        ratio: figures.rate / disk.best,
        disk_appends: disk.appended,
        ratio_to_appends: figures.rate / disk.appended,
    };
    Ok((figures, one))
}
