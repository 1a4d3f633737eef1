//! A connection of the transport: TCP, or what another network gives.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::surroundings::{Connection, Listening, Surroundings};

/// Bytes that may wait unsent inside the system. Beyond it the writer keeps them, where priority still counts.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A connection, made or accepted.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Given(Connection),
}

/// Its reading half.
pub(crate) enum Reading {
    Tcp(OwnedReadHalf),
    Given(ReadHalf<Connection>),
}

/// Its writing half.
pub(crate) enum Writing {
    Tcp(OwnedWriteHalf),
    Given(WriteHalf<Connection>),
}

impl Stream {
    /// Connects to an address; the connection begins at `near`, when it is given.
    pub(crate) async fn connect(
        surroundings: &Surroundings,
        to: SocketAddr,
        near: Option<SocketAddr>,
    ) -> io::Result<Self> {
        if let Some(network) = surroundings.network() {
            return network.connect(to).await.map(Self::Given);
        }
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(near) = near {
            socket.bind(near)?;
        }
        let stream = socket.connect(to).await?;
        // On one machine the system may pick the very port that is dialled for the near end too; then nobody listens there.
        if stream.local_addr().ok() == Some(to) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        prepare(&stream);
        Ok(Self::Tcp(stream))
    }

    pub(crate) fn into_split(self) -> (Reading, Writing) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (Reading::Tcp(read), Writing::Tcp(write))
            }
            Self::Given(stream) => {
                let (read, write) = tokio::io::split(stream);
                (Reading::Given(read), Writing::Given(write))
            }
        }
    }
}

/// Where connections come in.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Given(Box<dyn Listening>),
}

impl Listener {
    pub(crate) async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                prepare(&stream);
                Ok((Stream::Tcp(stream), remote))
            }
            Self::Given(listener) => {
                let (stream, remote) = listener.accept().await?;
                Ok((Stream::Given(stream), remote))
            }
        }
    }
}

/// Sets what every connection wants: small messages at once, and no long queue inside the system.
fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "cannot bound what the system queues");
    }
}

/// Reading and writing go to whichever it is.
macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
                    Self::Given(stream) => Pin::new(stream).poll_read(cx, buffer),
                }
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
                    Self::Given(stream) => Pin::new(stream).poll_write(cx, bytes),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
                    Self::Given(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::Given(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

reads!(Stream);
writes!(Stream);
reads!(Reading);
writes!(Writing);
