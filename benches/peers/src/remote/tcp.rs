//! The floor under every remote ask: one connection of tokio, frames with their length in front, as many in one write as are waiting, and sent back as
//! they come. No actors, no routing, no deadlines.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::other_process::{OtherProcess, tell};
use crate::work::{Plan, REMOTE_IN_FLIGHT, rates};

/// Bytes of a frame behind its length, about what a small command takes on the wire.
const BODY: usize = 64;

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

type Reply = oneshot::Sender<u64>;

/// Asks whose answers are to come, in the order in which they were sent.
type Waiting = Arc<Mutex<VecDeque<Reply>>>;

pub(super) fn serve(_: &Plan) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            if let Ok((stream, _)) = listener.accept().await {
                // It ends with an error when the other side goes.
                _ = send_back(stream).await;
            }
        });
        tell(address).await
    })
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let other = OtherProcess::start("tcp", plan)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let stream = TcpStream::connect(&other.told).await?;
        stream.set_nodelay(true)?;
        let asker = asker(stream);
        let asked: Arc<[_]> = std::iter::repeat_n(asker, plan.entities).collect();
        rates(plan, &REMOTE_IN_FLIGHT, asked, |asked, index| async move {
            let (reply, answer) = oneshot::channel();
            asked[index].send(reply).context("the connection is closed")?;
            Ok(answer.await?)
        })
        .await
    })
}

/// Sends what it is given, and answers when it comes back.
fn asker(stream: TcpStream) -> mpsc::UnboundedSender<Reply> {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let (read, mut write) = stream.into_split();
    let waiting = Waiting::default();
    // Both end when the connection does; the asks that wait then see their replies dropped.
    tokio::spawn(answer(BufReader::with_capacity(BUFFER, read), Arc::clone(&waiting)));
    tokio::spawn(async move {
        let (mut next, mut frames) = (Vec::new(), Vec::new());
        while asked.recv_many(&mut next, BUFFER / BODY).await > 0 {
            frames.clear();
            for number in 0..next.len() as u64 {
                frames.extend((BODY as u32).to_be_bytes());
                frames.extend(number.to_be_bytes());
                frames.extend([7; BODY - 8]);
            }
            locked(&waiting).extend(next.drain(..));
            write.write_all(&frames).await?;
        }
        Ok::<_, Error>(())
    });
    sender
}

async fn answer(mut read: BufReader<impl tokio::io::AsyncRead + Unpin>, waiting: Waiting) {
    let mut body = [0; BODY];
    loop {
        let came = match read.read_u32().await {
            Ok(length) if length as usize == BODY => read.read_exact(&mut body).await,
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(error) => Err(error),
        };
        let Some(reply) = locked(&waiting).pop_front().filter(|_| came.is_ok()) else {
            // Whoever waits is told by the drop.
            locked(&waiting).clear();
            return;
        };
        let number = body.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        // A caller that was stopped at the end of the run wants no answer.
        _ = reply.send(number);
    }
}

/// Sends whole frames back, all that came at once in one write.
async fn send_back(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
        let whole = whole_frames(&buffer[..filled])?;
        stream.write_all(&buffer[..whole]).await?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Bytes of the frames at the beginning that are there to their end.
fn whole_frames(bytes: &[u8]) -> Result<usize> {
    let mut at = 0;
    while let Some(length) = bytes[at..].first_chunk() {
        let end = at + length.len() + u32::from_be_bytes(*length) as usize;
        if end - at > BUFFER {
            return Err(ErrorKind::InvalidData.into());
        }
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    Ok(at)
}

fn locked(waiting: &Waiting) -> std::sync::MutexGuard<'_, VecDeque<Reply>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_not_all_there_waits() {
        let frame = [[0, 0, 0, 2].as_slice(), &[1, 2]].concat();
        assert_eq!(whole_frames(&[]).unwrap(), 0);
        assert_eq!(whole_frames(&frame[..5]).unwrap(), 0);
        assert_eq!(whole_frames(&[&frame[..], &frame[..3]].concat()).unwrap(), frame.len());
        assert!(whole_frames(&[0xff; 8]).is_err());
    }
}
