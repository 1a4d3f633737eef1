//! What this process logs while its tests run, for those that expect a line. All tests share it, so that a line is known by the address in it.

use std::io;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// Long enough for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What is kept: the warnings, and how connections between nodes ended.
const KEPT: &str = "warn,holm_sharding::transport=debug";

/// Keeps what is logged from now on.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let format =
            tracing_subscriber::fmt().with_env_filter(EnvFilter::new(KEPT)).with_ansi(false);
        format.with_writer(|| Keeper).init();
    });
}

/// Waits until a line holds all of this.
pub(crate) async fn logged(wanted: &[&str]) -> String {
    let search = async {
        loop {
            let found = lines().into_iter().find(|it| wanted.iter().all(|word| it.contains(word)));
            match found {
                Some(line) => return line,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(line) => line,
        Err(_) => panic!("no line holds {wanted:?}:\n{}", lines().concat()),
    }
}

fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Keeper;

impl io::Write for Keeper {
    /// One call for each line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
