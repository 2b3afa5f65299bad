//! Laws of packets and tallies: round trips, and sums that do not depend on order, on parts or on threads.

mod common;

use common::{Random, Roster, Size, span};
use efl_core::ErrorKind;
use efl_core::bits::parallel::{Cancel, map, set_num_threads};
use efl_fleet::packet::{MAX_BYTES, Packet};
use efl_fleet::tally::{self, Mean, RANGE, Tally};
use proptest::prelude::*;
use std::path::Path;

/// Tallies of single packets of random sizes, and of one query each.
fn tallies(seed: u64, packets: usize) -> (Vec<Tally>, Vec<Tally>, usize) {
    let mut random = Random::new(seed);
    let size = Size { n: 3, answer_shots: 3, ..Size::random(&mut random) };
    let roster = Roster::random(size, 1, 0, seed);
    let reader = roster.reader(None);
    let (mut whole, mut single) = (Vec::new(), Vec::new());
    for replica in 0..packets {
        let queries = 1 + random.below(6) as u32;
        let sent = roster.queries(span(replica as u64, 1, 0, queries), &mut random);
        let (teaching, outputs) = (sent.numbers.len(), roster.n_outputs);
        let weights: Vec<f64> = (0..teaching * outputs).map(|_| random.signed()).collect();
        let losses: Vec<f64> =
            (0..teaching).map(|_| if random.chance(0.3) { f64::NAN } else { random.unit() }).collect();
        let sum = reader.tally(&sent.decoded(), &weights, Some(&losses)).unwrap();
        whole.push(sum.clone());
        // The same, query by query.
        for i in 0..teaching {
            let mut one = roster.queries(span(replica as u64, 1, sent.numbers[i], 1), &mut random);
            one.answers =
                sent.answers[i * sent.answers.len() / teaching..][..sent.answers.len() / teaching].to_vec();
            one.teaches =
                sent.teaches[i * sent.teaches.len() / teaching..][..sent.teaches.len() / teaching].to_vec();
            let bits =
                (efl_fleet::packet::Bits::Bytes(&one.answers), efl_fleet::packet::Bits::Bytes(&one.teaches));
            one.packet = efl_fleet::packet::encode(&roster.version, &one.span, bits.0, bits.1).unwrap();
            let weights = &weights[i * outputs..][..outputs];
            single.push(reader.tally(&one.decoded(), weights, Some(&losses[i..=i])).unwrap());
        }
    }
    let queries = whole.iter().map(|tally| tally.queries() as usize).sum();
    (whole, single, queries)
}

fn sum<'t>(tallies: impl IntoIterator<Item = &'t Tally>) -> Tally {
    let mut tallies = tallies.into_iter();
    let mut sum = tallies.next().unwrap().clone();
    tallies.for_each(|tally| sum.merge(tally).unwrap());
    sum
}

fn shuffled<T>(mut values: Vec<T>, random: &mut Random) -> Vec<T> {
    (1..values.len()).for_each(|i| values.swap(i, random.below(i + 1)));
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_has_no_order_and_no_grouping(seed: u64) {
        let (whole, single, queries) = tallies(seed, 6);
        prop_assume!(queries > 0);
        let expected = sum(&whole).to_bytes();
        let mut random = Random::new(seed ^ 1);
        for _ in 0..4 {
            prop_assert_eq!(&sum(&shuffled(whole.clone(), &mut random)).to_bytes(), &expected);
            prop_assert_eq!(&sum(&shuffled(single.clone(), &mut random)).to_bytes(), &expected);
            let order = shuffled(whole.clone(), &mut random);
            let (left, right) = order.split_at(1 + random.below(order.len() - 1));
            prop_assert_eq!(&sum([&sum(right), &sum(left)]).to_bytes(), &expected);
        }
    }

    #[test]
    fn a_tally_comes_back_from_its_bytes(seed: u64) {
        let (whole, _, queries) = tallies(seed, 2);
        prop_assume!(queries > 0);
        let (tally, bytes) = (sum(&whole), sum(&whole).to_bytes());
        prop_assert_eq!(&Tally::from_bytes(&bytes).unwrap(), &tally);
        let mut random = Random::new(seed);
        for _ in 0..32 {
            let mut damaged = bytes.clone();
            match random.below(3) {
                0 => damaged.truncate(random.below(bytes.len())),
                1 => damaged.push(0),
                _ => damaged[random.below(bytes.len())] ^= 1 << random.below(8),
            }
            let error = Tally::from_bytes(&damaged).unwrap_err();
            prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat), "{}", error);
        }
    }

    #[test]
    fn any_change_to_a_packet_is_noticed(seed: u64) {
        let mut random = Random::new(seed);
        let roster = Roster::random(Size::random(&mut random), 1, 0, seed);
        let sent = roster.queries(span(random.next(), 1, 40, 3), &mut random);
        let accepted = |bytes: &[u8]| {
            Packet::decode(bytes).and_then(|packet| packet.check(&roster.version)).is_ok()
        };
        prop_assert!(accepted(&sent.packet));
        for _ in 0..64 {
            let mut damaged = sent.packet.clone();
            match random.below(3) {
                0 => damaged.truncate(random.below(damaged.len())),
                1 => damaged.extend((0..=random.below(9)).map(|i| i as u8)),
                _ => damaged[random.below(sent.packet.len())] ^= 1 << random.below(8),
            }
            prop_assert!(!accepted(&damaged));
        }
    }
}

#[test]
fn threads_add_up_to_the_same_bits() {
    let roster = Roster::random(Size::small(), 1, 0, 5);
    let (reader, mut random) = (roster.reader(None), Random::new(5));
    let sent: Vec<_> = (0..40).map(|r| roster.queries(span(r, 1, 0, 50), &mut random)).collect();
    let weights: Vec<f64> = (0..50 * roster.n_outputs).map(|_| random.signed()).collect();
    let all = |threads: usize| {
        set_num_threads(threads).unwrap();
        let parts = map(sent.len(), &Cancel::new(), |i| reader.tally(&sent[i].decoded(), &weights, None));
        sum(&parts.unwrap()).to_bytes()
    };
    let one = all(1);
    assert!((2..=5).all(|threads| all(threads) == one));
}

/// Numbers by the textbook, in floating point.
fn textbook(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, (square / (n - 1.0) / n).sqrt())
}

/// A tally of a derivative that has these values, with the values as losses.
fn tally_of(values: &[f64]) -> Tally {
    let mut tally = Tally::new(1, 1);
    for &value in values {
        let columns = [tally::fixed(value).unwrap(), tally::fixed(value).unwrap(), 0];
        let query = tally::Contribution { shots: 2, loss: true, valued: false, columns: &columns };
        assert!(tally.add(&query));
    }
    tally
}

#[test]
fn means_and_errors_are_those_of_the_textbook() {
    let mut random = Random::new(8);
    // Also where the mean is large beside the spread, which sums of floats would lose.
    for (offset, scale) in [(0.0, 1.0), (1e5, 1e-3), (-3e5, 1.0), (0.0, 1e-6)] {
        let values: Vec<f64> = (0..200).map(|_| offset + scale * random.signed()).collect();
        let (mean, stderr) = textbook(&values);
        let tally = tally_of(&values);
        for found in [tally.gradient()[0], tally.loss()] {
            assert!((found.value - mean).abs() < 1e-11 + 1e-14 * offset.abs(), "{found:?} {mean}");
            assert!((found.stderr / stderr - 1.0).abs() < 1e-5, "{found:?} {stderr}");
        }
        assert!(tally.values()[0].value.is_nan(), "no answer was read");
    }
    let Mean { value, stderr } = tally_of(&[0.25]).gradient()[0];
    assert!(value == 0.25 && stderr.is_nan());
    assert!(Tally::new(1, 1).gradient()[0].value.is_nan());
}

#[test]
fn pooling_with_equal_weights_is_merging() {
    let mut random = Random::new(9);
    let values: Vec<Vec<f64>> = (0..5).map(|i| (0..3 * i + 1).map(|_| random.signed()).collect()).collect();
    let tallies: Vec<Tally> = values.iter().map(|values| tally_of(values)).collect();
    let pooled = |weight: f64| {
        let parts: Vec<(&Tally, f64)> = tallies.iter().map(|tally| (tally, weight)).collect();
        tally::gradient(&parts).unwrap()
    };
    let (merged, (found, queries)) = (sum(&tallies).gradient()[0], pooled(1.0));
    assert_eq!(queries, 35);
    assert!((found[0].value - merged.value).abs() < 1e-14);
    assert!((found[0].stderr / merged.stderr - 1.0).abs() < 1e-12);
    let half = pooled(0.5).0[0];
    assert!((half.value - merged.value).abs() < 1e-14 && (half.stderr / merged.stderr - 1.0).abs() < 1e-12);
    // A tally that does not count does not change anything.
    let parts = [(&tallies[3], 1.0), (&tallies[4], 0.0)];
    let (alone, (found, _)) = (tallies[3].gradient()[0], tally::gradient(&parts).unwrap());
    assert!((found[0].value - alone.value).abs() < 1e-14);
    assert!((found[0].stderr / alone.stderr - 1.0).abs() < 1e-12);
    assert!(tally::gradient(&[]).is_err());
    assert!(tally::gradient(&[(&tallies[0], f64::NAN)]).is_err());
    assert!(tally::gradient(&[(&tallies[0], 1.0), (&Tally::new(2, 1), 1.0)]).is_err());
}

#[test]
fn errors_of_pooled_weights_are_true() {
    // 4,000 pools of 3 tallies; the ratio of squared error to its estimate is known to 1 in sqrt(2000): 2.3 %. A false
    // alarm beyond 10 % has probability 1e-5.
    let (mut random, mut ratio) = (Random::new(11), 0.0);
    let weights = [1.0, 0.6, 0.36];
    for _ in 0..4000 {
        let tallies: Vec<Tally> = (0..3)
            .map(|_| tally_of(&(0..20).map(|_| random.signed() + random.signed()).collect::<Vec<_>>()))
            .collect();
        let parts: Vec<(&Tally, f64)> = tallies.iter().zip(weights).collect();
        let found = tally::gradient(&parts).unwrap().0[0];
        ratio += (found.value / found.stderr).powi(2) / 4000.0;
    }
    // The ratio of a squared normal number to its estimate with 52 degrees of freedom: 52 / 50.
    assert!((ratio - 1.04).abs() < 0.1, "{ratio}");
}

#[test]
fn numbers_out_of_range_are_not_counted() {
    for value in [RANGE * 1.000001, f64::INFINITY, f64::NAN, -f64::INFINITY, -2.0 * RANGE] {
        assert_eq!(tally::fixed(value), None, "{value}");
    }
    assert_eq!(tally::fixed(-RANGE), Some(-(1 << 60)));
    assert_eq!([0.0, -0.0, 4.5e-13, -4.5e-13, 1.0].map(tally::fixed), [0, 0, 0, 0, 1 << 40].map(Some));
    assert_eq!([4.6e-13, -4.6e-13].map(tally::fixed), [Some(1), Some(-1)]);
    // Sums at the edge of what fits are refused, and stay what they were.
    let mut tally = tally_of(&[RANGE; 1]);
    let columns = [tally::fixed(RANGE).unwrap(); 3];
    let query = tally::Contribution { shots: 1, loss: true, valued: true, columns: &columns };
    let added = (0..200).take_while(|_| tally.add(&query)).count();
    assert_eq!(added, 63);
    let before = tally.clone();
    assert!(!tally.add(&query) && tally == before);
    assert_eq!(tally.merge(&before).unwrap_err().kind(), ErrorKind::Limit);
    assert!(tally == before);
}

/// Packets that are never to change: written once by `EFL_WRITE_GOLDEN=1`.
#[test]
fn golden_packets() {
    let cases = [
        ("plain", Size { n: 10, answer_shots: 48, setting_shots: 8, ..Size::small() }, 3),
        ("wide", Size { n: 66, answer_shots: 1, setting_shots: 65, settings: 1, ..Size::small() }, 2),
        ("gentle", Size { gentle: true, setting_shots: 1, settings: 3, ..Size::small() }, 4),
        ("sparse", Size { teach: 0.25, setting_shots: 1, settings: 1, ..Size::small() }, 40),
    ];
    for (name, size, queries) in cases {
        let roster = Roster::random(size, 0x0123_4567_89AB_CDEF, 7, 21);
        let mut span = span(0xFEDC_BA98_7654_3210, 3, 1000, queries);
        span.dropped = 2;
        let sent = roster.queries(span, &mut Random::new(4));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.packet"));
        if std::env::var_os("EFL_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &sent.packet).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert!(sent.packet == golden, "{name}: a packet has other bytes than before");
        let packet = Packet::decode(&golden).unwrap();
        assert_eq!((packet.span, packet.shape), (sent.span, roster.version.shape()));
        assert_eq!(packet.check(&roster.version).unwrap(), sent.numbers.len(), "{name}");
    }
    let plain =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plain.packet")).unwrap();
    assert_eq!(plain.len(), 64 + 3 * 80 + 4, "80 bytes for a query of 48 + 16 shots of 10 qubits");
}

#[test]
fn packets_have_a_size() {
    let roster = Roster::random(Size { n: 10, answer_shots: 48, setting_shots: 8, ..Size::small() }, 1, 0, 1);
    let most = roster.version.shape().max_queries();
    assert_eq!(most, ((MAX_BYTES - 68) / 80) as u32);
    let mut random = Random::new(2);
    let sent = roster.queries(span(1, 1, 0, most), &mut random);
    assert!(sent.packet.len() <= MAX_BYTES);
    assert_eq!(sent.decoded().check(&roster.version).unwrap(), most as usize);
    let bits = vec![0; (most as usize + 1) * 640];
    use efl_fleet::packet::{Bits, encode};
    let (answers, teaches) = (&bits[..(most as usize + 1) * 480], &bits[..(most as usize + 1) * 160]);
    let more = encode(&roster.version, &span(1, 1, 0, most + 1), Bits::Bytes(answers), Bits::Bytes(teaches));
    assert_eq!(more.unwrap_err().argument(), Some("queries"));
}
