//! The same idempotency key again and again, from every node, across a kill: it takes effect once (G2).

use serde_json::{Value, json};

use crate::local_cluster::LocalCluster;

#[test]
fn one_key_sent_twenty_times_from_three_nodes_across_a_kill_takes_effect_once() {
    let cluster = LocalCluster::start(&["--no-load"]);
    cluster.open("account/once");
    let shard =
        cluster.send_until_answered("account/once", "deposit", &json!({ "amount": 1 }), "first");
    let leader = leader_of(&cluster, shard["shard"].as_u64().unwrap());
    let mut answers = Vec::new();
    for nth in 0..20 {
        if nth == 7 {
            cluster.json(&["kill", &leader, "--no-watch"]);
        }
        if nth == 14 {
            cluster.json(&["restart", &leader, "--no-watch"]);
        }
        // A node that is down answers nothing; the caller tries the next one, with the same key.
        let answer = (0..3).find_map(|other| {
            let sent = cluster.send(
                (nth + other) % 3,
                "account/once",
                "deposit",
                &json!({ "amount": 100 }),
                "the-key",
            );
            sent.filter(|(status, _)| *status == 200).map(|(_, answer)| answer)
        });
        answers.extend(answer);
    }
    assert!(answers.len() >= 15, "only {} of 20 were answered", answers.len());
    let first: Vec<_> = answers.iter().filter(|answer| answer["replayed"] == false).collect();
    assert_eq!(first.len(), 1, "exactly one took effect: {answers:?}");
    for answer in &answers {
        let place = |answer: &Value| {
            (
                answer["reply"].clone(),
                answer["seq"].clone(),
                answer["shard"].clone(),
                answer["offset"].clone(),
            )
        };
        assert_eq!(place(answer), place(first[0]), "every answer is the recorded one");
    }
    let balance = cluster.send_until_answered("account/once", "balance", &json!({}), "read");
    assert_eq!(balance["reply"], 101);
}

fn leader_of(cluster: &LocalCluster, shard: u64) -> String {
    let url = format!("{}/api/v1/cluster", cluster.http(0));
    let seen: Value = reqwest::blocking::get(url).unwrap().json().unwrap();
    let shards = seen["shards"].as_array().unwrap();
    let found = shards.iter().find(|it| it["id"] == shard).unwrap();
    found["leader_name"].as_str().unwrap().to_owned()
}
