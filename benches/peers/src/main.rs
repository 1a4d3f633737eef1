//! `cargo run --release -p holm-peers`: the same work on Holm and on other actor libraries, in one run, as one table with ratios.
//!
//! In one process, or with `--remote` in two, or with `--persistent` with a journal on the disk. Each contender runs in a process of its own, by turns, and
//! is used as its own documentation advises, with its defaults.

mod contenders;
mod counter;
mod measure;
mod peers;
mod persistent;
mod remote;
mod rounds;
mod table;
mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use crate::contenders::Contender;
use crate::measure::Measured;
use crate::rounds::Turn;
use crate::work::Plan;

// What the program of Holm uses (see docs/decisions/0023); the others are faster with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same work on Holm and on other actor libraries.
#[derive(Parser)]
#[command(name = "holm-peers")]
struct Options {
    #[command(flatten)]
    plan: Plan,
    /// Ask what lives in another process, over loopback. The feature `remote` brings the networks of the others.
    #[arg(long, conflicts_with = "persistent")]
    remote: bool,
    /// Ask for what is journaled before it is answered. The feature `persistent` brings the journals of the others.
    #[arg(long)]
    persistent: bool,
    /// The program of `benches/peers-remote`, a workspace of its own. kameo and coerce take part in the table of remote asks then.
    #[arg(long, value_name = "PATH", requires = "remote")]
    elsewhere: Option<PathBuf>,
    /// Rounds of each contender; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only contenders with this in their name.
    #[arg(long)]
    only: Option<String>,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Run one contender in this process and print what was measured.
    #[arg(long, hide = true)]
    run: Option<String>,
    /// Be the other process of a remote ask.
    #[arg(long, hide = true, requires = "remote")]
    serve: Option<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.remote {
        remote::PEERS.main(&options)
    } else if options.persistent {
        persistent::PEERS.main(&options)
    } else {
        in_process(&options)
    }
}

fn in_process(options: &Options) -> anyhow::Result<()> {
    if let Some(name) = &options.run {
        let contender = contenders::ALL.iter().find(|contender| contender.name == name);
        let contender = contender.with_context(|| format!("there is no `{name}`"))?;
        println!("{}", serde_json::to_string(&(contender.run)(&options.plan)?)?);
        return Ok(());
    }
    let wanted = |contender: &&Contender| options.wants(contender.name);
    let contenders: Vec<_> = contenders::ALL.iter().filter(wanted).collect();
    let turns = contenders.iter().map(|contender| Turn::here(contender.name));
    let turns = turns.collect::<anyhow::Result<Vec<_>>>()?;
    let measured = rounds::by_turns(&turns, &options.plan.as_args(), options.rounds)?;
    let rows = contenders.iter().zip(measured).map(|(contender, all)| (*contender, median(all)));
    let rows: Vec<_> = rows.collect();
    if options.json {
        let rows = rows.iter().map(|(contender, measured)| (contender.name, *measured));
        println!("{}", serde_json::to_string_pretty(&table::document(&options.plan, rows))?);
    } else {
        println!("{}", table::show(&options.plan, options.rounds, &rows));
    }
    Ok(())
}

/// Of each figure by itself.
fn median(mut all: Vec<Measured>) -> Measured {
    let middle = all.len() / 2;
    all.sort_by(|a, b| a.asks_per_second.total_cmp(&b.asks_per_second));
    let asks_per_second = all[middle].asks_per_second;
    all.sort_by_key(|one| one.bytes_per_entity);
    Measured { asks_per_second, bytes_per_entity: all[middle].bytes_per_entity }
}
