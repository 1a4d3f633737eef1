//! What the management HTTP says when an entity or its node fails: 500, 503 and 504, each with what became of the command.

use std::time::Duration;

use holm::{Command, Commands, Context, Effect, Entity, Event, Handle, Holm, NoRejection};
use holm_console::management::{self, HttpOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::one_node::read;

/// An entity with bad manners.
#[derive(Default, Serialize, Deserialize)]
struct Moody {
    moods: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum MoodyEvent {
    Sulked,
}

/// Blocks its shard, which no real entity may do.
#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Sulk {
    millis: u64,
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Explode {}

impl Entity for Moody {
    const TYPE: &'static str = "moody";
    type Event = MoodyEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &MoodyEvent) {
        self.moods += 1;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Sulk>().handle::<Explode>();
    }
}

impl Handle<Sulk> for Moody {
    fn handle(
        &self,
        Sulk { millis }: Sulk,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        std::thread::sleep(Duration::from_millis(millis));
        Ok(cx.persist(MoodyEvent::Sulked).reply(|moody| moody.moods))
    }
}

impl Handle<Explode> for Moody {
    fn handle(
        &self,
        _: Explode,
        _: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        panic!("enough");
    }
}

async fn ask(url: &str, command: &str, body: &Value, key: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{url}/api/v1/entities/moody/m/commands/{command}");
    let request = client.post(url).json(body).header("Idempotency-Key", key);
    read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_name_what_became_of_the_command() {
    let holm = Holm::builder().entity::<Moody>().in_memory().shards(1).arbiters(1);
    let holm = holm.start().await.unwrap();
    let options = HttpOptions { bind: ([127, 0, 0, 1], 0).into(), ..HttpOptions::default() };
    let server = management::serve(holm.clone(), options).await.unwrap();
    let url = server.url().to_owned();

    let (status, body) = ask(&url, "explode", &json!({}), "1").await;
    assert_eq!((status, &body["kind"]), (500, &json!("give_up")), "{body}");
    assert_eq!(body["outcome"], "not_applied");
    assert!(body["detail"].as_str().unwrap().contains("enough"), "{body}");

    // The caller gives up before the entity answers: only a retry with the same key tells what became of it.
    let sulk = json!({ "millis": 700 });
    let (status, body) = ask(&url, "sulk?timeout_ms=50", &sulk, "2").await;
    assert_eq!((status, &body["kind"]), (504, &json!("retry")), "{body}");
    assert_eq!(body["outcome"], "unknown");
    let (status, body) = ask(&url, "sulk", &sulk, "2").await;
    assert_eq!((status, &body["reply"], &body["replayed"]), (200, &json!(1), &json!(true)));

    holm.shutdown().await;
    let (status, body) = ask(&url, "sulk", &sulk, "3").await;
    assert_eq!(status, 503, "{body}");
    assert!(["retry", "back_off"].contains(&body["kind"].as_str().unwrap()), "{body}");
    assert_eq!(body["outcome"], "not_applied", "nobody took it: {body}");
    server.shutdown(Duration::from_secs(5)).await;
}
