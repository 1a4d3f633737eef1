//! What a member does beside its work, however long that takes: it attends, and it looks what the others did.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ShardId;
use holm_runtime::bus::{GroupMember, SubscribeError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Generation, Look, SpreadView};
use crate::view::ViewError;
use crate::worker::{Ground, Others, Seen, Sight};

/// Pause between two looks at the view.
const LOOK: Duration = Duration::from_millis(500);

/// Pause before a group that turned it away is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) struct Attendant<P, V> {
    ground: Arc<Ground<P>>,
    view: V,
    seen: watch::Sender<Seen>,
    /// The shards that the worker works on.
    held: watch::Receiver<BTreeSet<ShardId>>,
    leave: mpsc::Receiver<oneshot::Sender<()>>,
}

impl<P: Send + Sync + 'static, V: SpreadView> Attendant<P, V> {
    pub(crate) fn new(ground: Arc<Ground<P>>, view: V) -> (Self, Others<V>) {
        let seen = watch::Sender::new(Seen::default());
        let held = watch::Sender::new(BTreeSet::new());
        let (leave, leaving) = mpsc::channel(1);
        let others = Others::new(seen.subscribe(), held.clone(), leave);
        (Self { ground, view, seen, held: held.subscribe(), leave: leaving }, others)
    }

    /// Ends when it was told to leave, and has.
    pub(crate) async fn run(self) {
        let Self { ground, view, seen, held, leave } = self;
        tokio::select! {
            () = attend(&ground, &seen, held, leave) => {}
            () = look_on(&ground, &view, &seen) => {}
        }
    }
}

async fn attend<P>(
    ground: &Ground<P>,
    seen: &watch::Sender<Seen>,
    mut held: watch::Receiver<BTreeSet<ShardId>>,
    mut leave: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut member: Option<GroupMember> = None;
    let mut joins_at = Instant::now();
    loop {
        let holding = held.borrow_and_update().clone();
        let attended = async {
            match &mut member {
                Some(member) => member.attend_when_due(&holding).await.map(|()| None),
                None => {
                    tokio::time::sleep_until(joins_at).await;
                    ground.bus.join_group(ground.identity.name).await.map(Some)
                }
            }
        };
        let attended = tokio::select! {
            biased;
            // Its sender goes with the worker, and then so does this.
            Some(left) = leave.recv() => {
                if let Some(member) = member {
                    // Where it cannot say so, its lease ends.
                    _ = member.leave().await;
                }
                // Whoever asked may have gone.
                _ = left.send(());
                return;
            }
            attended = attended => attended,
            // What was let go is said at once: somebody waits for it.
            Ok(()) = held.changed() => match &mut member {
                Some(member) => {
                    let holding = held.borrow().clone();
                    member.attend(&holding).await.map(|()| None)
                }
                None => continue,
            },
        };
        match attended {
            Ok(joined) => {
                member = joined.or(member);
                let share = member.as_ref().map(|it| it.share().clone()).unwrap_or_default();
                seen.send_if_modified(|seen| {
                    let news = seen.share != share || seen.turned_away.is_some();
                    (seen.share, seen.turned_away) = (share, None);
                    news
                });
            }
            Err(error) => {
                (member, joins_at) = (None, Instant::now() + ASK_AGAIN);
                turned_away(seen, &error);
            }
        }
    }
}

fn turned_away(seen: &watch::Sender<Seen>, error: &SubscribeError) {
    let reason = error.to_string();
    seen.send_if_modified(|seen| {
        let news = seen.turned_away.as_ref() != Some(&reason);
        seen.share.clear();
        seen.turned_away = Some(reason);
        news
    });
}

/// How far all members are is published; what the worker must do something about wakes it.
async fn look_on<P, V: SpreadView>(ground: &Ground<P>, view: &V, seen: &watch::Sender<Seen>) {
    loop {
        let (looking, under_way) = (view.clone(), Arc::clone(&ground.under_way).read_owned().await);
        let look = tokio::task::spawn_blocking(move || {
            let look = looking.look();
            drop((looking, under_way));
            look
        });
        match look.await {
            Ok(Ok(look)) => {
                publish(ground, &look);
                let sight = sight_of(&look);
                seen.send_if_modified(|seen| std::mem::replace(&mut seen.sight, sight) != sight);
            }
            Ok(Err(error)) => not_seen(ground, &error),
            // The runtime ends.
            Err(_) => return pending().await,
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn publish<P>(ground: &Ground<P>, look: &Look) {
    ground.board.group_is_at(&look.present.position);
    if let Some(beside) = &look.beside {
        ground.board.group_has_built(&beside.position);
    }
}

fn not_seen<P>(ground: &Ground<P>, error: &ViewError) {
    tracing::debug!(projection = ground.identity.name, %error, "what the others do is not seen");
}

fn sight_of(look: &Look) -> Sight {
    let of = |it: &Generation| (it.number, it.version);
    Sight { paused: look.paused, present: of(&look.present), beside: look.beside.as_ref().map(of) }
}
