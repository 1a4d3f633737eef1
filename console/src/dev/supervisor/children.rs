//! Starting the processes, and taking what becomes known about them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOAD, REPORTS_KEPT, Supervisor};
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::control::Response;
use crate::dev::process::{self, ChildEvent, Launch, ReadyLine};
use crate::dev::state::ProcessState;
use crate::dev::tether;
use crate::load::LoadReport;
use crate::output::Failure;
use crate::wall_clock::now_us;

/// How long one node may take to say how many shards are served: the line that shows it is drawn every second.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts every node.
    pub(super) fn start_nodes(&mut self) -> std::io::Result<()> {
        self.ready_by = Instant::now() + self.args.ready_within();
        for index in 0..self.nodes.len() {
            self.start_node(index)?;
        }
        self.write_state();
        Ok(())
    }

    /// Starts one node that has no process.
    pub(super) fn start_node(&mut self, index: usize) -> std::io::Result<()> {
        let launch = self.node_launch(index)?;
        let pid = process::start(&launch, self.children.clone())?;
        let node = &mut self.nodes[index];
        node.status.node.pid = pid;
        node.status.state = ProcessState::Starting;
        (node.ready, node.client) = (false, None);
        node.started_us = now_us();
        Ok(())
    }

    fn node_launch(&self, index: usize) -> std::io::Result<Launch> {
        let node = &self.nodes[index];
        let name = node.status.node.name.clone();
        let seeds: Vec<_> = self
            .nodes
            .iter()
            .filter(|other| other.status.state != ProcessState::Left)
            .map(|other| other.status.node.peer.as_str())
            .collect();
        let data_dir = self.data.of_node(&name);
        std::fs::create_dir_all(&data_dir)?;
        let (program, args) = match &self.args.bin {
            Some(program) => (program.clone(), Vec::new()),
            None => (tether::this_program()?, vec![OsString::from("node")]),
        };
        let views = data_dir.join("views").to_string_lossy().into_owned();
        let views = self.args.views.then_some(("HOLM_VIEWS__DIR", views));
        let mut variables: Vec<(&'static str, String)> = views.into_iter().collect();
        if self.args.no_correlation_index {
            variables.push(("HOLM_JOURNAL__CORRELATION_INDEX", "false".to_owned()));
        }
        variables.extend([
            ("HOLM_NODE__NAME", name.clone()),
            ("HOLM_DATA_DIR", data_dir.to_string_lossy().into_owned()),
            ("HOLM_CLUSTER__NAME", self.cluster.clone()),
            ("HOLM_CLUSTER__LISTEN", node.ports.peer.to_string()),
            ("HOLM_CLUSTER__SEEDS", seeds.join(",")),
            ("HOLM_CLUSTER__EXPECTED_NODES", self.expected_nodes.to_string()),
            ("HOLM_CLUSTER__REPLICATION", self.args.replication().to_string()),
            ("HOLM_CLUSTER__SHARDS", self.args.shards.to_string()),
            ("HOLM_HTTP__BIND", node.ports.http.to_string()),
        ]);
        Ok(Launch { variables, log: node.status.node.log.clone(), name, program, args })
    }

    /// Starts the load generator once the cluster serves.
    pub(super) fn start_load(&mut self) -> std::io::Result<()> {
        let list = |of: fn(&crate::state_file::RunningNode) -> &str| {
            self.nodes.iter().map(|node| of(&node.status.node)).collect::<Vec<_>>().join(",")
        };
        let mut args: Vec<OsString> = vec!["load".into(), "--json".into()];
        let mut option = |name: &str, value: String| {
            args.push(name.into());
            args.push(value.into());
        };
        option("--cluster", self.cluster.clone());
        option("--seeds", list(|node| &node.peer));
        option("--rate", self.args.load.to_string());
        option("--accounts", self.args.accounts.to_string());
        option("--ledger", self.data.ledger().to_string_lossy().into_owned());
        if self.args.load_http {
            option("--http", list(|node| &node.http));
        }
        let log = self.paths.log(LOAD);
        let _ = std::fs::remove_file(&log);
        let launch = Launch {
            name: LOAD.to_owned(),
            program: tether::this_program()?,
            args,
            variables: Vec::new(),
            log,
        };
        self.load.pid = process::start(&launch, self.children.clone())?;
        Ok(())
    }

    pub(super) fn take_child_event(&mut self, event: ChildEvent) -> Result<(), Failure> {
        match event {
            ChildEvent::Line { name, line, .. } if name == LOAD => self.take_report(&line),
            ChildEvent::Line { name, pid, line } => self.take_line(&name, pid, &line),
            ChildEvent::Ended { name, pid, status } if name == LOAD => {
                if self.load.pid == pid {
                    self.load.pid = 0;
                    let why = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                    self.screen.warn(&format!(
                        "the load generator ended ({why}); see {}",
                        self.paths.log(LOAD).display()
                    ));
                }
            }
            ChildEvent::Ended { name, pid, status } => {
                let why = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                return self.take_end(&name, pid, &why);
            }
        }
        Ok(())
    }

    fn take_report(&mut self, line: &str) {
        // What is no report is a message for people; it stands in the log of the load generator as well.
        let Ok(report) = serde_json::from_str::<LoadReport>(line) else { return };
        if self.load.reports.len() == REPORTS_KEPT {
            self.load.reports.pop_front();
        }
        self.load.reports.push_back(report);
    }

    fn take_line(&mut self, name: &str, pid: u32, line: &str) {
        let Some(index) = self.index_of(name, pid) else { return };
        let Ok(said) = serde_json::from_str::<ReadyLine>(line) else { return };
        if self.nodes[index].ready || said.name != name {
            return;
        }
        let node = &mut self.nodes[index];
        node.ready = true;
        if said.id != 0 {
            node.status.node.id = said.id;
        }
        let options = ClientOptions { timeout: Some(LOOK_TIMEOUT), ..Default::default() };
        node.client = ApiClient::new(&said.http, options).ok();
        node.status.node.http = said.http;
        if let Some(peer) = said.peer {
            node.status.node.peer = peer;
        }
        // A node that was paused while it started stays paused for everyone who asks.
        if node.status.state == ProcessState::Starting {
            node.status.state = ProcessState::Up;
        }
        self.screen.node_up(&node.status.node, now_us().saturating_sub(node.started_us));
        self.write_state();
        if self.serving.is_none() && self.nodes.iter().all(|node| node.ready) {
            self.await_serving();
        }
    }

    fn take_end(&mut self, name: &str, pid: u32, why: &str) -> Result<(), Failure> {
        let Some(index) = self.index_of(name, pid) else { return Ok(()) };
        let node = &mut self.nodes[index];
        node.status.node.pid = 0;
        let intended = matches!(node.status.state, ProcessState::Killed | ProcessState::Left);
        if !intended {
            node.status.state = ProcessState::Exited;
        }
        if let Some(answer) = node.restart.take() {
            self.restart_now(index, answer);
        } else if !intended {
            let log = self.nodes[index].status.node.log.clone();
            self.screen.node_ended(name, why, &log);
            if self.serving.is_none() {
                return Err(start_failure(name, why, log));
            }
        }
        self.write_state();
        Ok(())
    }

    /// Starts a node again and tells who asked for it.
    pub(super) fn restart_now(
        &mut self,
        index: usize,
        answer: tokio::sync::oneshot::Sender<Response>,
    ) {
        let at_us = now_us();
        let response = match self.start_node(index) {
            Ok(()) => Response::Done { node: Box::new(self.nodes[index].status.clone()), at_us },
            Err(error) => Response::Refused { reason: error.to_string() },
        };
        self.write_state();
        let _ = answer.send(response);
    }

    fn index_of(&self, name: &str, pid: u32) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.status.node.name == name && node.status.node.pid == pid)
    }
}

fn start_failure(name: &str, why: &str, log: PathBuf) -> Failure {
    let last = crate::dev::logs::last_lines(&log, 5).unwrap_or_default().join("\n       ");
    Failure::new(format!("{name} ended while the cluster was starting ({why})"), last)
        .or_try(format!("read {}", log.display()))
}
