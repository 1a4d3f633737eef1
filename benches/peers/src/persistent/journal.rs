//! What the floors share: a thread that appends a record of each command to one plain file and answers when it is synced. No entities.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use super::IN_FLIGHT;
use crate::work::{Plan, rates};

/// What one command of Holm stores, roughly.
const RECORD: [u8; 128] = [7; 128];

type Reply = oneshot::Sender<u64>;

/// Measures with so many commands in one `fdatasync` at most.
pub(super) fn run(plan: &Plan, at_once: usize) -> anyhow::Result<Vec<f64>> {
    let dir = plan.scratch()?;
    let path = dir.path().join("journal");
    let file = OpenOptions::new().create_new(true).append(true).open(path)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let journal = start(file, at_once)?;
        let asked: Arc<[_]> = std::iter::repeat_n(journal, plan.entities).collect();
        rates(plan, &IN_FLIGHT, asked, |asked, index| async move {
            let (reply, answer) = oneshot::channel();
            asked[index].send(reply).context("the journal has stopped")?;
            answer.await.context("the journal could not be written")
        })
        .await
    })
}

fn start(file: File, at_once: usize) -> Result<mpsc::UnboundedSender<Reply>> {
    let (sender, asked) = mpsc::unbounded_channel();
    let work = move || write(file, asked, at_once);
    // It ends with the callers, or with an error, which they see in replies that are dropped.
    std::thread::Builder::new().name("journal".to_owned()).spawn(work)?;
    Ok(sender)
}

fn write(mut file: File, mut asked: mpsc::UnboundedReceiver<Reply>, at_once: usize) -> Result<()> {
    let (mut waiting, mut bytes, mut written) = (Vec::new(), Vec::new(), 0);
    while asked.blocking_recv_many(&mut waiting, at_once) > 0 {
        bytes.clear();
        waiting.iter().for_each(|_| bytes.extend(RECORD));
        file.write_all(&bytes)?;
        file.sync_data()?;
        for reply in waiting.drain(..) {
            written += 1;
            // A caller that was stopped at the end of the run wants no answer.
            _ = reply.send(written);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_file_when_it_is_answered() {
        for at_once in [1, 1_024] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let journal = start(file.reopen().unwrap(), at_once).unwrap();
            let mut answers = Vec::new();
            for _ in 0..100 {
                let (reply, answer) = oneshot::channel();
                journal.send(reply).unwrap();
                answers.push(answer);
            }
            let answers: Vec<_> =
                answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
            assert_eq!(answers, (1..=100).collect::<Vec<_>>());
            let bytes = file.as_file_mut().metadata().unwrap().len();
            assert_eq!(bytes, 100 * RECORD.len() as u64);
        }
    }
}
