//! What all fuzz targets share: they hand their input to a door of a crate, or write the seeds of that door.
//!
//! Run them by `cargo xtask fuzz`, which says which limits hold.

#[doc(hidden)]
pub use libfuzzer_sys;

/// A folder into which the seeds of a target are written instead of fuzzing.
const SEEDS: &str = "HOLM_FUZZ_SEEDS";

/// A target: the door that takes an input, and the function that makes its seeds.
#[macro_export]
macro_rules! target {
    ($door:path, $seeds:path) => {
        $crate::libfuzzer_sys::fuzz_target!(init: $crate::write_seeds(&$seeds()), |data: &[u8]| {
            $door(data);
        });
    };
}

/// When a folder is named, writes the seeds into it, each under a name that follows from its bytes, and ends the process.
pub fn write_seeds(seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os(SEEDS) else { return };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).expect("the folder of the seeds can be made");
    for seed in seeds {
        let name = format!("seed-{:08x}-{}", crc32c::crc32c(seed), seed.len());
        std::fs::write(folder.join(name), seed).expect("a seed can be written");
    }
    std::process::exit(0);
}
