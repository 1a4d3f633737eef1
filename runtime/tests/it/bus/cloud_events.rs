//! Facts as they leave Holm: the whole document, letter by letter.

use holm_core::CorrelationId;
use holm_runtime::bus::{CloudEvent, Fact, Interest, Publisher, Start};
use holm_runtime::{AskOptions, FailureKind, FailureLog, Subject};
use serde_json::json;

use super::Node;
use crate::account::{Account, Collect, Deposit, registry};

/// The form that consumers outside rely on. A change here is a change for all of them.
#[tokio::test]
async fn a_fact_is_a_cloud_event() {
    let node = Node::start().await;
    let account = node.account("alice");
    let options = AskOptions { correlation: Some(CorrelationId(77)), ..AskOptions::default() };
    account.ask_with(Collect { parts: 2 }, options).await.unwrap();
    let interest = Interest::of::<Account>();
    let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let registry = registry().with_system_types();
    let publisher = Publisher { cluster: "c", namespace: "com.acme.bank", registry: &registry };
    let (first, second) = (facts.next().await.unwrap(), facts.next().await.unwrap());
    let document =
        |fact: &Fact| serde_json::to_value(CloudEvent::of(fact, publisher).unwrap()).unwrap();
    let id = first.command_id().to_string();
    assert_eq!(
        document(&first),
        json!({
            "specversion": "1.0",
            "id": "0000000f-4240-719e-82e5-b7a5f020f3c9",
            "source": "/clusters/c/account/alice",
            "type": "com.acme.bank.account.deposited.v1",
            "subject": "alice",
            "time": "1970-01-01T00:16:40.000Z",
            "recordedtime": "1970-01-01T00:16:40.000Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:holm:com.acme.bank:account:deposited:1",
            "partitionkey": "alice",
            "sequence": "00000000000000000001",
            "correlationid": "00000000-0000-0000-0000-00000000004d",
            "traceparent": "00-0000000000000000000000000000004d-82e5b7a5f020f3c9-01",
            "holmshard": 0,
            "holmoffset": "1",
            "data": { "amount": 1 },
        }),
        "what begins a conversation has no cause"
    );
    let second = document(&second);
    assert_eq!(
        (&second["id"], &second["sequence"]),
        (&json!(format!("{id}-1")), &json!("00000000000000000002"))
    );

    // The cause of what follows is a document that was published.
    let caused =
        AskOptions { causation: Some(first.command_id().causes()), ..AskOptions::default() };
    node.account("bob").ask_with(Deposit { amount: 5 }, caused).await.unwrap();
    let third = document(&facts.next().await.unwrap());
    assert_eq!(third["causationid"], json!(id));

    // Holm's own types are Holm's, whatever the program is called.
    node.host.connect_to_itself();
    node.host.report(FailureKind::ShardMoved, Subject::Reader("x".into()), "for the test");
    let own = Interest::of::<FailureLog>();
    let failed = node.bus().subscribe(own, Start::Beginning).await.unwrap().next().await.unwrap();
    let failed = document(&failed);
    assert_eq!(failed["type"], "holm.holm-failures.failed.v1");
    assert_eq!(failed["dataschema"], "urn:holm:holm:holm-failures:failed:1");
    let read: CloudEvent = serde_json::from_value(failed.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), failed, "it reads back");
    node.host.stop().await;
}
