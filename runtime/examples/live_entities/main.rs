//! What a live entity takes in memory beyond its state, by how many idempotency keys it remembers, and what a passivated one leaves behind.
//!
//! `cargo run --release --example live_entities -- [live] [passivated] [keys]`, by default 100,000, 1,000,000 and 1. Linux only: it reads `/proc`.

mod measure;

use measure::Measured;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let live = numbers.next().unwrap_or(Ok(100_000))?;
    let passivated = numbers.next().unwrap_or(Ok(1_000_000))?;
    let keys = numbers.next().unwrap_or(Ok(1))?;
    let measured = measure::measure(live, keys, passivated)?;
    let Measured { live, state_bytes, .. } = measured;
    println!("{live} live entities, state of {state_bytes} bytes and {keys} remembered keys each");
    println!("{:.1} bytes for each live entity beyond its state", measured.bytes_beyond_state());
    println!(
        "{} were passivated, {} bytes more than before them",
        measured.passivated, measured.left_behind
    );
    Ok(())
}
