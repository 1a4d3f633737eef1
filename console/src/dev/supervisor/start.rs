//! Before the first process: the lock, the directories, the ports, the socket.

use std::os::unix::fs::PermissionsExt as _;

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::data::{self, DataDirectory};
use super::{Inputs, LoadProcess, NodeProcess, Supervisor, inputs};
use crate::dev::ports::{self, NodePorts, USUAL_BASE};
use crate::dev::screen::Screen;
use crate::dev::state::{NodeStatus, ProcessState};
use crate::dev::{DevArgs, DevPaths};
use crate::output::{Failure, Output};
use crate::state_file::RunningNode;

/// Everything that can fail before a process is started.
pub(super) fn prepare(
    args: DevArgs,
    paths: DevPaths,
    output: Output,
) -> Result<(Supervisor, Inputs), Failure> {
    let failed =
        |error: std::io::Error| Failure::new("the local cluster cannot be prepared", error);
    std::fs::create_dir_all(paths.dir()).map_err(failed)?;
    let lock = take_lock(&paths)?;
    let data = DataDirectory::open(&paths, args.data_dir.as_deref(), args.keep).map_err(failed)?;
    data::sweep(&paths, data.path());
    if args.keep && args.data_dir.is_none() {
        data::mark_kept(data.path()).map_err(failed)?;
    }
    let plan =
        ports::plan(args.port_base.unwrap_or(USUAL_BASE), args.nodes, &[]).map_err(failed)?;
    let socket = paths.socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(failed)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let (children, child_events) = mpsc::unbounded_channel();
    let (readiness, ready) = mpsc::channel(4);
    let (shards, seen_shards) = mpsc::channel(1);
    let inputs = inputs(listener, child_events, ready, seen_shards).map_err(failed)?;
    let mut screen = Screen::new(output, args.supervise_detached);
    screen.header(&args, data.is_temporary(), data.path());
    for moved in &plan.moved {
        screen.warn(&moved.to_string());
    }
    if !args.no_load && !args.domain.has_load() {
        screen.warn(&without_load(&args));
    }
    let nodes: Vec<_> = (1..)
        .zip(&plan.nodes)
        .map(|(number, ports)| described(&paths, number, own_address(&args, number, *ports)))
        .collect();
    // Logs of an earlier cluster would only mislead.
    for node in &nodes {
        let _ = std::fs::remove_file(&node.status.node.log);
    }
    let supervisor = Supervisor {
        expected_nodes: args.nodes,
        cluster: data.cluster_name().map_err(failed)?,
        args,
        screen,
        data,
        socket,
        nodes,
        load: LoadProcess::default(),
        serving: None,
        ready_by: Instant::now(),
        looking: false,
        children,
        readiness,
        shards,
        _lock: lock,
        paths,
    };
    Ok((supervisor, inputs))
}

/// Why nothing will be driven, where the domain is the reason.
fn without_load(args: &DevArgs) -> String {
    let domain = args.domain.name();
    match &args.bin {
        None => format!(
            "no load: there is a load generator for the bank only, none for {domain}. Every domain is served"
        ),
        Some(bin) => format!(
            "no load: there is a load generator for the bank only, none for {domain}. What is served is up to {}",
            bin.display()
        ),
    }
}

/// The ports of a node, on an address of its own when that was asked for. All of 127.0.0.0/8 is loopback on Linux.
pub(super) fn own_address(args: &DevArgs, number: u32, mut ports: NodePorts) -> NodePorts {
    if args.own_addresses {
        let last = u8::try_from(number).unwrap_or(u8::MAX);
        ports.peer.set_ip(std::net::Ipv4Addr::new(127, 0, 1, last).into());
    }
    ports
}

/// A node that is not started yet.
pub(super) fn described(paths: &DevPaths, number: u32, ports: NodePorts) -> NodeProcess {
    let name = format!("holm-{number}");
    NodeProcess {
        status: NodeStatus {
            node: RunningNode {
                http: format!("http://{}", ports.http),
                peer: ports.peer.to_string(),
                log: paths.log(&name),
                name,
                id: 0,
                pid: 0,
            },
            state: ProcessState::Starting,
        },
        ports,
        ready: false,
        client: None,
        restart: None,
        started_us: 0,
    }
}

fn take_lock(paths: &DevPaths) -> Result<std::fs::File, Failure> {
    let failed = |error| Failure::new("the local cluster cannot be prepared", error);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(paths.lock())
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::new(
            "a local cluster is already running from here",
            format!("its supervisor holds {}", paths.lock().display()),
        )
        .or_try("holm dev status")
        .or_try("holm dev stop")),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
