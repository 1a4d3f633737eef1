//! Commands through the management HTTP: every status, and the exact shape of every answer.

use serde_json::{Value, json};

use super::one_node::{OneNode, answer};

fn keys(body: &Value) -> Vec<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A problem says what to do and what became of the command.
fn assert_problem(body: &Value, status: u16, kind: &str) {
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["kind"], kind, "{body}");
    assert_eq!(body["outcome"], "not_applied", "{body}");
    assert!(body["type"].as_str().unwrap().starts_with("urn:holm:problem:"), "{body}");
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
    assert_eq!(body["served_by"], "holm-1", "{body}");
}

#[tokio::test]
async fn a_reply_has_exactly_seven_fields_and_that_to_a_read_six() {
    let node = OneNode::start().await;
    let (status, opened) =
        answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    assert_eq!((status, &opened["reply"], &opened["seq"]), (200, &json!(0), &json!(1)));
    let (status, body) =
        answer(node.command("account/alice/deposit", &json!({"amount": 100}))).await;
    assert_eq!(status, 200);
    let of_read = ["offset", "replayed", "reply", "seq", "served_by", "shard"];
    let mut fields = keys(&body);
    fields.sort_unstable();
    assert_eq!(fields, [&["correlation_id"], &of_read[..]].concat());
    assert_eq!((&body["reply"], &body["seq"]), (&json!(100), &json!(2)));
    assert_eq!((&body["replayed"], &body["served_by"]), (&json!(false), &json!("holm-1")));
    // A read may come without a body.
    let balance = node.post("/api/v1/entities/account/alice/commands/balance");
    let (status, body) = answer(balance.header("content-type", "application/json")).await;
    assert_eq!((status, &body["reply"], &body["seq"]), (200, &json!(100), &json!(2)));
    let mut fields = keys(&body);
    fields.sort_unstable();
    assert_eq!(fields, of_read, "a read opens no conversation that could be shown");
    node.stop().await;
}

#[tokio::test]
async fn a_rejection_is_422_with_its_typed_body() {
    let node = OneNode::start().await;
    answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    let (status, body) =
        answer(node.command("account/alice/withdraw", &json!({"amount": 1}))).await;
    assert_eq!(status, 422);
    assert_eq!(body["rejection"], json!({"overdraft": {"balance": 0, "amount": 1}}));
    assert_eq!(body["message"], "1 cents cannot be withdrawn from a balance of 0");
    assert_eq!((&body["seq"], &body["replayed"]), (&json!(1), &json!(false)));
    node.stop().await;
}

/// Promise G2: the same key takes effect once and yields the recorded answer, for a rejection too.
#[tokio::test]
async fn the_same_key_takes_effect_once() {
    let node = OneNode::start().await;
    answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    let deposit = || {
        let command = node.command("account/alice/deposit", &json!({"amount": 100}));
        command.header("Idempotency-Key", "deposit-1")
    };
    let (_, first) = answer(deposit()).await;
    for _ in 0..5 {
        let (status, again) = answer(deposit()).await;
        assert_eq!((status, &again["replayed"]), (200, &json!(true)));
        assert_eq!((&again["seq"], &again["offset"]), (&first["seq"], &first["offset"]));
    }
    let overdraw = || {
        let command = node.command("account/alice/withdraw", &json!({"amount": 500}));
        command.header("Idempotency-Key", "\"withdraw-1\"")
    };
    assert_eq!(answer(overdraw()).await.0, 422);
    let (status, again) = answer(overdraw()).await;
    assert_eq!((status, &again["replayed"]), (422, &json!(true)));
    let (_, balance) = answer(node.command("account/alice/balance", &json!({}))).await;
    assert_eq!(balance["reply"], 100);
    node.stop().await;
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_422() {
    let node = OneNode::start().await;
    let open = |owner: &str| {
        let command = node.command("account/alice/open", &json!({ "owner": owner }));
        command.header("Idempotency-Key", "k")
    };
    assert_eq!(answer(open("ada")).await.0, 200);
    let (status, body) = answer(open("bob")).await;
    assert_eq!(status, 422);
    assert_problem(&body, 422, "fix_request");
    assert_eq!(body["type"], "urn:holm:problem:key-reused");
    node.stop().await;
}

#[tokio::test]
async fn unknown_names_are_404_and_name_the_nearest() {
    let node = OneNode::start().await;
    let (status, body) = answer(node.command("account/alice/depositt", &json!({}))).await;
    assert_eq!(status, 404);
    assert_problem(&body, 404, "fix_request");
    assert!(body["detail"].as_str().unwrap().contains("did you mean `deposit`?"), "{body}");
    assert_eq!(body["try"], "use `deposit`");
    let (status, body) = answer(node.command("acount/alice/deposit", &json!({}))).await;
    assert_eq!(status, 404);
    assert_eq!(body["try"], "use `account`");
    let (status, body) = answer(node.get("/api/v2/cluster")).await;
    assert_problem(&body, 404, "fix_request");
    assert_eq!(status, 404);
    let (status, body) = answer(node.get("/api/v1/entities/account/alice/commands/open")).await;
    assert_problem(&body, 405, "fix_request");
    assert_eq!(status, 405);
    node.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_400() {
    let node = OneNode::start().await;
    let long_id = format!("account/{}/open", "x".repeat(257));
    for (request, why) in [
        (node.command("account/alice/open", &json!({"owner": 7})), "a wrong type"),
        (node.command("account/alice/open", &json!({})), "a missing field"),
        (node.command("account/alice/open", &json!({"owner": "a", "x": 1})), "an unknown field"),
        (node.command("account/alice/open", &json!("x")), "no object"),
        (node.command("account/alice/deposit", &json!({"amount": -1})), "a negative amount"),
        (node.command(&long_id, &json!({"owner": "a"})), "a long id"),
        (node.command("account/a%0Ab/open", &json!({"owner": "a"})), "a control character"),
        (node.command("account/%FF/open", &json!({"owner": "a"})), "an id that is no text"),
        (node.command("account/alice/balance?timeout_ms=0", &json!({})), "no time"),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(status, 400, "{why}: {body}");
        assert_problem(&body, 400, "fix_request");
    }
    let command = || node.command("account/alice/open", &json!({"owner": "a"}));
    for (header, value) in
        [("Idempotency-Key", "a b"), ("X-Correlation-Id", "x"), ("X-Causation-Id", "x")]
    {
        let (status, body) = answer(command().header(header, value)).await;
        assert_eq!(status, 400, "{header}: {body}");
    }
    let twice = command().header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    assert_eq!(answer(twice).await.0, 400);
    let broken = node.post("/api/v1/entities/account/alice/commands/open");
    let broken = broken.header("content-type", "application/json").body("{");
    assert_eq!(answer(broken).await.0, 400);
    node.stop().await;
}

#[tokio::test]
async fn an_oversized_body_is_413() {
    let node = OneNode::start().await;
    for bytes in [300 * 1024, 3 * 1024 * 1024] {
        let request = node.command("account/alice/open", &json!({"owner": "x".repeat(bytes)}));
        match request.send().await {
            Ok(response) => {
                let (status, body) = super::one_node::read(response).await;
                assert_eq!(status, 413);
                assert_problem(&body, 413, "fix_request");
            }
            // Far over the limit the node hangs up, and the client may notice that before it reads the answer.
            Err(error) => assert!(bytes > 1024 * 1024, "{error:?}"),
        }
    }
    let (status, _) = answer(node.command("account/alice/open", &json!({"owner": "ada"}))).await;
    assert_eq!(status, 200);
    node.stop().await;
}

/// The correlation id and the causation id of a request stand in the history of what it did.
#[tokio::test]
async fn the_lineage_of_a_request_is_recorded() {
    let node = OneNode::start().await;
    let id = "019aa1c3-7d52-7e10-9a44-1f2b83cc0d11";
    let cause = "019aa1c3-7d52-7e10-9a44-1f2b83cc0d12";
    let open = node.command("account/alice/open", &json!({"owner": "ada"}));
    let open = open.header("X-Correlation-Id", id).header("X-Causation-Id", cause);
    assert_eq!(answer(open).await.0, 200);
    let (_, history) = answer(node.get("/api/v1/entities/account/alice/history")).await;
    assert_eq!(history["events"][0]["correlation_id"], id);
    assert_eq!(history["events"][0]["causation_id"], cause);
    node.stop().await;
}

/// A request that is part of a trace belongs to the conversation of that trace, unless it names one; what is no `traceparent` is as good as none.
#[tokio::test]
async fn a_trace_is_a_conversation() {
    let node = OneNode::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = format!("00-{trace}-00f067aa0ba902b7-01");
    let conversation = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736";
    let open = node.command("account/alice/open", &json!({"owner": "ada"}));
    let (_, opened) = answer(open.header("traceparent", &traced)).await;
    assert_eq!(opened["correlation_id"], conversation);
    let (_, flow) = answer(node.get(&format!("/api/v1/flows/{trace}"))).await;
    assert_eq!((&flow["trace_id"], &flow["events"]), (&json!(trace), &json!(1)), "{flow}");

    let named = "019aa1c3-7d52-7e10-9a44-1f2b83cc0d11";
    let deposit = || node.command("account/alice/deposit", &json!({"amount": 5}));
    let both = deposit().header("traceparent", &traced).header("X-Correlation-Id", named);
    assert_eq!(answer(both).await.1["correlation_id"], named);
    for broken in [&traced.to_uppercase()[..], "00-1-2-3", ""] {
        let (status, body) = answer(deposit().header("traceparent", broken)).await;
        assert_eq!(status, 200, "{broken}: {body}");
        assert_ne!(body["correlation_id"], conversation, "{broken}");
    }
    let twice = deposit().header("traceparent", &traced).header("traceparent", &traced);
    let (status, body) = answer(twice).await;
    assert_eq!(status, 200, "{body}");
    assert_ne!(body["correlation_id"], conversation, "which of two is meant, nobody knows");
    node.stop().await;
}
