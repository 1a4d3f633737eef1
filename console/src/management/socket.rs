//! The socket of one client. What is written to it must get on: who asks and does not read loses its place.
//!
//! TCP itself knows no such limit: a peer whose window is closed may keep a connection for ever, as long as its kernel answers.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// What a client did, for whoever has to say why its connection ended, or whose place is needed.
#[derive(Debug)]
pub(super) struct Conduct {
    spoke: AtomicBool,
    deaf: AtomicBool,
    written_to: AtomicBool,
    active: Mutex<Instant>,
}

impl Conduct {
    /// It said something that was not answered yet.
    pub(super) fn spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// It took not one byte for as long as it may.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// Something that was written has not found room on its way yet.
    pub(super) fn is_written_to(&self) -> bool {
        self.written_to.load(Ordering::Relaxed)
    }

    /// When it last began to say something, or had taken all of an answer.
    pub(super) fn last_active(&self) -> Instant {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_active(&self, now: Instant) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub(super) fn set_written_to(&self, written_to: bool) {
        if self.written_to.swap(written_to, Ordering::Relaxed) && !written_to {
            self.set_active(Instant::now());
        }
    }

    /// Only the first bytes behind an answer count: who sends a head byte by byte is not active by that.
    fn speaks(&self) {
        if !self.spoke.swap(true, Ordering::Relaxed) {
            self.set_active(Instant::now());
        }
    }
}

impl Default for Conduct {
    fn default() -> Self {
        let (spoke, deaf, written_to) = Default::default();
        Self { spoke, deaf, written_to, active: Mutex::new(Instant::now()) }
    }
}

/// A stream whose writes fail when not one byte could be written for `stall`.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    stall: Duration,
    /// Runs while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
    conduct: Arc<Conduct>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Self {
        // Answers are small and somebody waits for each. It is no harm if that cannot be switched on.
        let _ = stream.set_nodelay(true);
        Self { stream, stall, waits: None, conduct: Arc::default() }
    }

    pub(super) fn conduct(&self) -> Arc<Conduct> {
        Arc::clone(&self.conduct)
    }

    fn within_the_stall(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.conduct.set_written_to(written.is_pending());
        if written.is_ready() {
            self.waits = None;
            self.conduct.spoke.store(false, Ordering::Relaxed);
            return written;
        }
        let stall = self.stall;
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(waits.as_mut().poll(cx));
        self.conduct.deaf.store(true, Ordering::Relaxed);
        // Otherwise the kernel would go on trying to deliver what was not read. It is no harm if that cannot be switched off.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.conduct.speaks();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.within_the_stall(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.within_the_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_waits_to_be_written_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(60));
        let conduct = socket.conduct();
        let mut write = || {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            Pin::new(&mut socket).poll_write(&mut cx, &[0; 65_536])
        };
        while write().is_ready() {
            assert!(!conduct.is_written_to());
        }
        assert!(conduct.is_written_to());

        let before = conduct.last_active();
        let mut room = vec![0; 1 << 20];
        while write().is_pending() {
            // Not by waiting for something to read: nobody writes meanwhile.
            _ = client.try_read(&mut room);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!conduct.is_written_to() && conduct.last_active() > before);
    }
}
