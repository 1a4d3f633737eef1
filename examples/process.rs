//! A process: an order is paid from an account, and comes back to it after a while. What it sends is stored with what it decided, so a crash in between
//! neither forgets nor repeats anything. A longer one, with compensation: `examples/domains/src/bank/transfer.rs`.

use std::time::Duration;

use holm::{
    Answered, Command, Commands, Context, Effect, Entity, Event, Handle, Holm, NoRejection, Read,
};
use holm_domains::bank::{Account, Deposit, Open, Withdraw};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Order {
    progress: Vec<String>,
}

#[derive(Event, Serialize, Deserialize)]
enum OrderEvent {
    Noted { what: String },
}

#[derive(Command, Serialize, Deserialize)]
struct Place {
    price: u64,
}

/// Only the order itself sends this one.
#[derive(Command, Serialize, Deserialize)]
#[command(internal)]
struct Remind {}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = Vec<String>)]
struct Progress {}

type Decision = Result<Effect<Order, ()>, NoRejection>;

impl Entity for Order {
    const TYPE: &'static str = "order";
    type Event = OrderEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, OrderEvent::Noted { what }: &OrderEvent) {
        self.progress.push(what.clone());
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Place>().handle::<Answered<Account, Withdraw>>();
        commands.handle::<Remind>().read::<Progress>();
    }
}

impl Handle<Place> for Order {
    fn handle(&self, Place { price }: Place, cx: &mut Context<'_, Self>) -> Decision {
        Ok(cx
            .persist(OrderEvent::Noted { what: format!("costs {price}") })
            .send_for_answer::<Account, _>("ada", Withdraw { amount: price })
            .after(Duration::from_millis(200), Remind {})
            .no_reply())
    }
}

impl Handle<Answered<Account, Withdraw>> for Order {
    fn handle(&self, it: Answered<Account, Withdraw>, cx: &mut Context<'_, Self>) -> Decision {
        let what =
            it.answer.map_or_else(|why| why.to_string(), |left| format!("paid, {left} left"));
        Ok(cx.persist(OrderEvent::Noted { what }).no_reply())
    }
}

impl Handle<Remind> for Order {
    fn handle(&self, Remind {}: Remind, cx: &mut Context<'_, Self>) -> Decision {
        Ok(cx.persist(OrderEvent::Noted { what: "reminded".into() }).no_reply())
    }
}

impl Read<Progress> for Order {
    fn read(&self, _: Progress, _: &Context<'_, Self>) -> Result<Vec<String>, NoRejection> {
        Ok(self.progress.clone())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let holm = Holm::builder().entity::<Account>().entity::<Order>().in_memory().start().await?;
    let ada = holm.entity::<Account>("ada");
    ada.ask(Open { owner: "Ada".into() }).await?;
    ada.ask(Deposit { amount: 100 }).await?;
    for (id, price) in [("books", 70), ("records", 40)] {
        let order = holm.entity::<Order>(id);
        order.ask(Place { price }).await?;
        let mut progress = Vec::new();
        while progress.len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            progress = order.ask(Progress {}).await?;
        }
        println!("{id}: {}", progress.join(", "));
    }
    holm.shutdown().await;
    Ok(())
}
