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

#[cfg(test)]
mod tests {
    use super::*;

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
