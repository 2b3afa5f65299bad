//! One word in the labels of a light cone: bits of fixed width, and what the gates ask of them.

use crate::pauli::Letter;
use crate::pauli::word::product_power;

/// The x and z bits of a word.
pub(crate) type Key<const W: usize> = ([u64; W], [u64; W]);

/// Where the index looks for a word.
pub(super) fn hash<const W: usize>(x: &[u64; W], z: &[u64; W]) -> u64 {
    let mut h = 0u64;
    for i in 0..W {
        h = (h ^ x[i]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        h = (h ^ z[i]).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    h ^ h >> 32
}

/// The number of letters.
pub(super) fn weight<const W: usize>(x: &[u64; W], z: &[u64; W]) -> usize {
    (0..W).map(|i| (x[i] | z[i]).count_ones() as usize).sum()
}

/// The power of `i` in the product of two words.
pub(crate) fn power<const W: usize>(a: &Key<W>, b: &Key<W>) -> u32 {
    (0..W).fold(0u32, |power, i| power.wrapping_add(product_power(a.0[i], a.1[i], b.0[i], b.1[i]))) & 3
}

/// The word with these letters.
pub(crate) fn key<const W: usize>(letters: impl IntoIterator<Item = (usize, Letter)>) -> Key<W> {
    let (mut x, mut z) = ([0; W], [0; W]);
    for (q, letter) in letters {
        x[q / 64] |= u64::from(letter.x()) << (q % 64);
        z[q / 64] |= u64::from(letter.z()) << (q % 64);
    }
    (x, z)
}

/// The code of a word on a few qubits.
#[inline]
pub(super) fn code_of<const W: usize>(x: &[u64; W], z: &[u64; W], wires: &[usize]) -> usize {
    let mut code = 0;
    for (j, &q) in wires.iter().enumerate() {
        let (word, bit) = (q / 64, q % 64);
        code |= ((x[word] >> bit & 1) | (z[word] >> bit & 1) << 1) << (2 * j);
    }
    code as usize
}

/// Flips the bits of a code difference.
#[inline]
pub(super) fn set_code<const W: usize>(
    x: &mut [u64; W],
    z: &mut [u64; W],
    wires: &[usize],
    difference: usize,
) {
    for (j, &q) in wires.iter().enumerate() {
        let (word, bit) = (q / 64, q % 64);
        x[word] ^= ((difference >> (2 * j) & 1) as u64) << bit;
        z[word] ^= ((difference >> (2 * j + 1) & 1) as u64) << bit;
    }
}
