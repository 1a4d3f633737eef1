//! The parts of kameo and coerce in the table of remote asks, which `holm-peers --remote --elsewhere PATH` starts by turns with the others.
//!
//! It takes the arguments that `holm-peers` gives itself, and shares with it the callers and the way in which the other process is started, so that what is
//! measured is the same.

mod coerce;
#[path = "../../peers/src/remote/free_port.rs"]
mod free_port;
mod kameo;
#[path = "../../peers/src/remote/other_process.rs"]
mod other_process;
#[expect(dead_code, reason = "the other tables are not asked for here")]
#[path = "../../peers/src/work.rs"]
mod work;

use clap::{Parser, ValueEnum};

use crate::work::Plan;

// What holm-peers uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The parts of kameo and coerce in the table of remote asks of holm-peers, which starts this.
#[derive(Parser)]
#[command(name = "holm-peers-remote")]
struct Options {
    #[command(flatten)]
    plan: Plan,
    /// The one table that there is here.
    #[arg(long)]
    remote: bool,
    /// Print what was measured of one contender.
    #[arg(long, required_unless_present = "serve")]
    run: Option<Contender>,
    /// Be the other process.
    #[arg(long, conflicts_with = "run")]
    serve: Option<Contender>,
}

/// As holm-peers calls them.
#[derive(Clone, Copy, ValueEnum)]
enum Contender {
    Coerce,
    Kameo,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.serve {
        Some(Contender::Coerce) => return coerce::serve(&options.plan),
        Some(Contender::Kameo) => return kameo::serve(&options.plan),
        None => {}
    }
    let rates = match options.run {
        Some(Contender::Coerce) => coerce::run(&options.plan)?,
        Some(Contender::Kameo) => kameo::run(&options.plan)?,
        None => anyhow::bail!("neither --run nor --serve is given"),
    };
    println!("{}", serde_json::to_string(&rates)?);
    Ok(())
}
