//! What the supervisor shows while the cluster runs.

use super::Supervisor;
use crate::dev::await_ready::Serving;
use crate::dev::screen::Live;
use crate::dev::state::ProcessState;
use crate::output::Failure;

impl Supervisor {
    pub(super) fn take_readiness(
        &mut self,
        outcome: Result<Serving, String>,
    ) -> Result<(), Failure> {
        let serving = outcome.map_err(|reason| {
            Failure::new("the cluster does not serve", reason)
                .or_try("holm dev logs                 what the nodes said")
                .or_try("holm dev --ready-within 120   give it longer")
        })?;
        for node in &mut self.nodes {
            if let Some(id) = serving.ids.get(&node.status.node.name) {
                node.status.node.id = *id;
            }
        }
        self.screen.serving(&serving, self.nodes.iter().map(|node| node.status.node.name.as_str()));
        self.serving = Some(serving);
        if !self.args.no_load
            && self.args.domain == "bank"
            && let Err(error) = self.start_load()
        {
            self.screen.warn(&format!("the load generator cannot be started: {error}"));
        }
        let names: Vec<_> = self.nodes.iter().map(|node| node.status.node.name.as_str()).collect();
        self.screen.invitation(&self.nodes[0].status.node.http, &names, self.data.is_temporary());
        if self.screen.is_json() {
            self.screen.document(&self.status().document());
        }
        self.write_state();
        Ok(())
    }

    pub(super) fn show_live(&mut self) {
        let Some(serving) = &self.serving else { return };
        if !self.load.open_announced
            && let Some(report) = self.load.reports.back()
            && report.is_open()
        {
            self.load.open_announced = true;
            self.screen.load_running(report.accounts, self.args.load);
        }
        let nodes = self
            .nodes
            .iter()
            .filter(|node| node.status.state != ProcessState::Left)
            .map(|node| node.status.state)
            .collect();
        let live = Live {
            nodes,
            shards: serving.shards,
            last_second: crate::load::LoadReport::merged(self.load.reports.iter().rev().take(5)),
        };
        self.screen.live(&live);
    }
}
