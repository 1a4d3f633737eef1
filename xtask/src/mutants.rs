//! `cargo xtask mutants`: plants one bug at a time in a copy of the tree and sees that the suite that must catch it does.
//!
//! A mutant is a patch below `xtask/mutants` that says which promise it breaks and which suite must notice. A suite that lets one pass has a
//! hole, and the hole is the finding. Nothing is ever changed in place: the copy and its build lie below `target/mutants`.

mod catalog;
mod page;
mod scratch;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use catalog::Mutant;
use page::Page;
use scratch::Scratch;
use trial::Verdict;

/// What `cargo xtask mutants` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only the mutants whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the mutants with their promises and suites, and run nothing.
    #[arg(long, conflicts_with_all = ["check", "record"])]
    list: bool,
    /// See only that every patch applies to the tree and stands in docs/mutants.md.
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Write what was seen into docs/mutants.md.
    #[arg(long)]
    record: bool,
    /// How long one suite may run, its build not counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    limit_s: u64,
}

/// Runs the mutants; fails when one was not caught.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let mut mutants = catalog::read(&root.join("xtask/mutants"))?;
    let all: Vec<String> = mutants.iter().map(|mutant| mutant.name.clone()).collect();
    if !options.only.is_empty() {
        mutants.retain(|mutant| options.only.iter().any(|part| mutant.name.contains(part)));
        anyhow::ensure!(!mutants.is_empty(), "no mutant has such a name; see --list");
    }
    if options.list {
        mutants.iter().for_each(|mutant| println!("{mutant}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = Scratch::prepare(root)?;
    let mut page = Page::read(root)?;
    if options.check {
        return check(&scratch, &mutants, &page);
    }
    page.keep_only(&all);
    let date = scratch::today()?;
    let verdicts = try_all(&scratch, &mutants, options.limit_s, |mutant, verdict| {
        if !options.record {
            return Ok(());
        }
        // Each as it is seen: whoever stops a long run keeps what it saw.
        page.note(mutant, verdict, &date);
        page.write(root)
    })?;
    let caught = verdicts.iter().filter(|verdict| verdict.is_caught()).count();
    println!("mutants: {caught} of {} caught", verdicts.len());
    Ok(if caught == verdicts.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each suite first on the tree as it is: only one that passes there can catch anything.
fn try_all(
    scratch: &Scratch,
    mutants: &[Mutant],
    limit_s: u64,
    mut note: impl FnMut(&Mutant, &Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Verdict>> {
    let mut passes: BTreeMap<&[String], bool> = BTreeMap::new();
    for mutant in mutants {
        if passes.contains_key(&mutant.suite[..]) {
            continue;
        }
        let verdict = trial::run(scratch, &mutant.suite, limit_s)?;
        let passed = verdict == Verdict::Missed;
        let suite = mutant.suite.join(" ");
        if passed {
            println!("without a bug  cargo test {suite}: passes");
        } else {
            println!("without a bug  cargo test {suite}: {verdict}");
        }
        passes.insert(&mutant.suite, passed);
    }
    let mut verdicts = Vec::with_capacity(mutants.len());
    for mutant in mutants {
        let verdict = if !passes[&mutant.suite[..]] {
            Verdict::SuiteFails
        } else if !scratch.plant(mutant)? {
            Verdict::DoesNotApply
        } else {
            let verdict = trial::run(scratch, &mutant.suite, limit_s)?;
            scratch.restore()?;
            verdict
        };
        println!("{:36} {verdict}", mutant.name);
        note(mutant, &verdict)?;
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn check(scratch: &Scratch, mutants: &[Mutant], page: &Page) -> anyhow::Result<ExitCode> {
    let mut wrong = 0;
    for mutant in mutants {
        if !scratch.would_apply(mutant)? {
            println!("{}: does not apply; bring the patch after the code", mutant.name);
            wrong += 1;
        }
        if !page.names(&mutant.name) {
            println!("{}: is not in docs/mutants.md; run it with --record", mutant.name);
            wrong += 1;
        }
    }
    println!("mutants: {} patches, {wrong} findings", mutants.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
