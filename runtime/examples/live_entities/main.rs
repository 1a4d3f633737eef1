//! What a live entity takes in memory beyond its state, and what a passivated one leaves behind.
//!
//! `cargo run --release --example live_entities -- [live] [passivated]`, by default 100,000 and 1,000,000. Linux only: it reads `/proc`.

mod measure;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let live = numbers.next().unwrap_or(Ok(100_000))?;
    let passivated = numbers.next().unwrap_or(Ok(1_000_000))?;
    let measured = measure::measure(live, passivated)?;
    println!("{} live entities, state of {} bytes each", measured.live, measured.state_bytes);
    println!("{:.1} bytes for each live entity beyond its state", measured.bytes_beyond_state());
    println!(
        "{} were passivated, {} bytes more than before them",
        measured.passivated, measured.left_behind
    );
    Ok(())
}
