//! The floor: bodies of a fixed length over one connection of plain tokio, sent back as they come.

use std::io::Result;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

pub(crate) struct Echo {
    stream: TcpStream,
    server: JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            if let Ok((stream, _)) = listener.accept().await {
                // It ends with an error when the other side goes.
                let _ = send_back(stream).await;
            }
        });
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, server })
    }

    /// Sends a body `times` times with so many in flight: as many as came back are sent again.
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    pub(crate) async fn echo(
        &mut self,
        body: &[u8],
        in_flight: u64,
        times: u64,
    ) -> Result<Duration> {
        let mut buffer = vec![0; BUFFER];
        let began = std::time::Instant::now();
        let (mut sent, mut bytes) = (in_flight.min(times), 0);
        self.send(body, sent).await?;
        while bytes / body.len() as u64 != times {
            let before = bytes / body.len() as u64;
            bytes += read(&mut self.stream, &mut buffer).await?;
            let next = (bytes / body.len() as u64 - before).min(times - sent);
            sent += next;
            self.send(body, next).await?;
        }
        Ok(began.elapsed())
    }

    async fn send(&mut self, body: &[u8], times: u64) -> Result<()> {
        if times == 0 {
            return Ok(());
        }
        self.stream.write_all(&body.repeat(usize::try_from(times).expect("it fits"))).await
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn send_back(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = read(&mut stream, &mut buffer).await?;
        stream.write_all(&buffer[..fits(length)]).await?;
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<u64> {
    match stream.read(buffer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length as u64),
    }
}

fn fits(number: u64) -> usize {
    usize::try_from(number).expect("it fits")
}
