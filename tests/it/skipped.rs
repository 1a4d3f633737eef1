//! What a test leaves out because this machine lacks something for it. It must be seen: what a passing test prints is swallowed by libtest, unless it
//! writes to the stream itself. `.ci/run` lists these lines at its end.

use std::io::Write as _;

/// Says that the running test, or a part of it, is left out.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    // libtest names the thread after its test.
    let test = thread.name().unwrap_or("a test");
    let reason = reason.trim().replace('\n', "; ");
    let line = format!("skipped: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}
