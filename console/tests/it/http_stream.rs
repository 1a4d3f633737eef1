//! Facts as server-sent events.

use holm_console::api_client::{ApiClient, ClientOptions, FactStream, StreamWish};
use serde_json::{Value, json};

use super::one_node::{OneNode, answer};

fn wish(query: &[(&'static str, &str)]) -> StreamWish {
    let query = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    StreamWish { query, last_id: None }
}

async fn deposits(node: &OneNode, ids: &[&str]) {
    for id in ids {
        let open = node.command(&format!("account/{id}/open"), &json!({"owner": id}));
        let _ = answer(open).await;
        let deposit = node.command(&format!("account/{id}/deposit"), &json!({"amount": 5}));
        assert_eq!(answer(deposit).await.0, 200);
    }
}

/// All events until the node ends the stream, with their ids.
async fn all(mut stream: FactStream) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        assert_eq!(event.event, "fact", "{}", event.data);
        events.push((event.id, serde_json::from_str(&event.data).unwrap()));
    }
    events
}

/// Promise G8: what is streamed is what happened, in order, and a client goes on where it was, at any time.
#[tokio::test]
async fn a_stream_ends_where_it_should_and_goes_on_from_its_ids() {
    let node = OneNode::start().await;
    let client = ApiClient::new(node.url(), ClientOptions::default()).unwrap();
    deposits(&node, &["ada", "bob", "cid"]).await;
    let from_the_beginning = wish(&[("from", "beginning"), ("until_now", "true")]);
    let events = all(client.stream(&from_the_beginning).await.unwrap()).await;
    assert_eq!(events.len(), 6);
    let (_, deposited) =
        &events.iter().find(|(_, it)| it["sequence"] == "00000000000000000002").unwrap();
    let source = deposited["source"].as_str().unwrap();
    assert!(source.starts_with("/clusters/") && source.contains("/account/"), "{deposited}");
    assert_eq!(deposited["type"], "holm.account.deposited.v1");
    assert_eq!(
        (&deposited["specversion"], &deposited["data"]),
        (&json!("1.0"), &json!({"amount": 5}))
    );

    // From the id of each event on, exactly the rest comes.
    for (seen, (id, _)) in events.iter().enumerate() {
        let again = StreamWish { last_id: Some(id.clone()), ..from_the_beginning.clone() };
        let rest = all(client.stream(&again).await.unwrap()).await;
        assert_eq!(rest.len(), 5 - seen, "after {id}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stream_follows_what_is_asked_for() {
    let node = OneNode::start().await;
    let client = ApiClient::new(node.url(), ClientOptions::default()).unwrap();
    deposits(&node, &["ada"]).await;
    let mut stream =
        client.stream(&wish(&[("entity_type", "account"), ("event", "Deposited")])).await.unwrap();
    deposits(&node, &["bob", "ada"]).await;
    let mut subjects = Vec::new();
    for _ in 0..2 {
        let event = stream.next().await.unwrap().unwrap();
        let event: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(event["type"], "holm.account.deposited.v1");
        subjects.push(event["subject"].as_str().unwrap().to_owned());
    }
    subjects.sort();
    assert_eq!(subjects, ["ada", "bob"]);
    // A node that stops ends its streams.
    node.server().drain();
    assert!(stream.next().await.unwrap().is_none());
    node.stop().await;
}

/// Promise G9: streams are bounded, and a wish that nobody can fulfil is named.
#[tokio::test]
async fn streams_are_bounded_and_wrong_wishes_are_named() {
    let limits = holm_console::management::HttpLimits {
        concurrent_streams: 1,
        ..holm_console::management::HttpLimits::default()
    };
    let node =
        OneNode::with(holm_console::management::HttpOptions { limits, ..Default::default() }).await;
    let client = ApiClient::new(node.url(), ClientOptions::default()).unwrap();
    for wrong in ["topics=weather", "from=9:1", "from=x", "sort=up"] {
        let (status, body) = answer(node.get(&format!("/api/v1/stream?{wrong}"))).await;
        assert_eq!(status, 400, "{wrong}: {body}");
    }
    let one = client.stream(&wish(&[])).await.unwrap();
    let (status, body) = answer(node.get("/api/v1/stream")).await;
    assert_eq!(status, 503);
    assert!(body["detail"].as_str().unwrap().contains("concurrent_streams"), "{body}");
    drop(one);
    node.stop().await;
}

/// Promise G8: by tag, and several topics at once; what a topic of Holm's own says is not among the events of entities.
#[tokio::test]
async fn tags_and_topics_are_followed() {
    let node = OneNode::start().await;
    let client = ApiClient::new(node.url(), ClientOptions::default()).unwrap();
    deposits(&node, &["ada", "bob"]).await;
    let large = node.command("account/ada/deposit", &json!({"amount": 100_000}));
    assert_eq!(answer(large).await.0, 200);
    let count = async |query: &[(&'static str, &str)]| {
        let query = [&[("from", "beginning"), ("until_now", "true")], query].concat();
        all(client.stream(&wish(&query)).await.unwrap()).await.len()
    };
    assert_eq!(count(&[]).await, 5);
    assert_eq!(count(&[("tag", "money")]).await, 3);
    assert_eq!(count(&[("tag", "large")]).await, 1);
    assert_eq!(count(&[("tag", "large,money"), ("id_prefix", "b")]).await, 1);
    assert_eq!(count(&[("topics", "cluster")]).await, 0, "a node alone has nothing to tell");
    assert_eq!(count(&[("topics", "events,failures,cluster")]).await, 5);
    node.stop().await;
}
