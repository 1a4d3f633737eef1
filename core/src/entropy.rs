//! The entropy seam: the only place where Holm asks for randomness.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A source of random numbers. Seeded in tests, so that a run can be repeated.
pub trait Entropy: Send + 'static {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// The next 128 random bits.
    #[inline]
    fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number in `0..bound`.
    ///
    /// # Panics
    /// When `bound` is zero.
    fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        // Multiply-shift (Lemire 2019, without the rejection step): the bias is bound / 2^64, far below what a retry or a test notices.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of 128 bits fits 64")
    }
}

/// A repeatable source: SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct SeededEntropy(u64);

impl SeededEntropy {
    /// A source whose whole future follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Entropy for SeededEntropy {
    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The operating system's randomness, by way of UUID version 4 bits; fit for ids and keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place where randomness enters")]
    fn next_u64(&mut self) -> u64 {
        // Two draws: a version 4 UUID fixes 6 of its 128 bits, all of them in the middle, so the outer halves are taken.
        let bits = uuid::Uuid::new_v4().as_u128();
        let high = u64::try_from(bits >> 96).expect("32 bits fit 64");
        let low = u64::try_from(bits & 0xFFFF_FFFF).expect("32 bits fit 64");
        (high << 32) | low
    }
}

impl SeededEntropy {
    /// A source seeded once by the operating system: fast, different in each process, not for secrets.
    #[must_use]
    pub fn from_os() -> Self {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(OsEntropy.next_u64());
        Self::new(hasher.finish())
    }
}
