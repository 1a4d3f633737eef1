//! The generations of one view: the one that is read, the one that grows beside it, and the change from one to the other. What a generation is, is the
//! store's affair; that there are two, how they are named and how the readers come from one to the other is the same for every store on a disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use crate::place::Place;
use crate::view::ViewError;

/// Reads of one view at once; more wait.
pub(crate) const READERS: usize = 8;

/// One database of a view.
pub(crate) trait Generation: Sized + Send + Sync + 'static {
    /// Opens the database at this path, or makes it.
    fn open(file: PathBuf) -> Result<Self, ViewError>;

    /// Makes everything that was written survive a loss of power.
    fn sync(&self) -> Result<(), ViewError>;

    /// Removes a database that is not open.
    fn remove(file: &Path) -> io::Result<()>;
}

/// A generation that is open, with its number. Retired, it goes when its last reader has gone.
pub(crate) struct Held<G> {
    /// None while it is dropped.
    generation: Option<G>,
    number: u64,
    place: Arc<Place>,
    retired: AtomicBool,
}

/// The generations of one view.
pub(crate) struct Shelf<G> {
    place: Arc<Place>,
    current: RwLock<Arc<Held<G>>>,
    /// What grows beside the current generation.
    half_built: Mutex<Option<Arc<Held<G>>>>,
    readers: Arc<Semaphore>,
}

impl<G: Generation> Shelf<G> {
    /// Opens the view at this path, or makes an empty one.
    pub(crate) fn open(path: PathBuf) -> Result<Self, ViewError> {
        let place = Arc::new(Place::take(path, G::remove)?);
        let (current, half_built) = place.generations()?;
        let fresh = current.is_none();
        let number = current.unwrap_or(1);
        let generation = Held::take(&place, number)?;
        if fresh {
            place.point_to(number)?;
        }
        // One that was half built and does not open is worth nothing: its number stays unused, and the next start removes it.
        let half_built = half_built.and_then(|number| Held::take(&place, number).ok());
        Ok(Self::of(place, generation, half_built))
    }

    fn of(place: Arc<Place>, current: Arc<Held<G>>, half_built: Option<Arc<Held<G>>>) -> Self {
        Self {
            place,
            current: RwLock::new(current),
            half_built: Mutex::new(half_built),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn current(&self) -> Arc<Held<G>> {
        Arc::clone(&self.current.read())
    }

    pub(crate) fn half_built(&self) -> Option<Self> {
        let half_built = self.half_built.lock().clone();
        half_built.map(|half| Self::of(Arc::clone(&self.place), half, None))
    }

    pub(crate) fn begin_rebuild(&self) -> Result<Self, ViewError> {
        // A switch of a worker that is gone may still be under way on its thread.
        let _no_switch = self.current.read();
        let mut half_built = self.half_built.lock();
        if let Some(dropped) = half_built.take() {
            dropped.retire();
        }
        let fresh = Held::take(&self.place, self.place.next_number())?;
        *half_built = Some(Arc::clone(&fresh));
        Ok(Self::of(Arc::clone(&self.place), fresh, None))
    }

    pub(crate) fn switch_to(&self, rebuilt: &Self) -> Result<(), ViewError> {
        let rebuilt = rebuilt.current();
        rebuilt.sync()?;
        let mut current = self.current.write();
        if rebuilt.retired.load(Ordering::SeqCst) {
            // Its file goes with its last reader, and the link must not name it then.
            let reason = "what was rebuilt was dropped for another rebuild".to_owned();
            return Err(ViewError::Broken { reason });
        }
        self.place.point_to(rebuilt.number)?;
        *self.half_built.lock() = None;
        std::mem::replace(&mut *current, rebuilt).retire();
        Ok(())
    }

    /// Reads the current generation on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&G) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let closed = |_| ViewError::Broken { reason: "its readers are closed".to_owned() };
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(closed)?;
        let generation = self.current();
        let work = tokio::task::spawn_blocking(move || {
            let result = read(&generation);
            drop(permit);
            result
        });
        work.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ViewError::Passing { reason: error.to_string() }),
        })
    }

    #[cfg(test)]
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl<G: Generation> Held<G> {
    fn take(place: &Arc<Place>, number: u64) -> Result<Arc<Self>, ViewError> {
        let generation = Some(G::open(place.file_of(number))?);
        let (place, retired) = (Arc::clone(place), AtomicBool::new(false));
        Ok(Arc::new(Self { generation, number, place, retired }))
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }
}

impl<G> std::ops::Deref for Held<G> {
    type Target = G;

    fn deref(&self) -> &G {
        self.generation.as_ref().expect("taken by drop alone")
    }
}

impl<G> Drop for Held<G> {
    fn drop(&mut self) {
        // Closed before it is removed.
        self.generation = None;
        if self.retired.load(Ordering::SeqCst) {
            self.place.remove(self.number);
        }
    }
}
