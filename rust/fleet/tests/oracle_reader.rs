//! The reader equals its twin, which goes through words, shots and qubits one at a time; and what it reads is the gradient.

mod common;

use common::{Random, Roster, Size, span};
use efl_core::bits::dispatch::{CpuLevel, cpu_level, set_cpu_level};
use efl_core::estimate::{Calibration, DIRECTIONS};
use efl_fleet::packet::{Bits, encode};
use efl_fleet::reader::{Query, Reader, Scratch, Weights};
use proptest::prelude::*;

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11 * (1.0 + b.abs()))
}

/// A reader without a calibration as format 1 had it.
fn former(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    assert_eq!(bytes[8], 2);
    bytes[8] = 1;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn readings_equal_those_of_single_shots(seed: u64) {
        let mut random = Random::new(seed);
        let roster = Roster::random(Size::random(&mut random), 1, 0, seed);
        let reader = roster.reader(None);
        let sent = roster.queries(span(random.next(), 1, random.next() >> 26, 4), &mut random);
        let (packet, mut scratch) = (sent.decoded(), Scratch::default());
        let settings = usize::from(roster.version.shape().settings);
        prop_assert_eq!(packet.check(&roster.version).unwrap(), sent.numbers.len());
        let queries: Vec<Query<'_>> = Query::all(&roster.version, &packet.span, packet.body).collect();
        prop_assert_eq!(queries.len(), sent.numbers.len());
        for (i, query) in queries.iter().enumerate() {
            prop_assert_eq!(query.number, sent.numbers[i]);
            let own: Vec<f64> = (0..settings * roster.n_outputs).map(|_| random.signed()).collect();
            let weights = Weights::new(&own, roster.n_outputs, settings).unwrap();
            let slow = sent.contribution(&roster, i, &own);
            prop_assert!(close(reader.contribution(query, weights, &mut scratch), &slow));
            // One weight per output is the same weight for every setting.
            let (one, all) = (&own[..roster.n_outputs], own[..roster.n_outputs].repeat(settings));
            let weights = Weights::new(one, roster.n_outputs, settings).unwrap();
            let slow = sent.contribution(&roster, i, &all);
            prop_assert!(close(reader.contribution(query, weights, &mut scratch), &slow));
            let shots = sent.shots(&roster, i);
            prop_assert!(close(reader.shots(query, &mut scratch), &shots.concat()));
            prop_assert!(close(reader.values(query, &mut scratch), &sent.values(&roster, i)));
            for o in 0..roster.n_outputs {
                let positive = shots.iter().filter(|row| row[o] > 0.0).count() as i64;
                let near = shots.iter().any(|row| row[o] != 0.0 && row[o].abs() < 1e-12);
                prop_assert!(near || reader.positive(query, o, &mut scratch) == positive);
            }
        }
    }

    #[test]
    fn a_calibration_is_followed_in_each_direction(seed: u64) {
        let mut random = Random::new(seed);
        let size = Size::random(&mut random);
        let roster = Roster::random(size, 1, 0, seed);
        let n = usize::from(roster.version.shape().n_qubits);
        let mut bits = vec![0u8; 2000 * n];
        (0..20).for_each(|shot| bits[shot * n + random.below(n)] = 1);
        let calibration = Calibration::new(n, &bits, None).unwrap();
        let (plain, reader) = (roster.reader(None), roster.calibrated(None, Some(&calibration)));
        prop_assert_eq!(reader.n_parameters(), (1 + DIRECTIONS) * plain.n_parameters());
        let sent = roster.queries(span(random.next(), 1, 0, 2), &mut random);
        let (packet, mut scratch) = (sent.decoded(), Scratch::default());
        let settings = usize::from(roster.version.shape().settings);
        for (i, query) in Query::all(&roster.version, &packet.span, packet.body).enumerate() {
            let own: Vec<f64> = (0..settings * roster.n_outputs).map(|_| random.signed()).collect();
            let weights = Weights::new(&own, roster.n_outputs, settings).unwrap();
            let values = plain.contribution(&query, weights, &mut scratch).to_vec();
            let all = reader.contribution(&query, weights, &mut scratch).to_vec();
            let mut parts = all.chunks_exact(plain.n_parameters());
            prop_assert_eq!(parts.next().unwrap(), values);
            for (k, part) in parts.enumerate() {
                prop_assert!(close(part, &sent.contribution(&roster.wrong(&calibration, k), i, &own)));
            }
        }
        let bytes = reader.to_bytes();
        prop_assert!(Reader::from_bytes(&bytes).unwrap() == reader);
        prop_assert!(plain == Reader::from_bytes(&former(plain.to_bytes())).unwrap());
    }

    #[test]
    fn packed_rows_and_bytes_make_the_same_packet(seed: u64) {
        let mut random = Random::new(seed);
        let size = Size { teach: 1.0, ..Size::random(&mut random) };
        let roster = Roster::random(size, 1, 0, seed);
        let sent = roster.queries(span(5, 1, 0, 3), &mut random);
        let rows = |bits: &[u8]| -> Vec<u64> {
            let pack = |part: &[u8]| part.iter().rev().fold(0, |row, bit| row << 1 | u64::from(*bit));
            bits.chunks(size.n).flat_map(|shot| shot.chunks(64).map(pack)).collect()
        };
        let (answers, teaches) = (rows(&sent.answers), rows(&sent.teaches));
        let packed = encode(&roster.version, &sent.span, Bits::Rows(&answers), Bits::Rows(&teaches));
        prop_assert_eq!(packed.unwrap(), sent.packet);
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let best = cpu_level();
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let roster = Roster::random(Size { teach: 1.0, ..Size::random(&mut random) }, 1, 0, seed);
        let sent = roster.queries(span(3, 1, 0, 5), &mut random);
        let weights: Vec<f64> = (0..5 * roster.n_outputs).map(|_| random.signed()).collect();
        let tallies: Vec<_> = CpuLevel::available()
            .into_iter()
            .map(|level| {
                set_cpu_level(level).unwrap();
                roster.reader(None).tally(&sent.decoded(), &weights, None).unwrap().to_bytes()
            })
            .collect();
        assert!(tallies.windows(2).all(|pair| pair[0] == pair[1]));
    }
    set_cpu_level(best).unwrap();
}
