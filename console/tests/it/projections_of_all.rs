//! Projections of a cluster from any node, and one whose work is shared told where to stand.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holm::Holm;
use holm::bus::{Fact, Interest};
use holm_console::management::{BoundHttp, HttpOptions};
use holm_domains::bank::{Account, Deposit, Open};
use holm_projections::Shared;
use serde_json::{Value, json};

use crate::local_cluster::LocalCluster;
use crate::one_node::answer;

fn nodes_of(answer: &Value) -> Vec<&str> {
    let rows = answer["projections"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["name"] == "bank-books");
    rows.map(|row| row["node"].as_str().unwrap()).collect()
}

/// Any node answers for all, names who does not answer, and for itself alone where that is asked for.
#[test]
fn any_node_tells_of_the_projections_of_all() {
    let cluster = LocalCluster::start(&["--views"]);
    let all = ["holm-1", "holm-2", "holm-3"];
    cluster.wait_until("the first tells of all", |it| nodes_of(&it.get(0, "/projections")) == all);
    assert_eq!(nodes_of(&cluster.get(2, "/projections?local=true")), ["holm-3"]);
    assert_eq!(cluster.get(2, "/projections")["partial"], json!([]));
    let listed = cluster.json(&["projections"]);
    assert_eq!((nodes_of(&listed), &listed["partial"]), (all.to_vec(), &json!([])));

    cluster.json(&["kill", "holm-2", "--no-watch"]);
    cluster.wait_until("who is gone is named", |it| {
        let answer = it.get(2, "/projections");
        nodes_of(&answer) == ["holm-1", "holm-3"] && answer["partial"] == json!(["holm-2"])
    });
    let listed = cluster.json(&["projections"]);
    assert_eq!(
        (nodes_of(&listed), &listed["partial"]),
        (vec!["holm-1", "holm-3"], &json!(["holm-2"]))
    );
}

/// Law O8: over HTTP and by the verb a shared projection begins again, or is set to a place that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_projection_is_told_where_to_stand() {
    let builder = Holm::builder().in_memory().shards(1);
    let holm = holm_domains::register(builder).start().await.unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let ear = Arc::clone(&heard);
    let letters = Shared::new("letters", Interest::of::<Account>());
    let letters = letters.start(holm.bus(), move |record: Arc<[Fact]>| {
        ear.fetch_add(record.len(), Ordering::SeqCst);
        async { Ok::<(), std::io::Error>(()) }
    });
    let options = HttpOptions { bind: ([127, 0, 0, 1], 0).into(), ..HttpOptions::default() };
    let bound = BoundHttp::bind(options).await.unwrap();
    let url = bound.url();
    let server = bound.serve_with(holm.clone(), vec![letters.clone()]);
    let until = async |number: usize| {
        let end = Instant::now() + Duration::from_secs(60);
        while heard.load(Ordering::SeqCst) < number {
            assert!(Instant::now() < end, "{heard:?} of {number}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let account = holm.entity::<Account>("ada");
    account.ask(Open { owner: "Ada".into() }).await.unwrap();
    account.ask(Deposit { amount: 5 }).await.unwrap();
    until(2).await;

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let path = format!("{url}/api/v1/projections/letters:set-position");
    let set = async |body: Value| answer(http.post(&path).json(&body)).await;
    let nowhere = json!({ "positions": [{ "shard": 0, "offset": 1_000_000 }] });
    for wrong in [json!({}), json!({ "to": "middle" }), nowhere] {
        assert_eq!(set(wrong.clone()).await.0, 400, "{wrong}");
    }
    let (status, row) = set(json!({ "to": "beginning" })).await;
    assert_eq!((status, &row["shared"]), (200, &json!(true)), "{row}");
    until(4).await;

    let run = async |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.args(["projections", "--url", &url]).args(words).env_remove("HOLM_HTTP__TOKEN");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let told = run(&["set-position", "letters", "--at", "0:1"]).await;
    assert!(told.status.success(), "{told:?}");
    until(5).await;
    let told = run(&["rebuild", "letters"]).await;
    assert!(told.status.success(), "{told:?}");
    until(7).await;
    for wrong in [&["set-position", "letters"][..], &["set-position", "letters", "--at", "one"]] {
        assert_eq!(run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    letters.stop().await;
    holm.shutdown().await;
    server.shutdown(Duration::from_secs(5)).await;
}
