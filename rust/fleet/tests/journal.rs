//! Journals and states as bytes: what is written is read, and whatever else is refused without harm.

mod common;

use common::{Random, Roster, Size, span};
use efl_core::Error;
use efl_fleet::journal::{Applied, Event, Frame, Recorder, Replay};
use efl_fleet::machine::{Candidate, Machine, Options, Outcome, Refusal};
use efl_fleet::pending::Ticket;
use efl_fleet::reader::Reader;
use std::sync::Arc;

const FLEET: u64 = 8;

fn options(reader: &Reader) -> Options {
    Options {
        fleet: FLEET,
        n_outputs: reader.n_outputs(),
        n_parameters: reader.n_parameters(),
        keep: 3,
        pending: 100,
        quota: 50,
        buckets: 3,
        replicas: 10,
    }
}

/// Versions 0, 1, ... of one fleet.
fn versions(size: Size, count: u32) -> Vec<(Roster, Arc<Reader>)> {
    let made =
        |number| (0..).map(move |seed| Roster::random(size, FLEET, number, seed)).find(|r| r.columns == 2);
    let made = (0..count).map(|number| made(number).expect("one in four"));
    made.map(|roster| (roster.clone(), Arc::new(roster.reader(None)))).collect()
}

/// A machine that has seen everything, its journal in frames, and a packet that comes next.
fn busy(size: Size) -> (Recorder, Vec<Vec<u8>>, Vec<u8>) {
    let (versions, mut random) = (versions(size, 4), Random::new(3));
    let mut recorder = Recorder::new(options(&versions[0].1)).unwrap();
    let mut frames = Vec::new();
    let mut packet = |version: usize, replica, first, queries| {
        versions[version].0.queries(span(replica, 1, first, queries), &mut random).packet
    };
    let tickets = |replica, count: u64| -> Vec<Ticket> {
        (0..count).map(|sequence| Ticket { replica, incarnation: 1, sequence }).collect()
    };
    let outputs = versions[0].1.n_outputs();
    recorder.publish(versions[0].1.clone()).unwrap();
    (1..=3).for_each(|name| assert_eq!(recorder.join(name).unwrap(), 1));
    frames.extend(recorder.frame());
    for name in 1..=3 {
        assert_eq!(recorder.submit(&packet(0, name, 0, 6)).refused, None);
    }
    assert_eq!(recorder.submit(b"no packet").refused, Some(Refusal::Malformed));
    let weights = |count: usize| (0..count * outputs).map(|i| i as f64 / 7.0 - 1.0).collect::<Vec<_>>();
    let count = if size.teach < 1.0 { 6 } else { 3 };
    let losses = [0.5, f64::NAN, 0.25, 0.0, 1.0, 2.0];
    recorder.weights(&tickets(2, count), &weights(count as usize), Some(&losses[..count as usize])).unwrap();
    recorder.note(200, b"between").unwrap();
    recorder.publish(versions[1].1.clone()).unwrap();
    frames.extend(recorder.frame());
    assert!(!recorder.take(0, 0).is_empty());
    recorder.propose(versions[2].1.clone(), 1 << 62).unwrap();
    assert_eq!(recorder.settle(false), Some(2));
    recorder.propose(versions[3].1.clone(), 1 << 63).unwrap();
    recorder.submit(&packet(1, 1, 6, 4));
    recorder.weights(&tickets(1, 2), &weights(2), None).unwrap();
    frames.extend(recorder.frame());
    let next = packet(1, 2, 6, 2);
    (recorder, frames, next)
}

fn sizes() -> impl Iterator<Item = Size> {
    let small = Size::small();
    let wide = Size { n: 66, answer_shots: 70, setting_shots: 65, ..small };
    [small, Size { gentle: true, ..small }, Size { teach: 0.5, ..small }, wide].into_iter()
}

#[test]
fn a_journal_makes_the_machine_that_wrote_it() {
    for size in sizes() {
        let (recorder, frames, _) = busy(size);
        let mut replay = Replay::new();
        for (i, frame) in frames.iter().enumerate() {
            replay.frame(frame, |_, _, _, _| {}).unwrap();
            // From any frame on, a state does as well as what was before it.
            let mut later = Replay::from_state(&replay.clone().finish().unwrap().state().unwrap()).unwrap();
            for frame in &frames[i + 1..] {
                later.frame(frame, |_, _, _, _| {}).unwrap();
            }
            assert_eq!(later.machine(), Some(recorder.machine()));
            assert_eq!(later.at().next, recorder.recorded());
        }
        let finished = replay.finish().unwrap();
        assert_eq!(finished.state().unwrap(), recorder.state().unwrap());
        let candidate = finished.machine().candidate();
        assert_eq!(candidate, Some(Candidate { version: 3, below: 1 << 63 }));
        assert_eq!((finished.machine().served(), finished.machine().newest()), (Some(1), Some(3)));
    }
}

/// What happens while a frame is made goes into the next one.
#[test]
fn events_are_cut_off_before_they_are_framed() {
    let (mut recorder, mut frames, packet) = busy(Size::small());
    recorder.note(200, b"before").unwrap();
    let first = recorder.recorded();
    let cut = recorder.cut().unwrap();
    assert_eq!((recorder.recorded(), recorder.unframed()), (first, 0));
    assert_eq!(recorder.submit(&packet).refused, None);
    assert!(recorder.cut().is_none(), "one is under way");
    assert!(recorder.state().is_err());
    let (frame, end) = cut.framed();
    assert_eq!(end.next, first);
    recorder.bring_back(cut, end);
    frames.push(frame);
    assert_eq!(recorder.recorded(), first + 1);
    frames.extend(recorder.frame());
    assert!(recorder.frame().is_none());
    let mut replay = Replay::new();
    for frame in &frames {
        replay.frame(frame, |_, _, _, _| {}).unwrap();
    }
    assert_eq!(replay.finish().unwrap().state().unwrap(), recorder.state().unwrap());
}

#[test]
fn events_say_what_they_were_and_what_they_did() {
    let (_, frames, _) = busy(Size::small());
    let (mut replay, mut seen) = (Replay::new(), Vec::new());
    for frame in &frames {
        let note = |number, event: &Event<'_>, applied, _: &Machine| {
            seen.push((number, event.name(), applied));
        };
        replay.frame(frame, note).unwrap();
    }
    let names: Vec<&str> = seen.iter().map(|(_, name, _)| *name).collect();
    let first =
        ["open", "publish", "join", "join", "join", "submit", "submit", "submit", "refuse", "weights"];
    let last = ["note", "publish", "take", "propose", "settle", "propose", "submit", "weights"];
    assert_eq!(names, [&first[..], &last[..]].concat());
    assert!(seen.iter().map(|(number, _, _)| *number).eq(0..seen.len() as u64));
    assert_eq!(seen[2].2, Applied::Joined(1));
    assert_eq!(seen[9].2, Applied::Weighed(vec![Outcome::Taught; 3]));
    let Applied::Taken(taken) = &seen[12].2 else { panic!("{:?}", seen[12]) };
    assert_eq!(taken.iter().map(|(_, _, tally)| tally.queries()).sum::<u64>(), 3);
}

#[test]
fn a_state_is_read_as_it_was_and_refused_if_it_is_cut_or_altered() {
    let (recorder, ..) =
        busy(Size { n: 2, entries: 2, settings: 1, answer_shots: 1, setting_shots: 1, ..Size::small() });
    let bytes = recorder.machine().to_bytes();
    assert_eq!(Machine::from_bytes(&bytes).unwrap(), *recorder.machine());
    for end in 0..bytes.len() {
        assert!(Machine::from_bytes(&bytes[..end]).is_err());
    }
    assert!(Machine::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        assert!(Machine::from_bytes(&other).is_err(), "byte {at}");
    }
}

/// Puts the checksum right after bytes were altered.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_forged_state_is_refused_or_does_no_harm() {
    // Whoever can write the checksum can write anything: what is accepted still has to be one that calls can live with.
    for size in sizes().take(3) {
        let (recorder, _, packet) = busy(size);
        let (bytes, mut random) = (recorder.machine().to_bytes(), Random::new(7));
        let mut accepted = 0;
        for _ in 0..4000 {
            let mut other = bytes.clone();
            for _ in 0..1 + random.below(3) {
                let at = 16 + random.below(bytes.len() - 16);
                other[at] = match random.below(3) {
                    0 => 0,
                    1 => 255,
                    _ => other[at] ^ 1 << random.below(8),
                };
            }
            let Ok(mut machine) = Machine::from_bytes(&resealed(other)) else { continue };
            accepted += 1;
            assert_eq!(machine.counts().balance(), 0);
            machine.submit(&packet);
            let tickets: Vec<Ticket> = (0..12)
                .map(|sequence| Ticket { replica: 1 + sequence % 3, incarnation: 1, sequence })
                .collect();
            let outputs = machine.options().n_outputs;
            machine.values(&tickets);
            machine.weights(&tickets, &vec![0.5; 12 * outputs], None).unwrap();
            machine.settle(true);
            machine.take(0, u32::MAX);
            assert_eq!(Machine::from_bytes(&machine.to_bytes()).unwrap(), machine);
        }
        assert!(accepted > 0, "the mutations are too coarse to say anything");
    }
}

#[test]
fn frames_that_do_not_follow_are_refused_and_say_where() {
    let (_, frames, _) = busy(Size::small());
    let refused = |frames: &[&Vec<u8>]| {
        let mut replay = Replay::new();
        let mut all = frames.iter().map(|frame| replay.frame(frame, |_, _, _, _| {}));
        all.find_map(std::result::Result::err).expect("they do not follow").to_string()
    };
    let [a, b, c] = &frames[..] else { panic!("three frames") };
    assert!(refused(&[a, c]).contains("event 12 follows event 5"), "{}", refused(&[a, c]));
    assert!(refused(&[a, b, b]).contains("event 5 follows event 12"));
    assert!(refused(&[b]).contains("event 5 follows event 0"));
    // Another journal's frame, of the same number.
    let mut other = Recorder::new(options(&versions(Size::small(), 1)[0].1)).unwrap();
    (0..4).for_each(|name| assert_eq!(other.join(name).unwrap(), 1));
    drop(other.frame());
    other.note(130, b"other").unwrap();
    let foreign = other.frame().unwrap();
    assert!(refused(&[a, &foreign]).contains("the frame of event 5 follows another one"));
    for end in 0..b.len() {
        let mut replay = Replay::new();
        replay.frame(a, |_, _, _, _| {}).unwrap();
        let before = replay.clone();
        assert!(replay.frame(&b[..end], |_, _, _, _| {}).is_err());
        assert_eq!((replay.at(), replay.machine()), (before.at(), before.machine()));
    }
    let mut newer = a.clone();
    newer[4] = 3;
    let error = Replay::new().frame(&newer, |_, _, _, _| {}).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 3, supported: 2, .. }));
    let mut former = a.clone();
    former[4] = 1;
    Replay::new().frame(&resealed(former), |_, _, _, _| {}).unwrap();
}

#[test]
fn an_event_that_cannot_have_happened_is_refused() {
    let (recorder, _, _) = busy(Size::small());
    let mut twin = Replay::from_state(&recorder.state().unwrap()).unwrap().finish().unwrap();
    // Both go on from the same place; what one writes down is impossible for a machine that has settled its candidate.
    twin.settle(true);
    let settled = twin.frame().unwrap();
    let mut replay = Replay::from_state(&recorder.state().unwrap()).unwrap();
    replay.frame(&settled, |_, _, _, _| {}).unwrap();
    let mut bytes = settled;
    let mark = replay.at();
    bytes[16..24].copy_from_slice(&mark.next.to_le_bytes());
    bytes[28..32].copy_from_slice(&mark.chain.to_le_bytes());
    let error = replay.frame(&resealed(bytes), |_, _, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("(settle): journal is damaged: there is no candidate"), "{error}");
}

#[test]
fn a_frame_is_read_without_a_machine() {
    let (_, frames, _) = busy(Size::small());
    let frame = Frame::decode(&frames[1]).unwrap();
    assert_eq!((frame.first, frame.count, frame.end.next), (5, 7, 12));
    assert_eq!(frame.before, Frame::decode(&frames[0]).unwrap().end.chain);
    assert_eq!(frame.events().map(|event| event.unwrap().name()).collect::<Vec<_>>().len(), 7);
    let mut forged = frames[1].clone();
    forged[24] += 1; // one event more than there are
    let forged = resealed(forged);
    assert!(Frame::decode(&forged).unwrap().events().any(|event| event.is_err()));
}

#[test]
fn without_a_journal_nothing_is_written_down() {
    let versions = versions(Size::small(), 1);
    let mut silent = Recorder::silent(Machine::new(options(&versions[0].1)).unwrap());
    silent.publish(versions[0].1.clone()).unwrap();
    silent.join(1).unwrap();
    assert_eq!((silent.recorded(), silent.unframed(), silent.frame()), (0, 0, None));
    assert!(silent.state().is_err());
}

#[test]
fn a_candidate_answers_its_part_of_the_queries_and_no_others() {
    let versions = versions(Size::small(), 3);
    let mut machine =
        Machine::new(Options { pending: 10_000, quota: 10_000, ..options(&versions[0].1) }).unwrap();
    assert!(machine.propose(versions[0].1.clone(), 1 << 62).is_err(), "nothing is served");
    machine.publish(versions[0].1.clone()).unwrap();
    machine.propose(versions[1].1.clone(), 1 << 62).unwrap();
    assert!(machine.publish(versions[2].1.clone()).is_err(), "the candidate is not settled");
    let own = versions[1].1.version();
    let (mut random, mut chosen) = (Random::new(1), 0);
    for replica in 0..8 {
        machine.join(replica).unwrap();
        let sequence = efl_fleet::sequence::Sequence::new(own, replica, 1);
        for block in 0..16 {
            let mine = sequence.is_chosen(8 * block, 1 << 62);
            assert!((0..8).all(|i| sequence.is_chosen(8 * block + i, 1 << 62) == mine));
            chosen += u64::from(mine);
            let bytes = versions[1].0.queries(span(replica, 1, 8 * block, 8), &mut random).packet;
            let refused = machine.submit(&bytes).refused;
            assert_eq!(refused, (!mine).then_some(Refusal::NotChosen));
            if !mine {
                let bytes = versions[0].0.queries(span(replica, 1, 8 * block, 8), &mut random).packet;
                assert_eq!(machine.submit(&bytes).refused, None);
            }
        }
    }
    assert_eq!(chosen, 8 * 4, "exactly a quarter of the blocks of each replica");
    // A packet that begins in a block of the candidate's and ends in another one.
    let counts = machine.counts();
    assert_eq!((counts.admitted, counts.refused(Refusal::NotChosen)), (1024, 96));
    let waits = counts.pending;
    assert_eq!(machine.settle(false), Some(1));
    let counts = machine.counts();
    assert_eq!((counts.expired, counts.pending), (8 * 8 * 4, waits - 8 * 8 * 4));
    assert_eq!(machine.settle(true), None);
    let late = versions[1].0.queries(span(0, 1, 128, 8), &mut random).packet;
    assert_eq!(machine.submit(&late).refused, Some(Refusal::TooOld));
    machine.publish(versions[2].1.clone()).unwrap();
    assert_eq!(machine.served(), Some(2));
}
