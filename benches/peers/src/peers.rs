//! What the tables of remote and of persistent asks have in common: answers per second with several numbers of asks in flight.

mod show;

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::Options;
use crate::rounds::{self, Turn};
use crate::work::Plan;

/// One of the tables.
pub(crate) struct Peers {
    /// The flag that asks for it.
    pub(crate) flag: &'static str,
    /// Asks in flight, a figure each.
    pub(crate) in_flight: &'static [usize],
    /// Who takes part. The first is what the others are compared with.
    pub(crate) all: &'static [Peer],
    /// Who does not, and why; what every row has in common.
    pub(crate) foot: &'static str,
}

/// One library, asked in one way.
pub(crate) struct Peer {
    /// As in the table.
    pub(crate) name: &'static str,
    /// As in `Cargo.lock`.
    pub(crate) version: &'static str,
    /// What an ask is there, and what its answer means.
    pub(crate) work: &'static str,
    /// Measures, in a process of its own.
    pub(crate) run: Run,
    /// What the other process of a remote ask does, until the one that asks is gone.
    pub(crate) serve: Option<fn(&Plan) -> anyhow::Result<()>>,
}

/// Where the work of a peer is.
pub(crate) enum Run {
    /// In this program.
    Here(fn(&Plan) -> anyhow::Result<Vec<f64>>),
    /// In another program with the same arguments, when these options tell which.
    Elsewhere(fn(&Options) -> Option<&Path>),
}

impl Peers {
    /// Measures all and prints the table; or does the part of one process.
    pub(crate) fn main(&self, options: &Options) -> anyhow::Result<()> {
        if let Some(name) = &options.run {
            let Run::Here(run) = self.find(name)?.run else {
                bail!("`{name}` is in another program")
            };
            println!("{}", serde_json::to_string(&run(&options.plan)?)?);
            return Ok(());
        }
        if let Some(name) = &options.serve {
            let serve = self.find(name)?.serve;
            return serve.with_context(|| format!("`{name}` has no other process"))?(&options.plan);
        }
        let (mut peers, mut turns) = (Vec::new(), Vec::new());
        for peer in self.all.iter().filter(|peer| options.wants(peer.name)) {
            if let Some(turn) = peer.turn(options)? {
                peers.push(peer);
                turns.push(turn);
            }
        }
        let mut args = options.plan.as_args();
        args.push(self.flag.to_owned());
        let measured = rounds::by_turns(&turns, &args, options.rounds)?;
        let expected = self.in_flight.len();
        let whole = |figures: &Vec<f64>| figures.len() == expected;
        anyhow::ensure!(
            measured.iter().flatten().all(whole),
            "a program told other figures than {expected}"
        );
        let rows: Vec<_> = peers.into_iter().zip(measured.into_iter().map(medians)).collect();
        if options.json {
            let document = self.document(&options.plan, &rows);
            println!("{}", serde_json::to_string_pretty(&document)?);
        } else {
            println!("{}", self.show(&options.plan, options.rounds, &rows));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> anyhow::Result<&Peer> {
        let peer = self.all.iter().find(|peer| peer.name == name);
        peer.with_context(|| format!("there is no `{name}`"))
    }
}

impl Peer {
    /// None of a peer in a program that is not there.
    fn turn(&self, options: &Options) -> anyhow::Result<Option<Turn<'_>>> {
        match self.run {
            Run::Here(_) => Turn::here(self.name).map(Some),
            Run::Elsewhere(program) => {
                let turn = |program: &Path| Turn { name: self.name, program: program.into() };
                Ok(program(options).map(turn))
            }
        }
    }
}

/// Of each figure by itself.
fn medians(rounds: Vec<Vec<f64>>) -> Vec<f64> {
    let figures = rounds.first().map_or(0, Vec::len);
    let median = |figure: usize| {
        let mut all: Vec<_> = rounds.iter().filter_map(|round| round.get(figure)).collect();
        all.sort_by(|a, b| a.total_cmp(b));
        *all[all.len() / 2]
    };
    (0..figures).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_own_median() {
        let rounds = vec![vec![1.0, 30.0], vec![3.0, 10.0], vec![2.0, 20.0]];
        assert_eq!(medians(rounds), [2.0, 20.0]);
        assert_eq!(medians(Vec::new()), [0.0; 0]);
    }
}
