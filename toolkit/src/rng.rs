//! Random numbers that are the same on every machine and for every version of the dependencies.

/// SplitMix64 generator (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014). A run is reproducible only if its random numbers are, so the generator is part of
/// this crate, and small.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

/// Odd integer nearest to 2⁶⁴/φ.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// Generator with a key, for example a seed, an epoch and the purpose of the numbers. Keys that
    /// differ in a part, in the order of the parts or in their number give unrelated numbers.
    pub fn new(key: &[u64]) -> Self {
        let state =
            key.iter().fold(key.len() as u64, |state, part| mix(state.wrapping_add(GAMMA)) ^ part);
        Rng { state: mix(state) }
    }

    /// Returns 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Returns a number in `0..n`, each with the same probability.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "there is no number below 0");
        let n = n as u64;
        // The first 2⁶⁴ mod n values would make small numbers likelier.
        let unfair = n.wrapping_neg() % n;
        loop {
            let value = self.next_u64();
            if value >= unfair {
                return (value % n) as usize;
            }
        }
    }

    /// Returns a number in `[0, 1)`, a multiple of 2⁻²⁴ (the finest even spacing of an f32).
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Returns a normally distributed number, mean 0 and standard deviation 1 (Box and Muller
    /// 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * f64::from(1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(self.uniform())).cos()) as f32
    }

    /// Shuffles the items (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // Published sequence of the seed 1234567.
        let mut rng = Rng { state: 1_234_567 };
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_part_of_a_key_counts() {
        let keys: [&[u64]; 7] = [&[], &[0], &[0, 0], &[1], &[1, 2], &[2, 1], &[1, 3]];
        let first: std::collections::HashSet<u64> =
            keys.iter().map(|k| Rng::new(k).next_u64()).collect();
        assert_eq!(first.len(), keys.len());
        assert_eq!(Rng::new(&[1, 2]).next_u64(), Rng::new(&[1, 2]).next_u64());
    }

    #[test]
    fn numbers_stay_in_their_range_and_fill_it() {
        let mut rng = Rng::new(&[1]);
        let mut counts = [0; 3];
        for _ in 0..30_000 {
            counts[rng.below(3)] += 1;
            let u = rng.uniform();
            assert!((0.0..1.0).contains(&u));
        }
        assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut rng = Rng::new(&[7]);
        let x: Vec<f32> = (0..100_000).map(|_| rng.normal()).collect();
        let mean = x.iter().sum::<f32>() / 1e5;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::new(&[5]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
