//! Memory per live entity, measured in a process of its own.

#![cfg(target_os = "linux")]

#[path = "../../examples/live_entities/measure.rs"]
mod measure;

const CHILD: &str = "HOLM_MEASURE_MEMORY";

/// A live entity takes at most 200 bytes beyond its state (the first key of its window included), and a passivated one leaves nothing behind.
#[test]
fn a_live_entity_is_small() {
    if std::env::var_os(CHILD).is_some() {
        let measured = measure::measure(50_000, 1, 50_000).unwrap();
        assert_eq!((measured.live, measured.passivated), (50_000, 50_000));
        println!(
            "beyond-state {} left-behind {}",
            measured.bytes_beyond_state(),
            measured.left_behind
        );
        return;
    }
    // Other tests of this process would be measured too.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::a_live_entity_is_small", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "beyond-state");
    let beyond: f64 = words.nth(1).unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    let left: u64 = words.nth(1).unwrap().parse().unwrap();
    assert!((0.0..=200.0).contains(&beyond), "{beyond} bytes a live entity");
    // The hash table and the list of vacant slots may still grow once; entities that stay would be 10 MB.
    assert!(left < 1_000_000, "{left} bytes are left of 50,000 passivated entities");
}
