//! Flows: what one conversation led to, over HTTP and by `holm flow`.

use holm::{AskOptions, CommandId, CorrelationId, EntityAddress};
use holm_console::management::{HttpLimits, HttpOptions};
use serde_json::{Value, json};

use super::one_node::{OneNode, answer};
use super::verbs::holm;

/// An id that somebody chose: it tells no time.
const CHOSEN: &str = "5f0c3b0e-6c1f-4b5e-9d0a-000000000001";

async fn say(node: &OneNode, conversation: &str, target: &str, body: Value) -> (u16, Value) {
    answer(node.command(target, &body).header("X-Correlation-Id", conversation)).await
}

/// A command that another one caused, as a reaction would send it.
async fn react(node: &OneNode, conversation: &str, cause: &Value, entity: &str, body: Value) {
    let cause: CommandId = cause.as_str().unwrap().parse().unwrap();
    let options = AskOptions {
        correlation: Some(conversation.parse().unwrap()),
        causation: Some(cause.causes()),
        ..AskOptions::default()
    };
    let registry = node.holm.registry();
    let payload = registry.command_from_json("account", "deposit", &body).unwrap();
    let address = EntityAddress::new("account", entity).unwrap();
    let caller = node.holm.caller();
    caller.ask(caller.envelope(address, "deposit", payload, options)).await.unwrap();
}

fn outline(flow: &Value) -> Vec<String> {
    let steps = flow["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |step: &Value| {
        let (entity, command) = (text(&step["entity"]), text(&step["command"]));
        format!(
            "{} {entity} {command} {} {}",
            step["depth"],
            text(&step["outcome"]),
            text(&step["origin"])
        )
    };
    steps.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_shows_what_a_conversation_led_to_in_every_entity() {
    let node = OneNode::start().await;
    let (_, opened) = answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    let id = opened["correlation_id"].as_str().unwrap().to_owned();
    say(&node, CHOSEN, "account/other/open", json!({"owner": "eve"})).await;
    for (target, body, status) in [
        ("account/bob/open", json!({"owner": "bob"}), 200),
        ("account/bob/withdraw", json!({"amount": 5}), 422),
        ("account/bob/balance", json!({}), 200),
    ] {
        assert_eq!(say(&node, &id, target, body).await.0, status, "{target}");
    }
    let path = format!("/api/v1/flows/{id}");
    let (status, flow) = answer(node.get(&path)).await;
    assert_eq!(status, 200, "{flow}");
    let cause = flow["steps"][0]["command_id"].clone();
    assert_eq!(flow["steps"][0]["causation_id"], cause, "it came from outside");
    react(&node, &id, &cause, "bob", json!({"amount": 60})).await;
    let (_, flow) = answer(node.get(&path)).await;
    assert_eq!(
        outline(&flow),
        [
            "0 account/alice open accepted outside",
            "1 account/bob deposit accepted caused",
            "0 account/bob open accepted outside",
            "0 account/bob withdraw rejected outside",
        ]
    );
    let deposit = &flow["steps"][1];
    assert_eq!((&deposit["causation_id"], &deposit["parent"]), (&cause, &json!(0)));
    assert_eq!((&deposit["base_seq"], &deposit["seq"]), (&json!(1), &json!(2)));
    let deposited = json!([{"event": "Deposited", "data": {"amount": 60}}]);
    assert_eq!(deposit["events"], deposited);
    assert!(!flow["steps"][3]["message"].as_str().unwrap().is_empty(), "{flow}");
    let counts = ["entities", "events", "rejected", "failed", "left_out"].map(|it| &flow[it]);
    assert_eq!(counts, [2, 3, 1, 0, 0]);
    assert_eq!(flow["searched"]["unread_shards"], json!([]));
    assert_eq!(flow["searched"]["goes_on"], false);
    assert_eq!((&flow["moves"], &flow["moves_unknown"]), (&json!([]), &json!(false)));

    let drawn = holm(&["--url", node.url(), "flow", &id]).await;
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    assert!(
        drawn.contains("└─ ▷ deposit   account/bob") && drawn.contains("✕ rejected"),
        "{drawn}"
    );
    let open = format!("  Open         {}/api/v1/flows/{id}", node.url());
    assert_eq!(drawn.lines().last(), Some(&*open), "{drawn}");
    node.stop().await;
}

/// The bank's transfer to an account that takes no money: the money leaves, cannot arrive, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_seen_through_every_entity_it_touched() {
    let node = OneNode::start().await;
    for (target, body) in [
        ("account/alice/open", json!({"owner": "ada"})),
        ("account/alice/deposit", json!({"amount": 100})),
    ] {
        assert_eq!(answer(node.command(target, &body)).await.0, 200, "{target}");
    }
    let start = json!({"from": "alice", "to": "nobody", "amount": 60});
    let (_, started) = answer(node.command("transfer/t1/start", &start)).await;
    let id = started["correlation_id"].as_str().unwrap().to_owned();
    let is_over = async || {
        let (_, status) = answer(node.command("transfer/t1/status", &json!({}))).await;
        status["reply"]["stage"] == "refunded"
    };
    while !is_over().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (_, flow) = answer(node.get(&format!("/api/v1/flows/{id}"))).await;
    let outline = outline(&flow);
    let steps = outline.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect::<Vec<_>>();
    assert_eq!(
        [steps[0], steps[1], steps[3], steps[5]],
        [
            "0 transfer/t1 start accepted",
            "1 account/alice withdraw accepted",
            "3 account/nobody deposit rejected",
            "5 account/alice deposit accepted",
        ]
    );
    assert_eq!((steps.len(), &flow["entities"], &flow["rejected"]), (7, &json!(3), &json!(1)));
    assert_eq!(outline.iter().filter(|line| line.ends_with("outside")).count(), 1, "{outline:?}");
    let names: Vec<_> = flow["steps"].as_array().unwrap().iter().map(|it| &it["events"]).collect();
    assert_eq!(names[6][0]["event"], "Refunded");
    let latest = holm(&["--url", node.url(), "flow", "--latest", "transfer"]).await;
    let latest = String::from_utf8(latest.stdout).unwrap();
    assert!(
        latest
            .starts_with(&format!("flow {id}   transfer/t1 Refunded   ▲ 1 rejected   7 commands")),
        "{latest}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_id_is_searched_for_everywhere() {
    let node = OneNode::start().await;
    for account in ["a", "b", "c", "d"] {
        say(&node, CHOSEN, &format!("account/{account}/open"), json!({"owner": "ada"})).await;
    }
    let (status, flow) = answer(node.get(&format!("/api/v1/flows/{CHOSEN}"))).await;
    assert_eq!((status, &flow["entities"]), (200, &json!(4)), "{flow}");
    assert_eq!(flow["searched"]["from"], Value::Null);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_is_not_there_is_said_to_be_so() {
    let options = HttpOptions {
        limits: HttpLimits { concurrent_searches: 0, ..HttpLimits::default() },
        ..HttpOptions::default()
    };
    let busy = OneNode::with(options).await;
    let (status, body) = answer(busy.get(&format!("/api/v1/flows/{CHOSEN}"))).await;
    assert_eq!((status, &body["kind"]), (503, &json!("back_off")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("concurrent_searches"), "{body}");
    busy.stop().await;

    let node = OneNode::start().await;
    let unknown = CorrelationId(0x0199_0000_0000_7000_8000_0000_0000_0001);
    for (path, status, next) in [
        (unknown.to_string(), 404, "everything=true"),
        (format!("{unknown}?everything=true"), 404, "reads leave no record"),
        ("nonsense".to_owned(), 400, "holm send"),
        (format!("{unknown}?timeout_ms=0"), 400, ""),
        (format!("{unknown}?timeout_ms=600001"), 400, ""),
        (format!("{unknown}?deep=1"), 400, ""),
        (String::new(), 404, ""),
    ] {
        let (got, body) = answer(node.get(&format!("/api/v1/flows/{path}"))).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body["try"].as_str().unwrap().contains(next), "{path}: {body}");
    }
    let none = holm(&["--url", node.url(), "flow", &unknown.to_string()]).await;
    assert_eq!(none.status.code(), Some(1));
    let neither = holm(&["--url", node.url(), "flow"]).await;
    assert_eq!(neither.status.code(), Some(2));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_conversation_can_be_asked_for() {
    let node = OneNode::start().await;
    let (status, empty) = answer(node.get("/api/v1/flows")).await;
    assert_eq!((status, &empty["flows"]), (200, &json!([])));
    let nothing = holm(&["--url", node.url(), "flow", "--latest"]).await;
    assert_eq!(nothing.status.code(), Some(1));
    for account in ["a", "b", "c"] {
        let open = ["send", &format!("account/{account}"), "open", r#"{"owner":"ada"}"#];
        let sent = holm(&[&["--url", node.url()], &open[..]].concat()).await;
        assert!(sent.status.success(), "{sent:?}");
    }
    let chosen = ["send", "account/c", "deposit", r#"{"amount":1}"#, "--correlation", CHOSEN];
    let sent = holm(&[&["--url", node.url(), "--json"], &chosen[..]].concat()).await;
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(sent["correlation_id"], CHOSEN);
    let (_, newest) = answer(node.get("/api/v1/flows?entity_type=account&limit=2")).await;
    assert_eq!(newest["flows"].as_array().unwrap().len(), 2, "{newest}");
    assert_eq!(newest["flows"][0]["correlation_id"], CHOSEN);
    for (query, status) in [("entity_type=acount", 404), ("limit=0", 400), ("limit=101", 400)] {
        assert_eq!(answer(node.get(&format!("/api/v1/flows?{query}"))).await.0, status, "{query}");
    }
    for latest in [&["--latest"][..], &["--latest", "account"]] {
        let drawn = holm(&[&["--url", node.url(), "flow", "--json"], latest].concat()).await;
        let flow: Value = serde_json::from_slice(&drawn.stdout).unwrap();
        assert_eq!(flow["correlation_id"], CHOSEN, "{flow}");
    }
    node.stop().await;
}

/// What leaves no record of its own opens no conversation that could be shown.
#[tokio::test]
async fn reads_and_repeated_commands_name_no_conversation() {
    let node = OneNode::start().await;
    let open =
        || node.command("account/a/open", &json!({"owner": "ada"})).header("Idempotency-Key", "k1");
    let (_, first) = answer(open()).await;
    assert!(first["correlation_id"].is_string(), "{first}");
    let (_, again) = answer(open()).await;
    assert_eq!((&again["replayed"], &again["correlation_id"]), (&json!(true), &Value::Null));
    let (_, read) = answer(node.command("account/a/balance", &json!({}))).await;
    assert_eq!(read["correlation_id"], Value::Null);
    node.stop().await;
}
