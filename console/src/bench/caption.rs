//! What every table says of itself, because its figures mean nothing without it: how durable, how many replicas, which machine.

use super::document::{BenchDocument, Environment};

/// The three lines, each a word and what it says.
pub(super) fn lines(document: &BenchDocument) -> [(&'static str, String); 3] {
    [
        ("durable", durability().to_owned()),
        ("replicas", replication(document)),
        ("machine", machine(document)),
    ]
}

const fn durability() -> &'static str {
    "a command is answered when its event is synced with fdatasync; reads store nothing"
}

fn replication(document: &BenchDocument) -> String {
    let nodes = match (document.nodes, document.replication) {
        (1, _) if document.near => {
            "1, a node inside the process that asks; callers of the closed loops run on the entities' threads".to_owned()
        }
        (1, _) => "1, a node by itself inside the process that asks".to_owned(),
        (nodes, 1) => format!("1 of each shard, {nodes} processes on this machine"),
        (nodes, replicas) => format!(
            "{replicas} of each shard, a majority syncs before the answer; {nodes} processes on this machine"
        ),
    };
    if document.steps.iter().any(|step| step.replicas == Some(1)) {
        format!("{nodes}; of remote rows 1, on the other of two processes")
    } else {
        nodes
    }
}

fn machine(document: &BenchDocument) -> String {
    let idle = document.idle.iter().filter_map(|idle| idle.stolen);
    let stolen = document.steps.iter().filter_map(|step| step.stolen).chain(idle);
    let range = stolen.fold(None, |range: Option<(f64, f64)>, share| {
        Some(range.map_or((share, share), |(least, most)| (least.min(share), most.max(share))))
    });
    let stolen = range.map_or_else(
        || "stolen time not known".to_owned(),
        |(least, most)| {
            format!("its host took {:.0} to {:.0} % of its time away", least * 100.0, most * 100.0)
        },
    );
    format!("{}; {stolen}", hardware(&document.environment))
}

/// The machine in one line.
pub(super) fn hardware(machine: &Environment) -> String {
    let gib = f64::from(u32::try_from(machine.memory_mib).unwrap_or(u32::MAX)) / 1_024.0;
    format!(
        "{} cores {}, {gib:.0} GiB, {}, {}",
        machine.cores, machine.cpu, machine.file_system, machine.system
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::StepFigures;

    #[test]
    fn each_line_says_what_it_must() {
        let step = |stolen| StepFigures { stolen, ..StepFigures::default() };
        let mut document = BenchDocument {
            nodes: 3,
            replication: 3,
            steps: vec![step(Some(0.01)), step(Some(0.21)), step(None)],
            ..BenchDocument::default()
        };
        document.environment.file_system = "ext4".into();
        let [durable, replicas, machine] = lines(&document).map(|(_, text)| text);
        assert!(durable.contains("fdatasync"), "{durable}");
        assert!(replicas.starts_with("3 of each shard") && !replicas.contains("remote"));
        assert!(
            machine.contains("ext4") && machine.ends_with("1 to 21 % of its time away"),
            "{machine}"
        );
        document.steps[2].replicas = Some(1);
        assert!(lines(&document)[1].1.contains("of remote rows 1"));
        document.steps.clear();
        assert!(lines(&document)[2].1.ends_with("not known"));
    }
}
