//! Starting a projection.

use std::future::Future;
use std::sync::Arc;

use holm_runtime::bus::Bus;
use tokio::sync::mpsc;

use super::{Ground, ORDERS, Order, Worker};
use crate::handle::ProjectionHandle;
use crate::options::Options;
use crate::projection::Projection;
use crate::status::Board;
use crate::view::{Identity, View};

/// Runs a projection on the present tokio runtime until it is told to stop, or the process ends, which it survives at any moment.
pub fn start<P: Projection<V>, V: View>(
    bus: Bus,
    projection: P,
    view: V,
    options: Options,
) -> ProjectionHandle {
    let (handle, work) = assemble(bus, projection, view, options);
    tokio::spawn(work);
    handle
}

/// How a projection is called where it lags or fails.
pub(crate) fn reader_of(name: &str) -> String {
    format!("projection {name}")
}

/// The handle of a projection and its work, which the caller runs.
///
/// # Cancel safety
/// Safe: the work may be dropped at any moment, and another goes on from what is stored.
pub fn assemble<P: Projection<V>, V: View>(
    bus: Bus,
    projection: P,
    view: V,
    options: Options,
) -> (ProjectionHandle, impl Future<Output = ()> + Send + 'static) {
    let (ground, handle, orders) = ground(bus, projection, options);
    let worker = Worker::new(Arc::clone(&ground), view, orders);
    let work = async move { ground.failures.beside(worker.run()).await };
    (handle, work)
}

/// What everything about one projection shares, its handle, and where the handle's orders arrive.
pub(crate) fn ground<P: Projection<V>, V: View>(
    bus: Bus,
    projection: P,
    options: Options,
) -> (Arc<Ground<P>>, ProjectionHandle, mpsc::Receiver<Order>) {
    let (sender, orders) = mpsc::channel(ORDERS);
    let board = Arc::new(Board::new());
    let clock = Arc::clone(&options.clock);
    let ground = Ground {
        identity: Identity { name: P::NAME, version: P::VERSION },
        interest: projection.interest(),
        projection: Arc::new(projection),
        bus: bus.clone(),
        options,
        board: Arc::clone(&board),
        under_way: Arc::default(),
        uncounted: tokio::sync::watch::Sender::new(0),
        failures: bus.failures_of(&reader_of(P::NAME)),
    };
    (Arc::new(ground), ProjectionHandle::new(P::NAME, bus, clock, board, sender), orders)
}
