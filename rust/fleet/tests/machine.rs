//! The machine, one behaviour after the other: every refusal by name and with the state unharmed, versions that come and go,
//! tallies that are taken, gradients over several versions.

mod common;

use common::{Random, Roster, Sent, Size, span};
use efl_core::ErrorKind;
use efl_fleet::machine::{Machine, Options, Outcome, Refusal};
use efl_fleet::packet::{Bits, Span, encode};
use efl_fleet::pending::Ticket;
use efl_fleet::tally;
use std::sync::Arc;

const FLEET: u64 = 4;

fn roster(number: u32) -> Roster {
    (0..).map(|seed| Roster::random(Size::small(), FLEET, number, seed)).find(|r| r.columns == 3).unwrap()
}

fn options() -> Options {
    Options {
        fleet: FLEET,
        n_outputs: 2,
        n_parameters: 3,
        keep: 2,
        pending: 20,
        quota: 12,
        buckets: 1,
        replicas: 3,
    }
}

/// A machine with versions 0 ... `newest` and replicas 1 and 2.
fn machine(newest: u32) -> Machine {
    let mut machine = Machine::new(options()).unwrap();
    (0..=newest).for_each(|v| machine.publish(Arc::new(roster(v).reader(None))).unwrap());
    assert_eq!((machine.join(1).unwrap(), machine.join(2).unwrap()), (1, 1));
    machine
}

fn sent(version: u32, span: Span) -> Sent {
    roster(version).queries(span, &mut Random::new(span.first))
}

fn tickets(replica: u64, sequences: std::ops::Range<u64>) -> Vec<Ticket> {
    sequences.map(|sequence| Ticket { replica, incarnation: 1, sequence }).collect()
}

/// All of the state but its counters.
fn state(machine: &Machine) -> String {
    let text = format!("{machine:?}");
    text[..text.rfind(", counts: ").unwrap()].to_owned()
}

fn assert_refused(machine: &mut Machine, bytes: &[u8], refusal: Refusal) {
    let (before, counts) = (state(machine), machine.counts());
    assert_eq!(machine.submit(bytes).refused, Some(refusal));
    assert!(state(machine) == before, "{refusal:?} has changed the state");
    for other in Refusal::ALL {
        let more = u64::from(other == refusal);
        assert_eq!(machine.counts().refused(other), counts.refused(other) + more, "{refusal:?}, {other:?}");
    }
    let same = |c: &efl_fleet::machine::Counts| [c.packets, c.admitted, c.taught, c.expired, c.dropped];
    assert_eq!(same(&machine.counts()), same(&counts));
}

#[test]
fn every_refusal_has_its_name_and_leaves_the_state_unharmed() {
    let mut machine = machine(2);
    assert_eq!(machine.submit(&sent(2, span(1, 1, 0, 4)).packet).refused, None);
    let good = sent(2, span(1, 1, 4, 4)).packet;
    let mut damaged = good.clone();
    damaged[70] ^= 1;
    for bytes in [&damaged[..], &good[..good.len() - 1], &[], b"EFLP"] {
        assert_refused(&mut machine, bytes, Refusal::Malformed);
    }
    let other = Roster::random(Size::small(), FLEET + 1, 2, 0).queries(span(1, 1, 4, 4), &mut Random::new(0));
    assert_refused(&mut machine, &other.packet, Refusal::OtherFleet);
    assert_refused(&mut machine, &sent(2, span(3, 1, 0, 4)).packet, Refusal::UnknownReplica);
    assert_refused(&mut machine, &sent(2, span(1, 2, 0, 4)).packet, Refusal::UnknownReplica);
    assert_refused(&mut machine, &sent(0, span(1, 1, 4, 4)).packet, Refusal::TooOld);
    assert_refused(&mut machine, &sent(3, span(1, 1, 4, 4)).packet, Refusal::UnknownVersion);
    // The number of a version that is known, and the hash of another.
    let seed = (0..).find(|seed| Roster::random(Size::small(), FLEET, 2, *seed).version != roster(2).version);
    let twin = Roster::random(Size::small(), FLEET, 2, seed.unwrap());
    let forged = twin.queries(span(1, 1, 4, 4), &mut Random::new(0));
    assert_refused(&mut machine, &forged.packet, Refusal::UnknownVersion);
    for (first, queries) in [(0, 4), (0, 2), (3, 1), (3, 5)] {
        assert_refused(&mut machine, &sent(2, span(1, 1, first, queries)).packet, Refusal::Duplicate);
    }
    assert_refused(&mut machine, &sent(2, span(1, 1, 6, 4)).packet, Refusal::Gap);
    for dropped in [1, 3] {
        let wrong = Span { dropped, ..span(1, 1, 6, 4) };
        assert_refused(&mut machine, &sent(2, wrong).packet, Refusal::Gap);
    }
    assert_refused(&mut machine, &sent(2, span(1, 1, 4, 9)).packet, Refusal::OverQuota);
    assert_refused(&mut machine, &sent(2, span(1, 1, 4, 21)).packet, Refusal::OverCapacity);
    assert_eq!(machine.join(1).unwrap(), 2);
    assert_refused(&mut machine, &good, Refusal::Superseded);
    assert_eq!(machine.submit(&sent(2, span(1, 2, 0, 4)).packet).refused, None);
    assert_eq!(machine.counts().balance(), 0);
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn packets_that_lie_about_their_planes_are_malformed() {
    let mut machine = machine(0);
    let sent = sent(0, span(1, 1, 0, 2));
    let resealed = |change: Change<'_>| {
        let mut bytes = sent.packet.clone();
        bytes.truncate(bytes.len() - 4);
        change(&mut bytes);
        let length = (bytes.len() + 4) as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend_from_slice(&crc);
        bytes
    };
    assert_eq!(resealed(&|_| ()), sent.packet);
    let changes: [Change<'_>; 9] = [
        &|bytes| bytes[64] |= 0x80,                  // a sixth answer shot of five
        &|bytes| *bytes.last_mut().unwrap() |= 0x40, // a seventh teach shot of six
        &|bytes| bytes[44..48].copy_from_slice(&3u32.to_le_bytes()), // more queries than planes
        &|bytes| bytes[44..48].fill(0),              // no queries
        &|bytes| bytes.extend_from_slice(&[0; 6]),   // more planes than queries
        &|bytes| bytes[14] = 4,                      // fewer answer shots
        &|bytes| bytes[58] = 3,                      // other settings, as many shots
        &|bytes| bytes[48..56].fill(0xFF),           // a sequence without end
        &|bytes| bytes[60] = 1,                      // dropped before the very first
    ];
    for change in changes {
        assert_refused(&mut machine, &resealed(change), Refusal::Malformed);
    }
    assert_eq!(machine.submit(&sent.packet).refused, None);
}

#[test]
fn few_bytes_that_claim_very_many_queries_take_no_time() {
    let roster = (0..)
        .map(|seed| Roster::random(Size { teach: 0.3, ..Size::small() }, FLEET, 0, seed))
        .find(|roster| roster.columns == 3)
        .unwrap();
    let mut machine = Machine::new(options()).unwrap();
    machine.publish(Arc::new(roster.reader(None))).unwrap();
    machine.join(1).unwrap();
    let mut bytes = roster.queries(span(1, 1, 0, 1), &mut Random::new(0)).packet;
    bytes[44..48].copy_from_slice(&(1u32 << 20).to_le_bytes());
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    let start = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(machine.submit(&bytes).refused, Some(Refusal::Malformed));
    }
    // Looking at all of them takes 20 ms each time; a refusal takes microseconds.
    assert!(start.elapsed().as_secs_f64() < 2.5, "{:?}", start.elapsed());
}

#[test]
fn too_many_replicas_are_refused() {
    let mut machine = machine(0);
    assert_eq!(machine.join(3).unwrap(), 1);
    let before = state(&machine);
    assert_eq!(machine.join(4).unwrap_err().kind(), ErrorKind::Limit);
    assert!(state(&machine) == before);
    assert_eq!(machine.join(3).unwrap(), 2);
    assert_eq!(machine.counts().refused(Refusal::OverCapacity), 1);
}

#[test]
fn what_was_dropped_is_said_and_counted() {
    let mut machine = machine(0);
    assert_eq!(machine.submit(&sent(0, span(1, 1, 0, 4)).packet).next, 4);
    let later = sent(0, Span { dropped: 6, ..span(1, 1, 10, 2) });
    let receipt = machine.submit(&later.packet);
    assert_eq!((receipt.refused, receipt.next, receipt.served), (None, 12, Some(0)));
    let counts = machine.counts();
    assert_eq!((counts.admitted, counts.dropped, counts.pending), (6, 6, 6));
}

#[test]
fn weights_count_once_and_only_if_they_can() {
    let mut machine = machine(0);
    let sent = sent(0, span(1, 1, 0, 4));
    machine.submit(&sent.packet);
    let before = state(&machine);
    let weigh = |machine: &mut Machine, tickets: &[Ticket], weights: &[f64], loss: f64| {
        let losses = vec![loss; tickets.len()];
        machine.weights(tickets, weights, Some(&losses)).unwrap()
    };
    let one = tickets(1, 0..1);
    assert_eq!(weigh(&mut machine, &one, &[1.0, f64::NAN], 0.5), [Outcome::NotFinite]);
    assert_eq!(weigh(&mut machine, &one, &[1.0, 1.0], f64::INFINITY), [Outcome::NotFinite]);
    assert_eq!(weigh(&mut machine, &one, &[1e12, 1e12], 0.5), [Outcome::OutOfRange]);
    assert_eq!(weigh(&mut machine, &one, &[1.0, 1.0], 1e7), [Outcome::OutOfRange]);
    for unknown in [tickets(1, 4..5), tickets(2, 0..1), tickets(7, 0..1)] {
        assert_eq!(weigh(&mut machine, &unknown, &[1.0, 1.0], 0.5), [Outcome::UnknownOrUsed]);
    }
    for (weights, losses) in [(&[1.0][..], 1), (&[1.0; 3], 1), (&[1.0; 8], 1), (&[], 1), (&[1.0; 2], 2)] {
        let error = machine.weights(&one, weights, Some(&vec![0.0; losses])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape, "{error}");
    }
    assert!(state(&machine) == before);
    // The same ticket twice in one call, and again.
    let twice = [one[0], one[0]];
    assert_eq!(
        weigh(&mut machine, &twice, &[1.0, 0.0, 0.0, 1.0], 0.5),
        [Outcome::Taught, Outcome::UnknownOrUsed]
    );
    assert_eq!(weigh(&mut machine, &one, &[1.0, 1.0], 0.5), [Outcome::UnknownOrUsed]);
    // As the reader alone says.
    let reader = roster(0).reader(None);
    let weights: Vec<f64> = (0..6).map(f64::from).collect();
    assert_eq!(weigh(&mut machine, &tickets(1, 1..4), &weights, f64::NAN), [Outcome::Taught; 3]);
    let all = [vec![1.0, 0.0], weights].concat();
    let losses = [0.5, f64::NAN, f64::NAN, f64::NAN];
    let expected = reader.tally(&sent.decoded(), &all, Some(&losses)).unwrap();
    assert_eq!(machine.tallies(0, 0).map(|(_, _, tally)| tally).collect::<Vec<_>>(), [&expected]);
    assert_eq!((expected.losses(), expected.shots()), (1, 24));
    assert_eq!(machine.counts().balance(), 0);
    assert_eq!(machine.weights(&[], &[], None).unwrap(), []);
}

#[test]
fn versions_follow_each_other_and_the_oldest_is_given_up() {
    let mut machine = machine(1);
    machine.submit(&sent(0, span(1, 1, 0, 3)).packet);
    machine.submit(&sent(1, span(2, 1, 0, 2)).packet);
    machine.weights(&tickets(1, 0..1), &[1.0, 1.0], None).unwrap();
    let publish = |machine: &mut Machine, number| machine.publish(Arc::new(roster(number).reader(None)));
    for number in [0, 1, 3] {
        let before = state(&machine);
        assert_eq!(publish(&mut machine, number).unwrap_err().argument(), Some("version"));
        assert!(state(&machine) == before);
    }
    let wide = (0..).map(|s| Roster::random(Size::small(), FLEET, 2, s)).find(|r| r.columns == 4);
    let other = Roster::random(Size::small(), FLEET + 1, 2, 0);
    for (roster, argument) in [(wide.unwrap(), "n_parameters"), (other, "fleet")] {
        let error = machine.publish(Arc::new(roster.reader(None))).unwrap_err();
        assert_eq!(error.argument(), Some(argument), "{error}");
    }
    publish(&mut machine, 2).unwrap();
    let counts = machine.counts();
    assert_eq!((counts.taught, counts.expired, counts.pending, counts.balance()), (1, 2, 2, 0));
    assert_eq!(machine.versions().map(|reader| reader.version().number()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(machine.weights(&tickets(1, 1..2), &[1.0, 1.0], None).unwrap(), [Outcome::UnknownOrUsed]);
    assert_eq!(machine.weights(&tickets(2, 0..1), &[1.0, 1.0], None).unwrap(), [Outcome::Taught]);
}

#[test]
fn tickets_of_an_earlier_life_stay_good() {
    let mut machine = machine(0);
    machine.submit(&sent(0, span(1, 1, 0, 3)).packet);
    assert_eq!(machine.join(1).unwrap(), 2);
    machine.submit(&sent(0, span(1, 2, 0, 3)).packet);
    assert_eq!(machine.weights(&tickets(1, 0..3), &[0.5; 6], None).unwrap(), [Outcome::Taught; 3]);
    assert_eq!(machine.counts().pending, 3);
}

#[test]
fn constant_weights_are_counted_at_once_or_not_at_all() {
    let roster = roster(0);
    let mut machine = Machine::new(options()).unwrap();
    machine.publish(Arc::new(roster.reader(Some(vec![0.5, -2.0])))).unwrap();
    machine.join(1).unwrap();
    // More than may wait: nothing does.
    let sent = roster.queries(span(1, 1, 0, 100), &mut Random::new(1));
    assert_eq!(machine.submit(&sent.packet).refused, None);
    let expected = roster.reader(None).tally(&sent.decoded(), &[0.5, -2.0].repeat(100), None).unwrap();
    assert_eq!(machine.tallies(0, 0).map(|(_, _, tally)| tally).collect::<Vec<_>>(), [&expected]);
    assert_eq!((machine.counts().taught, machine.counts().pending, machine.counts().balance()), (100, 0, 0));
    // Weights with which a query says more than can be counted.
    let mut machine = Machine::new(options()).unwrap();
    machine.publish(Arc::new(roster.reader(Some(vec![1e9, 1e9])))).unwrap();
    machine.join(1).unwrap();
    assert_refused(&mut machine, &sent.packet, Refusal::OutOfRange);
}

#[test]
fn taking_hands_out_every_contribution_once() {
    let mut machine = machine(1);
    machine.submit(&sent(0, span(1, 1, 0, 6)).packet);
    machine.submit(&sent(1, span(2, 1, 0, 6)).packet);
    let teach = |machine: &mut Machine, range: std::ops::Range<u64>| {
        for replica in [1, 2] {
            let count = (range.end - range.start) as usize;
            let weights = vec![0.3; 2 * count];
            machine.weights(&tickets(replica, range.clone()), &weights, None).unwrap();
        }
    };
    teach(&mut machine, 0..6);
    let whole: Vec<_> = machine.tallies(0, 1).map(|(v, b, tally)| (v, b, tally.clone())).collect();
    let mut machine = self::machine(1);
    machine.submit(&sent(0, span(1, 1, 0, 6)).packet);
    machine.submit(&sent(1, span(2, 1, 0, 6)).packet);
    teach(&mut machine, 0..2);
    let first = machine.take(0, 1);
    assert_eq!(machine.tallies(0, 1).count(), 0);
    teach(&mut machine, 2..6);
    assert_eq!(machine.take(1, 1).len(), 1);
    let rest = machine.take(0, 0);
    let mut sum = first[0].2.clone();
    sum.merge(&rest[0].2).unwrap();
    assert_eq!((first[0].0, rest[0].0, &sum), (0, 0, &whole[0].2));
    assert_eq!(machine.counts().taught, 12);
}

#[test]
fn gradients_pool_versions_by_their_age() {
    let mut machine = machine(1);
    machine.submit(&sent(0, span(1, 1, 0, 6)).packet);
    machine.submit(&sent(1, span(2, 1, 0, 9)).packet);
    for (replica, count) in [(1, 6), (2, 9)] {
        let weights: Vec<f64> = (0..2 * count).map(|i| f64::from(i) / 7.0).collect();
        machine.weights(&tickets(replica, 0..count as u64), &weights, None).unwrap();
    }
    let own: Vec<_> = machine.tallies(0, 1).map(|(_, _, tally)| tally).collect();
    let (expected, _) = tally::gradient(&[(own[0], 0.5), (own[1], 1.0)]).unwrap();
    let found = machine.gradient(0, 1, 0.5).unwrap();
    assert_eq!((found.gradient, found.queries), (expected, 15));
    assert!((found.mean_age - 3.0 / 12.0).abs() < 1e-15);
    let newest = machine.gradient(1, 1, 0.5).unwrap();
    assert_eq!((newest.gradient, newest.queries, newest.mean_age), (own[1].gradient(), 9, 0.0));
    let nothing = machine.gradient(5, 6, 1.0).unwrap();
    assert!(nothing.queries == 0 && nothing.gradient.iter().all(|mean| mean.value.is_nan()));
    assert_eq!(machine.gradient(0, 1, 1.5).unwrap_err().argument(), Some("decay"));
}

#[test]
fn readouts_of_pending_queries_are_those_of_their_bits() {
    let mut machine = machine(0);
    let sent = sent(0, span(1, 1, 0, 4));
    machine.submit(&sent.packet);
    let asked = [tickets(1, 2..3), tickets(1, 9..10), tickets(1, 0..1)].concat();
    let found = machine.values(&asked);
    assert_eq!(found.pending, [true, false, true]);
    let (roster, outputs) = (roster(0), 2);
    for (at, query) in [(0, 2), (2, 0)] {
        let shots = sent.shots(&roster, query);
        for o in 0..outputs {
            assert!((found.values[at * outputs + o] - sent.values(&roster, query)[o]).abs() < 1e-12);
            let positive = shots.iter().filter(|row| row[o] > 0.0).count() as i64;
            assert_eq!(found.positive[at * outputs + o], positive);
        }
    }
    assert_eq!(machine.shots(&asked).unwrap_err().argument(), Some("sequence[1]"));
    let (shots, each) = machine.shots(&tickets(1, 0..4)).unwrap();
    let slow: Vec<f64> = (0..4).flat_map(|i| sent.shots(&roster, i).concat()).collect();
    assert_eq!(each, 5);
    assert!(shots.len() == slow.len() && shots.iter().zip(slow).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn buckets_spread_replicas_evenly() {
    // Of 4,000 replicas over 8 buckets: a chi-square of 7 degrees of freedom above 34 has probability 2e-5.
    let roster = roster(0);
    let many = Options { buckets: 8, replicas: 4000, ..options() };
    let mut machine = Machine::new(many).unwrap();
    machine.publish(Arc::new(roster.reader(Some(vec![1.0, 1.0])))).unwrap();
    let sent = roster.queries(span(0, 1, 0, 1), &mut Random::new(0));
    for replica in 0..4000 {
        machine.join(replica).unwrap();
        let span = Span { replica, ..sent.span };
        let bits = (Bits::Bytes(&sent.answers), Bits::Bytes(&sent.teaches));
        let packet = encode(&roster.version, &span, bits.0, bits.1).unwrap();
        assert_eq!(machine.submit(&packet).refused, None);
    }
    let square = |queries: u64| (queries as f64 - 500.0).powi(2) / 500.0;
    let sum: f64 = machine.tallies(0, 0).map(|(_, _, tally)| square(tally.queries())).sum();
    assert!(machine.tallies(0, 0).count() == 8 && sum < 34.0, "{sum}");
}

#[test]
fn bounds_have_to_be_positive() {
    for (name, wrong) in [
        ("keep", Options { keep: 0, ..options() }),
        ("pending", Options { pending: 0, ..options() }),
        ("quota", Options { quota: 0, ..options() }),
        ("buckets", Options { buckets: 0, ..options() }),
        ("replicas", Options { replicas: 0, ..options() }),
        ("n_outputs", Options { n_outputs: 0, ..options() }),
        ("n_parameters", Options { n_parameters: 0, ..options() }),
    ] {
        assert_eq!(Machine::new(wrong).unwrap_err().argument(), Some(name));
    }
}
