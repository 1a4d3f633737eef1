//! Everything that can be looked at through the management HTTP of one node.

use serde_json::{Value, json};

use super::one_node::{OneNode, answer};

/// Every answer to a read says who gave it, when, and what is missing.
fn assert_served(body: &Value) {
    assert_eq!(body["served_by"], "holm-1", "{body}");
    assert!(body["as_of"].as_str().unwrap().ends_with('Z'), "{body}");
    assert_eq!(body["partial"], json!([]), "{body}");
}

async fn account_with_a_past(node: &OneNode) {
    for (command, body, status) in [
        ("open", json!({"owner": "ada"}), 200),
        ("withdraw", json!({"amount": 1}), 422),
        ("deposit", json!({"amount": 100}), 200),
        ("withdraw", json!({"amount": 60}), 200),
    ] {
        let request = node.command(&format!("account/alice/{command}"), &body);
        assert_eq!(answer(request).await.0, status, "{command}");
    }
}

#[tokio::test]
async fn the_cluster_of_one_node_is_itself() {
    let node = OneNode::start().await;
    let (status, body) = answer(node.get("/api/v1/cluster")).await;
    assert_eq!(status, 200);
    assert_served(&body);
    let member = &body["members"][0];
    assert_eq!((&member["name"], &member["state"]), (&json!("holm-1"), &json!("up")));
    assert_eq!((&member["http"], &member["leads"]), (&json!(node.url()), &json!(4)));
    let shards = body["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 4);
    for (number, shard) in shards.iter().enumerate() {
        assert_eq!((&shard["id"], &shard["state"]), (&json!(number), &json!("serving")));
        assert_eq!((&shard["leader"], &shard["replicas"]), (&json!(1), &json!([1])));
        assert!(shard["term"].as_u64().unwrap() > 0);
    }
    for (path, found) in [
        ("/api/v1/members", 200),
        ("/api/v1/members/1", 200),
        ("/api/v1/members/holm-1", 200),
        ("/api/v1/members/9", 404),
        ("/api/v1/shards", 200),
        ("/api/v1/shards/3", 200),
        ("/api/v1/shards/4", 404),
        ("/api/v1/shards/x", 404),
        ("/api/v1/entity-types/account/shards", 200),
        ("/api/v1/entity-types/account/shards/0", 200),
        ("/api/v1/entity-types/acount/shards", 404),
    ] {
        let (status, body) = answer(node.get(path)).await;
        assert_eq!(status, found, "{path}: {body}");
        if found == 200 {
            assert_served(&body);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn entity_types_tell_commands_from_reads() {
    let node = OneNode::start().await;
    let (_, body) = answer(node.get("/api/v1/entity-types")).await;
    assert_served(&body);
    let names: Vec<_> =
        body["entity_types"].as_array().unwrap().iter().map(|kind| &kind["name"]).collect();
    assert_eq!(names, ["account", "airport", "show", "transfer"]);
    let account = &body["entity_types"][0];
    assert_eq!(account["commands"], json!(["open", "deposit", "withdraw", "close"]));
    assert_eq!(account["reads"], json!(["balance"]));
    node.stop().await;
}

#[tokio::test]
async fn a_state_can_be_seen_as_of_every_event() {
    let node = OneNode::start().await;
    account_with_a_past(&node).await;
    let path = "/api/v1/entities/account/alice";
    for at in [path.to_owned(), format!("{path}/state"), format!("{path}/state?at_seq=3")] {
        let (status, body) = answer(node.get(&at)).await;
        assert_eq!(status, 200, "{at}: {body}");
        assert_served(&body);
        assert_eq!(body["state"], json!({"status": "open", "owner": "ada", "balance": 40}), "{at}");
        assert_eq!((&body["seq"], &body["highest_seq"]), (&json!(3), &json!(3)));
    }
    let balance = async |at: u64| {
        let (status, body) = answer(node.get(&format!("{path}/state?at_seq={at}"))).await;
        (status, body["state"]["balance"].as_u64())
    };
    assert_eq!(balance(0).await, (200, Some(0)));
    assert_eq!(balance(2).await, (200, Some(100)));
    assert_eq!(balance(4).await.0, 400);
    assert_eq!(answer(node.get(&format!("{path}/state?at_sec=1"))).await.0, 400);
    let (status, body) = answer(node.get("/api/v1/entities/account/bob")).await;
    assert_eq!(status, 404);
    assert_eq!(body["title"], "no entity account/bob");
    node.stop().await;
}

#[tokio::test]
async fn a_history_comes_in_pages_of_events() {
    let node = OneNode::start().await;
    account_with_a_past(&node).await;
    let path = "/api/v1/entities/account/alice/history";
    let (_, whole) = answer(node.get(path)).await;
    assert_served(&whole);
    let events = whole["events"].as_array().unwrap();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["Opened", "Deposited", "Withdrawn"]);
    assert_eq!(events[1]["data"], json!({"amount": 100}));
    assert_eq!(whole["next_after"], Value::Null);
    // The rejection between the first two events takes no place in a page.
    let (_, page) = answer(node.get(&format!("{path}?limit=2"))).await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next_after"]), (2, &json!(2)));
    let (_, rest) = answer(node.get(&format!("{path}?limit=2&after=2"))).await;
    assert_eq!((&rest["events"][0]["seq"], &rest["next_after"]), (&json!(3), &Value::Null));
    assert_eq!(answer(node.get(&format!("{path}?limit=0"))).await.0, 400);
    assert_eq!(answer(node.get(&format!("{path}?limit=1001"))).await.0, 400);
    node.stop().await;
}

/// Promise G4: offsets of a shard have no gap, and a rejection has its place among them.
#[tokio::test]
async fn the_records_of_a_shard_come_in_pages() {
    let node = OneNode::start().await;
    account_with_a_past(&node).await;
    let (_, entity) = answer(node.get("/api/v1/entities/account/alice")).await;
    let path = format!("/api/v1/events?shard={}", entity["shard"]);
    let (mut after, mut offsets, mut rejected) = (json!(0), Vec::new(), 0);
    loop {
        let (status, page) = answer(node.get(&format!("{path}&after={after}&limit=3"))).await;
        assert_eq!(status, 200, "{page}");
        assert_served(&page);
        for record in page["records"].as_array().unwrap() {
            offsets.push(record["offset"].as_u64().unwrap());
            rejected += u64::from(record["rejected"] == true);
            assert_eq!(record["entity"], "account/alice");
        }
        if page["more"] == false {
            break;
        }
        after = page["next_after"].clone();
    }
    assert_eq!((offsets, rejected), (vec![1, 2, 3, 4], 1));
    assert_eq!(answer(node.get("/api/v1/events?shard=99")).await.0, 404);
    assert_eq!(answer(node.get("/api/v1/events")).await.0, 400);
    node.stop().await;
}

#[tokio::test]
async fn probes_say_yes_or_what_is_wrong() {
    let node = OneNode::start().await;
    for path in ["/livez", "/readyz", "/alive", "/ready"] {
        let response = node.get(path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &*response.text().await.unwrap()), (200, "ok\n"));
    }
    let verbose = node.get("/readyz?verbose").send().await.unwrap().text().await.unwrap();
    assert!(verbose.contains("[+]journal ok\n"), "{verbose}");
    node.server().drain();
    let (status, body) = answer(node.get("/readyz").header("accept", "application/json")).await;
    assert_eq!((status, &body["ok"]), (503, &json!(false)));
    let text = node.get("/readyz").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("[-]traffic failed: the node is draining\n"), "{text}");
    assert_eq!(node.get("/livez").send().await.unwrap().status().as_u16(), 200);
    let (_, version) = answer(node.get("/version")).await;
    assert_eq!((&version["node"], &version["pid"]), (&json!("holm-1"), &json!(std::process::id())));
    node.stop().await;
}
