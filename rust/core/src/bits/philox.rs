//! Addressed random numbers: Philox4x64-10.
//!
//! A block of 256 random bits is a pure function of (key, counter), so any worker can make the numbers of any
//! snapshot without making those before it, and results cannot depend on the number of threads. The key is
//! (seed, stream), the counter names what the numbers are for.
//!
//! Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11. Bit-identical to
//! `numpy.random.Philox` (which adds one to the counter before its first block); a golden test holds it.
//! Cost: about 15 ns per block.

const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];

/// The 256 random bits at `counter` under `key`.
#[inline(always)]
pub fn philox(key: [u64; 2], counter: [u64; 4]) -> [u64; 4] {
    let [mut k0, mut k1] = key;
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        let product0 = u128::from(MULTIPLIERS[0]) * u128::from(c0);
        let product1 = u128::from(MULTIPLIERS[1]) * u128::from(c2);
        (c0, c1, c2, c3) = (
            (product1 >> 64) as u64 ^ c1 ^ k0,
            product1 as u64,
            (product0 >> 64) as u64 ^ c3 ^ k1,
            product0 as u64,
        );
    }
    [c0, c1, c2, c3]
}

/// The 53 highest bits as a number in [0, 1).
#[inline(always)]
pub fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The random bits of an address, handed out a few at a time: block after block of a key, counted in the last place of
/// the counter.
pub struct RandomBits {
    key: [u64; 2],
    counter: [u64; 4],
    block: [u64; 4],
    /// Bits of the block that are used up.
    used: u32,
}

impl RandomBits {
    /// The stream that begins at `counter`, whose last place is zero.
    pub fn new(key: [u64; 2], counter: [u64; 3]) -> Self {
        let [a, b, c] = counter;
        RandomBits { key, counter: [a, b, c, 0], block: [0; 4], used: 256 }
    }

    /// The next `count` bits, 1 to 64.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u64 {
        debug_assert!((1..=64).contains(&count));
        let low = self.rest();
        let (held, left) = (64 - self.used % 64, u64::MAX >> (64 - count));
        if count <= held {
            self.used += count;
            return low & left;
        }
        self.used += held;
        let high = self.rest();
        self.used += count - held;
        (low | high << held) & left
    }

    /// What is left of the current 64 bits.
    #[inline(always)]
    fn rest(&mut self) -> u64 {
        if self.used == 256 {
            self.block = philox(self.key, self.counter);
            self.counter[3] += 1;
            self.used = 0;
        }
        self.block[self.used as usize / 64] >> (self.used % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_hand_out_the_bits_of_their_blocks_in_order() {
        let blocks: Vec<u64> = (0..3).flat_map(|i| philox([1, 2], [3, 4, 5, i])).collect();
        let bit = |i: usize| blocks[i / 64] >> (i % 64) & 1;
        let (mut stream, mut at) = (RandomBits::new([1, 2], [3, 4, 5]), 0);
        for count in [1u32, 64, 3, 64, 60, 7, 33, 64, 64, 5, 64, 50] {
            let taken = stream.take(count);
            let expected = (0..count as usize).fold(0, |sum, i| sum | bit(at + i) << i);
            assert_eq!(taken, expected, "{count} bits at {at}");
            at += count as usize;
        }
    }

    /// Golden values: `numpy.random.Philox(key=[7, 11], counter=[1, 2, 3, 4]).random_raw(8)`, numpy 2.
    #[test]
    fn equals_numpy() {
        let numpy_first = philox([7, 11], [2, 2, 3, 4]);
        let numpy_second = philox([7, 11], [3, 2, 3, 4]);
        assert_eq!([numpy_first, numpy_second], GOLDEN);
    }

    const GOLDEN: [[u64; 4]; 2] = [
        [10125691931170090025, 17879589197664366888, 5080460112012780077, 5147403580975277768],
        [12103157370772831616, 6120708482130114508, 6208565770498838734, 6358402781555526718],
    ];

    #[test]
    fn unit_interval_is_half_open() {
        assert_eq!(unit_interval(0), 0.0);
        assert!(unit_interval(u64::MAX) < 1.0);
    }
}
