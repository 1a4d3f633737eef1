//! A projection whose view all members write together: each works on its share of the shards, and what it writes is exactly once.
//!
//! The members are those of a group ([`holm_runtime::bus::GroupMember`]): even shares, a lease of 5 s, and the shards of one that dies go to the others. That only says
//! who works on what. Positions stand in the view and nowhere else, and a place moves only from where its writer thinks it is: so a member that lost a shard and does
//! not know it yet, or was frozen and is woken, writes nothing, drops what it did, and goes on from what is stored.
//!
//! What somebody orders through one member is stored in the view and holds for all of them from their next transaction on. Twice a second each looks what the others
//! did: how far they are, whether the view is paused, whether one grows beside it.

mod attendant;

use std::future::Future;
use std::sync::Arc;

use holm_runtime::bus::{Bus, Position};

pub(crate) use self::attendant::Attendant;
use crate::handle::ProjectionHandle;
use crate::options::Options;
use crate::projection::Projection;
use crate::view::{View, ViewError};
use crate::worker::{Others, ground};

/// A view in a store that many processes write to at once. Its [`View::write`] keeps one from coming between another, whatever each believes of its share.
pub trait SpreadView: View {
    /// What everybody who writes to it must know, all of one moment.
    ///
    /// # Errors
    /// [`ViewError`].
    fn look(&self) -> Result<Look, ViewError>;

    /// The view of this version that grows beside this one, begun if there is none. None where one of a newer version grows.
    ///
    /// # Errors
    /// [`ViewError`].
    fn rebuild_once(&self, version: u32) -> Result<Option<Self>, ViewError>;

    /// Makes everybody who writes to this view wait for some seconds, if `rebuilt` is near it, so that it can be reached. True while they wait. [`View::switch_to`]
    /// is refused as passing for as long as `rebuilt` is behind in any shard.
    ///
    /// # Errors
    /// [`ViewError`].
    fn hold_for(&self, rebuilt: &Self) -> Result<bool, ViewError>;
}

/// What somebody who looks at a view sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Somebody paused it.
    pub paused: bool,
    /// The view that is read.
    pub present: Generation,
    /// The one that grows beside it.
    pub beside: Option<Generation>,
}

/// One of the views that take each other's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generation {
    /// Its number, which no other has or had; zero where there is no view yet.
    pub number: u64,
    /// The version that writes it.
    pub version: u32,
    /// Up to where it is.
    pub position: Position,
}

/// Runs a projection on the present tokio runtime, as one of all who do under its name in this cluster, until it is told to stop or the process ends, which the others
/// survive at any moment. Start it on every node.
///
/// - **Pause, resume, rebuild** are of all members, and are said to one. The others learn of them within a second; nobody writes behind a pause. A rebuild is built by all,
///   each its share, and whoever finds it complete makes the switch, for which those who write wait up to 10 s.
/// - **A record that cannot be handled** stops the shards of the member that met it, if [`crate::OnFailure`] says that it stops, and the others go on. What is left out stands in
///   the view, of whoever left it out, and every member can handle it again.
/// - **Another version** ([`Projection::VERSION`]) is built beside when its members have all shards, that is when those of the old version have gone. A member of a version
///   older than the view's does nothing and says so.
/// - **How far it is** is that of all members, at most half a second old where others wrote.
#[cfg_attr(feature = "postgres", doc = "\n[`crate::PostgresView`] has an example.")]
pub fn spread<P: Projection<V>, V: SpreadView>(
    bus: Bus,
    projection: P,
    view: V,
    options: Options,
) -> ProjectionHandle {
    let (handle, work) = assemble_spread(bus, projection, view, options);
    tokio::spawn(work);
    handle
}

/// The handle of one member and its work, which the caller runs on a tokio runtime.
///
/// # Cancel safety
/// Safe: the work may be dropped at any moment. The others take over when its lease of 5 s is over.
pub fn assemble_spread<P: Projection<V>, V: SpreadView>(
    bus: Bus,
    projection: P,
    view: V,
    options: Options,
) -> (ProjectionHandle, impl Future<Output = ()> + Send + 'static) {
    let (ground, handle, orders) = ground(bus, projection, options);
    let (attendant, others) = Attendant::new(Arc::clone(&ground), view.clone());
    let worker = Others::worker(others, Arc::clone(&ground), view, orders);
    let work = async move {
        let together = async {
            tokio::select! {
                () = worker.run() => {}
                // It ends when it has left, which the worker tells it to do before it ends itself.
                () = attendant.run() => std::future::pending().await,
            }
        };
        ground.failures.beside(together).await;
    };
    (handle.of_a_spread(), work)
}
