//! The whole way of a person: an entity breaks because of what it holds, is looked at, let go on, mended by a command of its own, and works.

use std::time::Duration;

use holm_core::AskError;
use holm_persistence::MemoryLog;
use holm_runtime::{
    Command, Commands, Context, Effect, Entity, EntityError, Event, FailureFilter, Handle,
    HandledOutcome, NoRejection, Standing, Supervision,
};
use serde::{Deserialize, Serialize};

use super::{Node, filter};

/// A machine that can do nothing while it is jammed but be mended.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Machine {
    is_jammed: bool,
    done: u64,
}

#[derive(Debug, Event, Serialize, Deserialize)]
enum MachineEvent {
    Jammed {},
    Mended {},
    Worked {},
}

#[derive(Debug, Command, Serialize, Deserialize)]
struct Jam {}

#[derive(Debug, Command, Serialize, Deserialize)]
struct Mend {}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Work {}

impl Entity for Machine {
    const TYPE: &'static str = "machine";
    const SUPERVISION: Supervision = Supervision::quarantine(2, Duration::from_secs(60));
    type Event = MachineEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &MachineEvent) {
        match event {
            MachineEvent::Jammed {} => self.is_jammed = true,
            MachineEvent::Mended {} => self.is_jammed = false,
            MachineEvent::Worked {} => self.done += 1,
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Jam>().handle::<Mend>().handle::<Work>();
    }
}

type Done<R> = Result<Effect<Machine, R>, NoRejection>;

impl Handle<Jam> for Machine {
    fn handle(&self, Jam {}: Jam, cx: &mut Context<'_, Self>) -> Done<()> {
        Ok(cx.persist(MachineEvent::Jammed {}).no_reply())
    }
}

impl Handle<Mend> for Machine {
    fn handle(&self, Mend {}: Mend, cx: &mut Context<'_, Self>) -> Done<()> {
        Ok(cx.persist(MachineEvent::Mended {}).no_reply())
    }
}

impl Handle<Work> for Machine {
    fn handle(&self, Work {}: Work, cx: &mut Context<'_, Self>) -> Done<u64> {
        assert!(!self.is_jammed, "it is jammed");
        Ok(cx.persist(MachineEvent::Worked {}).reply(|machine| machine.done))
    }
}

/// Promise G7: looked at, let go on, mended, and it works; whether the commands that failed are given up or left to their callers.
#[tokio::test]
async fn what_broke_is_looked_at_let_go_on_and_mended() {
    let node = Node::over(std::sync::Arc::new(MemoryLog::new()), |options| {
        options.registry = options.registry.clone().entity::<Machine>();
    })
    .await;
    let failures = node.failures();
    for (number, id) in ["resumed", "skipped"].into_iter().enumerate() {
        let machine = node.of::<Machine>(id);
        machine.ask(Work {}).await.unwrap();
        machine.ask(Jam {}).await.unwrap();
        for _ in 0..2 {
            machine.ask(Work {}).await.unwrap_err();
        }
        node.quarantined(1).await;
        let refused = machine.ask(Mend {}).await.unwrap_err();
        let EntityError::Failed(refused) = refused else { panic!("{refused}") };
        assert!(matches!(refused, AskError::Quarantined { .. }), "no handler runs: {refused}");

        let meant: FailureFilter = filter(&format!("machine/{id}"));
        let [row] = &failures.list(&meant).await.unwrap().rows[..] else { panic!() };
        assert_eq!((row.standing, row.is_open()), (Standing::Quarantined, true));
        assert_eq!(&*row.command.as_ref().unwrap().name, "work");
        assert!(row.causes[0].contains("it is jammed"), "{:?}", row.causes);
        let handled = match number {
            0 => failures.resume(&meant, false).await.unwrap(),
            _ => failures.skip(&meant, false).await.unwrap(),
        };
        assert_eq!(handled[0].outcome, HandledOutcome::Done);
        machine.ask(Mend {}).await.unwrap();
        assert_eq!(machine.ask(Work {}).await, Ok(2), "it works, and holds what it held");
        assert_eq!(node.failures().counts().await.unwrap().quarantined, 0);
    }
    node.host.stop().await;
}
