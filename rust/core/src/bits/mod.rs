//! Packed bits and the machinery that every stage shares.
//!
//! Invariant: a row of `n` bits is `words_for(n)` consecutive `u64`, bit `q` at `q % 64` of word `q / 64`, and
//! the bits past `n` in the last word are zero. Everything here is independent of what the bits mean.

pub mod dispatch;
pub mod parallel;
pub mod philox;
pub(crate) mod population;
pub mod transpose;

/// Number of `u64` that hold `bits` bits.
#[inline]
pub const fn words_for(bits: usize) -> usize {
    bits.div_ceil(64)
}

/// Mask of the bits of word `index` that lie below `bits` (all ones for a full word, zero past the end).
#[inline]
pub const fn tail_mask(bits: usize, index: usize) -> u64 {
    let start = index * 64;
    if bits >= start + 64 {
        u64::MAX
    } else if bits <= start {
        0
    } else {
        (1u64 << (bits - start)) - 1
    }
}
