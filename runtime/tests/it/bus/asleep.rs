//! What subscribers hold that have fallen asleep, measured in processes of their own.

#![cfg(target_os = "linux")]

use holm_runtime::bus::{Interest, Start};

use super::Node;

/// Its value is how many sleep.
const CHILD: &str = "HOLM_MEASURE_SLEEPERS";

const SLEEPERS: u64 = 64;

/// Promise G8: memory stays flat when subscribers sleep. If each of them kept what happens meanwhile, they would hold hundreds of megabytes.
#[tokio::test]
async fn subscribers_that_sleep_hold_nothing_of_what_happens_meanwhile() {
    if let Ok(sleepers) = std::env::var(CHILD) {
        println!("\ngrown {}", growth_beside(sleepers.parse().unwrap()).await);
        return;
    }
    let (without, with) = (grown_apart(0), grown_apart(SLEEPERS));
    let more = with.saturating_sub(without);
    // A hundredth of what happened, for each of them.
    assert!(without > 8 << 20, "{without} bytes for all that happened");
    assert!(more < SLEEPERS * without / 100, "{more} bytes more than {without}");
}

/// By how many bytes the process grows while much happens and so many sleep.
async fn growth_beside(sleepers: u64) -> u64 {
    let node = Node::start().await;
    let mut asleep = Vec::new();
    for _ in 0..sleepers {
        let interest = Interest::everything();
        asleep.push(node.bus().subscribe(interest, Start::Now).await.unwrap());
    }
    node.deposits(100, 1).await;
    for subscription in &mut asleep {
        subscription.next().await.unwrap();
    }
    let before = resident_bytes();
    for _ in 0..300 {
        node.deposits(100, 1).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    // They are all there until now.
    drop(asleep);
    node.host.stop().await;
    grown
}

fn grown_apart(sleepers: u64) -> u64 {
    let test = "bus::asleep::subscribers_that_sleep_hold_nothing_of_what_happens_meanwhile";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, sleepers.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let grown = text.lines().find_map(|line| line.strip_prefix("grown ")?.parse().ok());
    grown.unwrap_or_else(|| panic!("{text}"))
}

/// The memory of this process that is really there.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
