//! Memory per live entity, measured in a process of its own.

#![cfg(target_os = "linux")]

#[path = "../../examples/live_entities/measure.rs"]
mod measure;

/// Its value is how many keys each entity remembers.
const CHILD: &str = "HOLM_MEASURE_MEMORY";

/// A live entity takes at most 200 bytes beyond its state (the first key of its window included), and a passivated one leaves nothing behind. Each further
/// key takes at most twice its 24 bytes, since the places for them double.
#[test]
fn a_live_entity_is_small() {
    if let Ok(keys) = std::env::var(CHILD) {
        let measured = measure::measure(50_000, keys.parse().unwrap(), 50_000).unwrap();
        assert_eq!((measured.live, measured.passivated), (50_000, 50_000));
        println!(
            "beyond-state {} left-behind {}",
            measured.bytes_beyond_state(),
            measured.left_behind
        );
        return;
    }
    for keys in [1, 5] {
        let (beyond, left) = measured_apart(keys);
        let allowed = 200.0 + f64::from(keys - 1) * 48.0;
        assert!((0.0..=allowed).contains(&beyond), "{beyond} bytes a live entity of {keys} keys");
        // The hash table and the list of vacant slots may still grow once; entities that stay would be 10 MB.
        assert!(left < 1_000_000, "{left} bytes are left of 50,000 passivated entities");
    }
}

/// In a process of its own: other tests of this one would be measured too.
fn measured_apart(keys: u32) -> (f64, u64) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::a_live_entity_is_small", "--nocapture"])
        .env(CHILD, keys.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "beyond-state");
    let beyond = words.nth(1).unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    (beyond, words.nth(1).unwrap().parse().unwrap())
}
