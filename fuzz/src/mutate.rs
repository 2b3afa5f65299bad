//! Inputs as a pure function of (seed, number): what has failed once fails again.

use efl_core::bits::philox::philox;

/// Random numbers of one input.
struct Draw {
    key: [u64; 2],
    counter: u64,
}

impl Draw {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        philox(self.key, [self.counter, 0, 0, 0])[0]
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// Numbers at which sizes tend to break.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    3,
    63,
    64,
    65,
    255,
    1 << 20,
    (1 << 20) + 1,
    1 << 32,
    1 << 33,
    1 << 57,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Input `number` under `seed`: a few changes to one of the valid inputs.
pub fn input(seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut draw = Draw { key: [seed, number], counter: 0 };
    let mut bytes = seeds[draw.below(seeds.len())].clone();
    for _ in 0..1 + draw.below(4) {
        change(&mut bytes, seeds, &mut draw);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], draw: &mut Draw) {
    let at = draw.below(bytes.len());
    match draw.below(9) {
        _ if bytes.is_empty() => bytes.push(draw.next() as u8),
        0 => bytes[at] ^= 1 << draw.below(8),
        1 => bytes[at] = draw.next() as u8,
        2 | 3 => {
            // A whole number, where the formats have them.
            let at = at / 8 * 8;
            let value = match draw.below(3) {
                0 => draw.next(),
                _ => EDGES[draw.below(EDGES.len())],
            };
            value.to_le_bytes().iter().zip(&mut bytes[at..]).for_each(|(value, byte)| *byte = *value);
        }
        4 => {
            let at = at / 8 * 8;
            if let Some(word) = bytes[at..].first_chunk_mut::<8>() {
                let step = [1, 2, 64, u64::MAX][draw.below(4)];
                *word = u64::from_le_bytes(*word).wrapping_add(step).to_le_bytes();
            }
        }
        5 => bytes.truncate(at),
        6 => {
            let end = (at + 1 + draw.below(24)).min(bytes.len());
            bytes.drain(at..end);
        }
        7 => {
            let end = (at + 1 + draw.below(24)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            let to = draw.below(bytes.len());
            bytes.splice(to..to, copied);
        }
        _ => {
            let other = &seeds[draw.below(seeds.len())];
            let from = draw.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
