//! An orderly stop: what waits in memory is stored before the shards stop taking commands.

use holm::{
    Command, Commands, Context, Effect, Entity, Event, FailureKind, Handle, Holm, NoRejection,
    Supervision,
};
use serde::{Deserialize, Serialize};

const PANICS: usize = 400;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Glass {}

#[derive(Debug, Event, Serialize, Deserialize)]
enum GlassEvent {
    Filled,
}

#[derive(Debug, Command, Serialize, Deserialize)]
struct Drop {}

impl Entity for Glass {
    const TYPE: &'static str = "glass";
    const SUPERVISION: Supervision = Supervision::Resume;
    type Event = GlassEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &GlassEvent) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Drop>();
    }
}

impl Handle<Drop> for Glass {
    fn handle(&self, _: Drop, cx: &mut Context<'_, Self>) -> Result<Effect<Self, ()>, NoRejection> {
        assert!(cx.sequence().get() > 0, "it is empty and breaks");
        Ok(cx.persist(GlassEvent::Filled).no_reply())
    }
}

async fn start(dir: &std::path::Path) -> Holm {
    Holm::builder().entity::<Glass>().data_dir(dir).shards(4).start().await.unwrap()
}

/// Promise G7: facts about failures that are not stored when a node is told to stop are stored before it does, and are there when it starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_wait_at_a_stop_are_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let holm = start(dir.path()).await;
    let glasses = (0..PANICS).map(|n| holm.entity::<Glass>(n.to_string()));
    // At once, so that most of the facts wait when the last is answered.
    let dropped: Vec<_> =
        glasses.map(|it| tokio::spawn(async move { it.ask(Drop {}).await })).collect();
    for dropped in dropped {
        assert!(dropped.await.unwrap().is_err());
    }
    holm.shutdown().await;
    drop(holm);

    let holm = start(dir.path()).await;
    let panicked = FailureKind::Panicked.name().parse().unwrap();
    let told = holm.failures().list(&panicked).await.unwrap();
    assert_eq!((told.rows.len(), told.evicted), (PANICS, 0));
    holm.shutdown().await;
}
