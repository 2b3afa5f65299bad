//! Transposition of 64 x 64 bit blocks: the converter between rows and planes.
//!
//! Six rounds of masked swaps of sub-blocks, halving their size each round: about 400 operations per block,
//! of which the first four rounds vectorise. Invariant: an involution.

/// Transposes in place: bit `c` of `block[r]` and bit `r` of `block[c]` change places.
#[inline(always)]
pub fn transpose_64(block: &mut [u64; 64]) {
    #[inline(always)]
    fn round<const J: usize>(block: &mut [u64; 64], mask: u64) {
        for pair in block.chunks_exact_mut(2 * J) {
            let (low, high) = pair.split_at_mut(J);
            for (a, b) in low.iter_mut().zip(high) {
                let swap = ((*a >> J) ^ *b) & mask;
                *b ^= swap;
                *a ^= swap << J;
            }
        }
    }
    round::<32>(block, 0x0000_0000_FFFF_FFFF);
    round::<16>(block, 0x0000_FFFF_0000_FFFF);
    round::<8>(block, 0x00FF_00FF_00FF_00FF);
    round::<4>(block, 0x0F0F_0F0F_0F0F_0F0F);
    round::<2>(block, 0x3333_3333_3333_3333);
    round::<1>(block, 0x5555_5555_5555_5555);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_bit_by_bit_definition_and_is_an_involution() {
        let mut seed = 1u64;
        let block: [u64; 64] = std::array::from_fn(|_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed ^ (seed >> 29)
        });
        let naive: [u64; 64] =
            std::array::from_fn(|r| (0..64).fold(0, |row, c| row | ((block[c] >> r) & 1) << c));
        let mut fast = block;
        transpose_64(&mut fast);
        assert_eq!(fast, naive);
        transpose_64(&mut fast);
        assert_eq!(fast, block);
    }
}
