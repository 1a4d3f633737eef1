//! A conversation of three entities on three nodes: `holm flow` draws all of it, says who handled what, and says the same whatever an index knows.

use std::ops::Range;

use holm::{EntityAddress, shard_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::local_cluster::{LocalCluster, told};

const SHARDS: u32 = 8;

/// Who leads each shard, by name.
type Leaders = Vec<String>;

/// The three entities of a transfer, each on a shard that another node leads.
struct Cast {
    transfer: String,
    payer: String,
    payee: String,
}

/// None while a shard has no leader.
fn leaders(cluster: &LocalCluster) -> Option<Leaders> {
    let shards = cluster.get(0, "/shards");
    let shards = shards["shards"].as_array().unwrap().iter();
    shards.map(|shard| shard["leader_name"].as_str().map(str::to_owned)).collect()
}

fn leader_of<'a>(leaders: &'a Leaders, entity: &str) -> &'a str {
    let address: EntityAddress = entity.parse().unwrap();
    &leaders[shard_of(&address, SHARDS).0 as usize]
}

fn cast(leaders: &Leaders, round: u32) -> Option<Cast> {
    let led_by_none_of = |what: &str, taken: &[&str]| {
        let ids = (0..200).map(|number| format!("{what}{round}-{number}"));
        ids.into_iter().find(|entity| !taken.contains(&leader_of(leaders, entity)))
    };
    let transfer = led_by_none_of("transfer/t", &[])?;
    let first = leader_of(leaders, &transfer);
    let payer = led_by_none_of("account/payer", &[first])?;
    let payee = led_by_none_of("account/payee", &[first, leader_of(leaders, &payer)])?;
    Some(Cast { transfer, payer, payee })
}

/// Sends money to an account that nobody opened, and waits until it is back. Returns the conversation.
fn fail_to_transfer(cluster: &LocalCluster, cast: &Cast) -> String {
    let id = |entity: &str| entity.split_once('/').unwrap().1.to_owned();
    cluster.open(&cast.payer);
    cluster.send_until_answered(&cast.payer, "deposit", &json!({"amount": 100}), "deposit");
    let start = json!({"from": id(&cast.payer), "to": id(&cast.payee), "amount": 60});
    let started = cluster.send_until_answered(&cast.transfer, "start", &start, "start");
    cluster.wait_until("the money is back", |cluster| {
        let status = cluster.send(0, &cast.transfer, "status", &json!({}), "status");
        status.is_some_and(|(_, status)| status["reply"]["stage"] == "refunded")
    });
    started["correlation_id"].as_str().unwrap().to_owned()
}

/// Depth, way, entity, command, what became of it, and who handled it.
fn outline(flow: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |step: &Value| {
        let fields = ["depth", "way", "entity", "command", "outcome", "node"];
        fields.map(|field| text(&step[field])).join(" ")
    };
    flow["steps"].as_array().unwrap().iter().map(line).collect()
}

fn expected(cast: &Cast, leaders: &Leaders) -> Vec<String> {
    let Cast { transfer, payer, payee } = cast;
    let by = |entity: &str| leader_of(leaders, entity).to_owned();
    let step = |depth: u32, way: &str, entity: &str, command: &str, outcome: &str| {
        format!("{depth} {way} {entity} {command} {outcome} {}", by(entity))
    };
    let [withdrawn, deposited] = ["account.withdraw.answered", "account.deposit.answered"];
    vec![
        step(0, "asked", transfer, "start", "accepted"),
        step(1, "reaction", payer, "withdraw", "accepted"),
        step(2, "answer", transfer, withdrawn, "accepted"),
        step(3, "reaction", payee, "deposit", "rejected"),
        step(4, "answer", transfer, deposited, "accepted"),
        step(5, "reaction", payer, "deposit", "accepted"),
        step(6, "answer", transfer, deposited, "accepted"),
    ]
}

/// The steps without what changes when others lead.
fn steps(flow: &Value) -> Vec<Value> {
    let mut steps = flow["steps"].as_array().unwrap().clone();
    steps.iter_mut().for_each(|step| _ = step.as_object_mut().unwrap().remove("leader"));
    steps
}

fn drawn(cluster: &LocalCluster, args: &[&str]) -> String {
    let output = cluster.holm(&[&["flow", "--color", "never"], args].concat());
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A transfer that fails while nobody moves: its conversation, its cast and who led.
fn failed_transfer(cluster: &LocalCluster, rounds: Range<u32>) -> (String, Cast, Leaders) {
    for round in rounds {
        cluster.wait_until("each shard is led and each node leads", |cluster| {
            leaders(cluster).is_some_and(|leaders| cast(&leaders, round).is_some())
        });
        let Some(before) = leaders(cluster) else { continue };
        let Some(cast) = cast(&before, round) else { continue };
        let id = fail_to_transfer(cluster, &cast);
        if leaders(cluster).as_ref() == Some(&before) {
            return (id, cast, before);
        }
    }
    panic!("leadership never stays where it is");
}

/// Law 10. The same conversation by the index, by reading the logs, by nodes whose index is switched off, and by nodes that switched it on again later and
/// know only what came since: the same steps, with the nodes that handled them then.
#[test]
fn a_failed_transfer_is_one_tree_over_three_nodes() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_string_lossy().into_owned();
    let shards = SHARDS.to_string();
    let usual = ["--no-load", "--shards", &shards, "--data-dir", &path];
    let cluster = LocalCluster::start(&usual);
    let (id, cast, leaders) = failed_transfer(&cluster, 0..20);
    let flow = cluster.json(&["flow", &id]);
    assert_eq!(outline(&flow), expected(&cast, &leaders), "{flow}");
    assert_eq!((&flow["root"], &flow["last_event"]), (&json!(cast.transfer), &json!("Refunded")));
    assert_eq!((&flow["entities"], &flow["rejected"]), (&json!(3), &json!(1)));
    let searched = &flow["searched"];
    assert_eq!((&searched["searched_shards"], &searched["from"]), (&json!(0), &Value::Null));
    // The deadline is still to come, or it came and there was nothing to do.
    let awaited = flow["awaited"].as_array().unwrap();
    assert_eq!((awaited.len(), &awaited[0]["command"]), (1, &json!("deadline")), "{flow}");

    let latest = cluster.json(&["flow", "--latest", "transfer"]);
    assert_eq!((&latest["correlation_id"], steps(&latest)), (&json!(id), steps(&flow)));
    let read = cluster.json(&["flow", &id, "--everything"]);
    assert_eq!(steps(&read), steps(&flow));
    assert_eq!(read["searched"]["searched_shards"], SHARDS);
    let failed = cluster.json(&["flow", &id, "--failed"]);
    assert_eq!(outline(&failed), outline(&flow)[..4], "{failed}");

    for text in [drawn(&cluster, &[&id, "--ascii"]), drawn(&cluster, &["--latest", "--ascii"])] {
        let by = |entity: &str| leader_of(&leaders, entity);
        let Cast { transfer, payer, payee } = &cast;
        for line in [
            format!("flow {id}   {transfer} Refunded   ! 1 rejected   7 commands   3 entities"),
            format!("> start   {transfer}   {}   shard", by(transfer)),
            format!("@ deadline   {transfer}   timer, no record of it yet"),
            format!("`- > withdraw   {payer}   {}   shard", by(payer)),
            format!("`- > deposit   {payee}   {}   shard", by(payee)),
            format!("`- > deposit   {payer}   {}   shard", by(payer)),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
    drop(cluster);

    let without = LocalCluster::start(&[&usual[..], &["--no-correlation-index"]].concat());
    let by_search = without.json(&["flow", &id]);
    assert_eq!(without_deadline(&by_search), steps(&flow));
    assert_eq!(by_search["searched"]["searched_shards"], SHARDS);
    let text = drawn(&without, &[&id, "--ascii"]);
    assert!(text.contains("8 shards were searched"), "{text}");
    assert!(text.contains("correlation_index = true"), "{text}");
    drop(without);

    let again = LocalCluster::start(&usual);
    let (later, cast, leaders) = failed_transfer(&again, 20..40);
    assert_eq!(outline(&again.json(&["flow", &later])), expected(&cast, &leaders));
    assert_eq!(without_deadline(&again.json(&["flow", &id])), steps(&flow));
}

/// The deadline of a transfer that is over long ago may have come meanwhile.
fn without_deadline(flow: &Value) -> Vec<Value> {
    steps(flow).into_iter().filter(|step| step["command"] != "deadline").collect()
}

/// A command that waited until its shard had moved says so, at its place; and the projections that have seen it are named, node by node.
#[test]
fn a_move_that_held_a_command_up_is_in_its_flow() {
    let shards = SHARDS.to_string();
    let cluster = LocalCluster::start(&["--no-load", "--views", "--shards", &shards]);
    cluster.wait_until("every shard has a leader", |cluster| leaders(cluster).is_some());
    let node = &cluster.document["nodes"][2];
    let (gone, pid) = (node["name"].as_str().unwrap(), node["pid"].as_i64().unwrap());
    let is_there =
        |entity: &String| leaders(&cluster).is_some_and(|it| leader_of(&it, entity) == gone);
    let account = (0..200).map(|number| format!("account/held-up-{number}")).find(is_there);
    let account = account.expect("it leads one of eight shards");
    cluster.open(&account);
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    let answer =
        cluster.send_until_answered(&account, "deposit", &json!({"amount": 5}), "while-it-moves");
    let id = answer["correlation_id"].as_str().unwrap();

    // That it moved is a fact a moment later, and so is what the projections have seen.
    let flow = || cluster.json(&["flow", id]);
    cluster.wait_until("the move is known", |_| flow()["moves"] != json!([]));
    let has_seen = |row: &Value| row["passed"] == row["commands"];
    cluster.wait_until("the projections have seen it", |_| {
        let flow = flow();
        let rows = flow["projections"].as_array().cloned().unwrap_or_default();
        rows.len() >= 2 && rows.iter().all(has_seen)
    });
    let flow = flow();
    let (step, moved) = (&flow["steps"][0], &flow["moves"][0]);
    assert_eq!((&moved["step"], &moved["shard"]), (&json!(0), &step["shard"]), "{flow}");
    assert_eq!((&moved["from"], &moved["to"]), (&json!(gone), &step["node"]), "{flow}");
    assert_eq!(flow["moves_unknown"], false);
    let text = drawn(&cluster, &[id, "--ascii"]);
    let to = step["node"].as_str().unwrap();
    let line = format!("~ shard {} moved meanwhile   from {gone} to {to}", step["shard"]);
    assert!(text.contains(&line), "{line}\n{text}");
    assert!(text.contains("caught up to all of it"), "{text}");
}
