//! From the launch to a cluster that serves: every node says that it can be reached, then sees every shard served, all within one limit.

use tokio::time::Instant;

use super::Supervisor;
use crate::dev::await_ready::{self, Serving};
use crate::output::Failure;

impl Supervisor {
    /// Fails when a node has not said in time that it can be reached. What is missing after that, [`await_ready`] knows.
    pub(super) fn check_ready_lines(&self) -> Result<(), Failure> {
        if self.serving.is_some() || Instant::now() < self.ready_by {
            return Ok(());
        }
        let silent: Vec<_> =
            self.nodes.iter().filter(|node| !node.ready).map(|node| &node.status.node).collect();
        let Some(first) = silent.first() else { return Ok(()) };
        let names: Vec<_> = silent.iter().map(|node| node.name.as_str()).collect();
        let error = format!(
            "{} did not say within {} s that it can be reached",
            names.join(", "),
            self.args.ready_within
        );
        let expected = serde_json::json!({ "name": first.name, "http": first.http });
        let cause =
            format!("{} printed no line like {expected} on its standard output", first.name);
        let log = format!("read {}", first.log.display());
        Err(Failure::new(error, cause)
            .or_try(log)
            .or_try("holm_console::node::run(builder)   prints that line for a program of yours")
            .or_try(MORE_TIME))
    }

    /// Watches for the moment when every node sees every shard served.
    pub(super) fn await_serving(&self) {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.status.node.clone()).collect();
        let (limit, until) = (self.args.ready_within(), self.ready_by);
        let said = self.readiness.clone();
        tokio::spawn(async move {
            let served = await_ready::every_shard(&nodes, until).await;
            let late = |missing| format!("after {} s: {missing}", limit.as_secs());
            let _ = said.send(served.map_err(late)).await;
        });
    }

    pub(super) fn take_readiness(
        &mut self,
        outcome: Result<Serving, String>,
    ) -> Result<(), Failure> {
        let serving = outcome.map_err(|reason| {
            Failure::new("the cluster does not serve", reason)
                .or_try("holm dev logs                 what the nodes said")
                .or_try(MORE_TIME)
        })?;
        for node in &mut self.nodes {
            if let Some(id) = serving.ids.get(&node.status.node.name) {
                node.status.node.id = *id;
            }
        }
        self.screen.serving(&serving, self.nodes.iter().map(|node| node.status.node.name.as_str()));
        let bank = serving.bank;
        self.serving = Some(serving);
        if self.drives_load() {
            if let Err(error) = self.start_load() {
                self.screen.warn(&format!("the load generator cannot be started: {error}"));
            }
        } else if !bank && self.args.domain.has_load() && !self.args.no_load {
            self.screen.warn(NO_BANK);
        }
        let names: Vec<_> = self.nodes.iter().map(|node| node.status.node.name.as_str()).collect();
        let http = &self.nodes[0].status.node.http;
        self.screen.invitation(http, &names, bank, self.data.is_temporary());
        if self.screen.is_json() {
            self.screen.document(&self.status().document());
        }
        self.write_state();
        Ok(())
    }
}

const MORE_TIME: &str = "holm dev --ready-within 120   give it longer";

const NO_BANK: &str = "no load: the load generator works with the entity type `account` of the demo bank, which this program does not register";
