//! The verbs that ask one node: what they print, how they fail, and with which exit code.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::one_node::OneNode;

/// Runs the program in an empty directory, so that no local cluster is found.
pub(crate) async fn holm(arguments: &[&str]) -> Output {
    let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let run = move || {
        let nowhere = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.current_dir(nowhere.path()).args(&arguments).env("LC_ALL", "C.UTF-8");
        command.env_remove("HOLM_HTTP__TOKEN").output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Every verb finds the local cluster below `HOLM_DEV_DIR`, wherever it is called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_cluster_is_found_below_the_directory_that_is_named() {
    let node = OneNode::start().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(".holm/dev")).unwrap();
    let running = json!({
        "cluster": "elsewhere",
        "data_dir": "/nowhere",
        "nodes": [{
            "name": "holm-1", "id": 1, "pid": 1, "http": node.url(), "peer": "", "log": "",
        }],
    });
    std::fs::write(dir.path().join(".holm/dev/cluster.json"), running.to_string()).unwrap();
    let run = |arguments: &'static [&str], here: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.args(arguments).env_remove("HOLM_HTTP__TOKEN");
        let elsewhere = tempfile::tempdir().unwrap();
        command.current_dir(elsewhere.path());
        if here {
            command.env("HOLM_DEV_DIR", dir.path());
        }
        tokio::task::spawn_blocking(move || (command.output().unwrap(), elsewhere).0)
    };
    for arguments in [
        &["status"][..],
        &["send", "account/alice", "open", r#"{"owner":"ada"}"#],
        &["show", "account/alice"],
    ] {
        let found = run(arguments, true).await.unwrap();
        assert!(found.status.success(), "{arguments:?}: {found:?}");
    }
    let unknown = run(&["dev", "status"], false).await.unwrap();
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
    node.stop().await;
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_prints_the_reply_and_a_rejection_ends_with_1() {
    let node = OneNode::start().await;
    let send = async |arguments: &[&str]| {
        holm(&[&["--url", node.url(), "--json", "send", "account/alice"], arguments].concat()).await
    };
    let opened = send(&["open", r#"{"owner":"ada"}"#]).await;
    assert_eq!((opened.status.code(), &document(&opened)["reply"]), (Some(0), &json!(0)));
    for replayed in [false, true] {
        let deposit = send(&["deposit", r#"{"amount":100}"#, "--key", "k1"]).await;
        assert_eq!(document(&deposit)["replayed"], replayed);
    }
    let overdraft = send(&["withdraw", r#"{"amount":500}"#]).await;
    assert_eq!(overdraft.status.code(), Some(1));
    let rejection = json!({"overdraft": {"balance": 100, "amount": 500}});
    assert_eq!(document(&overdraft)["rejection"], rejection);
    let plain = holm(&["--url", node.url(), "send", "account/alice", "balance"]).await;
    assert!(text(&plain.stdout).starts_with("✓ 100   seq 2"), "{plain:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_says_what_why_and_what_next() {
    let node = OneNode::start().await;
    let unknown = holm(&["--url", node.url(), "send", "account/alice", "depositt"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(
        text(&unknown.stderr),
        "error: no such command\n\
         cause: entity type `account` has no command `depositt`; did you mean `deposit`?\n  \
           try: use `deposit`\n"
    );
    let nobody = holm(&["--url", node.url(), "show", "account/nope"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).starts_with("error: no entity account/nope\ncause: no event was"));
    let usage = holm(&["--url", node.url(), "show", "nope"]).await;
    assert_eq!(usage.status.code(), Some(2));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_node_the_exit_code_is_4() {
    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    for verb in [&["status"][..], &["send", "account/a", "balance"], &["show", "account/a"]] {
        let output = holm(&[&["--url", &url], verb].concat()).await;
        assert_eq!(output.status.code(), Some(4), "{verb:?}");
        let error = text(&output.stderr);
        assert!(
            error.starts_with(&format!(
                "error: cannot reach a node at {url}\ncause: connection refused\n  try: holm dev"
            )),
            "{error}"
        );
    }
    let json = holm(&["--url", &url, "--json", "status"]).await;
    let error: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(error["cause"], "connection refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_lists_events_and_goes_back_in_time() {
    let node = OneNode::start().await;
    for (command, body) in [
        ("open", r#"{"owner":"ada"}"#),
        ("withdraw", r#"{"amount":7}"#),
        ("deposit", r#"{"amount":7}"#),
    ] {
        holm(&["--url", node.url(), "send", "account/alice", command, body]).await;
    }
    let now = holm(&["--url", node.url(), "show", "account/alice", "--json"]).await;
    let now = document(&now);
    let names: Vec<_> = now["events"].as_array().unwrap().iter().map(|e| &e["event"]).collect();
    assert_eq!(names, ["Opened", "Deposited"]);
    assert_eq!((&now["seq"], &now["state"]["balance"]), (&json!(2), &json!(7)));
    let past = document(
        &holm(&["--url", node.url(), "show", "account/alice", "--at", "1", "--json"]).await,
    );
    assert_eq!((&past["seq"], &past["state"]["balance"]), (&json!(1), &json!(0)));
    let show = ["--url", node.url(), "show", "account/alice", "--json"];
    let ago = document(&holm(&[&show[..], &["--at", "-0s"]].concat()).await);
    assert_eq!(ago["seq"], 2, "so long ago, everything was there");
    let before = document(&holm(&[&show[..], &["--at", "2020-01-01T00:00:00Z"]].concat()).await);
    assert_eq!(before["seq"], 0, "nothing had happened yet");
    let diff = document(&holm(&[&show[..], &["--diff", "1..now"]].concat()).await);
    assert_eq!((&diff["from"]["seq"], &diff["to"]["seq"]), (&json!(1), &json!(2)));
    let lines = holm(&["--url", node.url(), "show", "account/alice", "--diff", "1.."]).await;
    let lines = text(&lines.stdout);
    assert!(
        lines.contains("  -   \"balance\": 0") && lines.contains("  +   \"balance\": 7"),
        "{lines}"
    );
    let ascii = holm(&["--url", node.url(), "--ascii", "status"]).await;
    assert!(ascii.stdout.is_ascii() && text(&ascii.stdout).contains("ok 4 of 4 shards serving"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_lists_nodes_with_process_id_and_state() {
    let node = OneNode::start().await;
    let status = document(&holm(&["--url", node.url(), "--json", "status"]).await);
    let first = &status["nodes"][0];
    assert_eq!((&first["name"], &first["state"]), (&json!("holm-1"), &json!("up")));
    assert_eq!((&first["pid"], &first["http"]), (&json!(std::process::id()), &json!(node.url())));
    assert_eq!(status["shards"], json!({"serving": 4}));
    node.stop().await;
}
