//! BLAKE2b with a key and 8 bytes of digest (RFC 7693), of messages of one block: what stands before a frame.
//!
//! Python reads what is written here, by `hashlib.blake2b(message, digest_size=8, key=key)`.

const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
const ORDER: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/// Columns, and then diagonals.
const PLACES: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];
const BLOCK: usize = 128;
const DIGEST: u64 = 8;

/// The digest of a message of at most a block, by a key of 1 to 64 bytes.
pub(super) fn keyed(key: &[u8], message: &[u8]) -> [u8; 8] {
    assert!((1..=64).contains(&key.len()) && message.len() <= BLOCK, "a key, and a block at most");
    let mut state = INITIAL;
    state[0] ^= 0x0101_0000 ^ ((key.len() as u64) << 8) ^ DIGEST;
    // The key is a block of its own.
    compress(&mut state, key, BLOCK as u64, message.is_empty());
    if !message.is_empty() {
        compress(&mut state, message, (BLOCK + message.len()) as u64, true);
    }
    state[0].to_le_bytes()
}

fn compress(state: &mut [u64; 8], bytes: &[u8], count: u64, is_last: bool) {
    let mut padded = [0; BLOCK];
    padded[..bytes.len()].copy_from_slice(bytes);
    let (words, _) = padded.as_chunks::<8>();
    let word = |k: usize| u64::from_le_bytes(words[k]);
    let mut v = [0; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&INITIAL);
    v[12] ^= count;
    if is_last {
        v[14] = !v[14];
    }
    for round in 0..12 {
        for (i, [a, b, c, d]) in PLACES.into_iter().enumerate() {
            let order = &ORDER[round % 10];
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(word(order[2 * i]));
            v[d] = (v[d] ^ v[a]).rotate_right(32);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(24);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(word(order[2 * i + 1]));
            v[d] = (v[d] ^ v[a]).rotate_right(16);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(63);
        }
    }
    for i in 0..8 {
        state[i] ^= v[i] ^ v[i + 8];
    }
}

#[cfg(test)]
mod tests {
    use super::keyed;

    /// What hashlib says.
    #[test]
    fn digests_are_those_of_blake2b() {
        let message: Vec<u8> = (0..=255).collect();
        let wanted = [
            (1, 0, 0xd6e2_912e_3da4_2186_u64),
            (16, 16, 0x7e63_fafa_3b9b_6180_u64),
            (16, 128, 0x3476_ef1b_ae9e_2e0d_u64),
            (64, 127, 0xecf1_81b8_c847_95ab_u64),
        ];
        for (key, length, digest) in wanted {
            let key: Vec<u8> = (100..).take(key).collect();
            assert_eq!(keyed(&key, &message[..length]), digest.to_be_bytes());
        }
    }
}
