//! A process's end of a connection, of an attempt to connect, and of an address that it listens on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use holm_sharding::{Connection, Listening};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{ConnId, Packet, Read, Side};
use super::{Host, Wires};

/// One end of a connection.
pub(super) struct SimulatedStream {
    wires: Wires,
    id: ConnId,
    side: Side,
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.wires.lock().let_go(self.id, self.side);
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wires.lock();
        let Some(conn) = state.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        match conn.read(self.side, buffer, cx.waker()) {
            Read::Some | Read::End => Poll::Ready(Ok(())),
            Read::Failed(kind) => Poll::Ready(Err(kind.into())),
            Read::Nothing => Poll::Pending,
        }
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.wires.lock();
        let Some(conn) = state.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        match conn.room(self.side, cx.waker()) {
            Err(kind) => Poll::Ready(Err(kind.into())),
            Ok(0) => Poll::Pending,
            Ok(room) => {
                let length = room.min(bytes.len());
                conn.note_sent(self.side, length);
                let packet = Packet::Bytes(Bytes::copy_from_slice(&bytes[..length]));
                state.send(self.id, self.side.other(), packet);
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.wires.lock();
        if state.connections.get_mut(&self.id).is_some_and(|conn| conn.note_end(self.side)) {
            state.send(self.id, self.side.other(), Packet::End);
        }
        Poll::Ready(Ok(()))
    }
}

/// An attempt to connect.
pub(super) struct Connecting {
    stream: Option<SimulatedStream>,
}

impl Connecting {
    pub(super) fn new(wires: Wires, id: ConnId) -> Self {
        Self { stream: Some(SimulatedStream { wires, id, side: Side::Dialler }) }
    }
}

impl Future for Connecting {
    type Output = io::Result<Connection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(stream) = &self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let attempt = {
            let mut state = stream.wires.lock();
            match state.connections.get_mut(&stream.id) {
                Some(conn) => conn.attempt(cx.waker()),
                None => Some(Err(io::ErrorKind::ConnectionReset)),
            }
        };
        match attempt {
            None => Poll::Pending,
            Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            Some(Ok(())) => match self.stream.take() {
                Some(stream) => Poll::Ready(Ok(Box::new(stream))),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            },
        }
    }
}

/// An address that a process listens on.
pub(super) struct SimulatedListener {
    wires: Wires,
    host: Host,
    life: u64,
}

impl SimulatedListener {
    pub(super) fn new(wires: Wires, host: Host, life: u64) -> Self {
        Self { wires, host, life }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        let mut state = self.wires.lock();
        let mine = state.listeners.get_mut(&self.host).filter(|mine| mine.life == self.life);
        let Some(listener) = mine else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match listener.backlog.pop_front() {
            Some((id, from)) => {
                drop(state);
                let (wires, side) = (self.wires.clone(), Side::Acceptor);
                let stream: Connection = Box::new(SimulatedStream { wires, id, side });
                Poll::Ready(Ok((stream, from.address())))
            }
            None => {
                listener.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Listening for SimulatedListener {
    fn address(&self) -> SocketAddr {
        self.host.address()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        Box::pin(std::future::poll_fn(|cx| self.poll_accept(cx)))
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let mut state = self.wires.lock();
        let mine = state.listeners.get(&self.host).is_some_and(|mine| mine.life == self.life);
        if mine {
            // Connections that nobody accepted are closed with it.
            if let Some(listener) = state.listeners.remove(&self.host) {
                for (id, _) in listener.backlog {
                    state.let_go(id, Side::Acceptor);
                }
            }
        }
    }
}
