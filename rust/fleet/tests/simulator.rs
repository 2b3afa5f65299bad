//! A network that reorders, duplicates, damages and loses, between replicas that retry and a learner: 256 runs from their
//! seeds, each against a machine that is written as its specification is.

mod common;

use common::{Random, Roster, Sent, Size, span};
use efl_fleet::machine::{Machine, Options, Outcome, Refusal};
use efl_fleet::pending::Ticket;
use efl_fleet::reader::Reader;
use efl_fleet::tally::Tally;
use std::collections::BTreeMap;
use std::sync::Arc;

const FLEET: u64 = 99;

fn options(random: &mut Random, reader: &Reader) -> Options {
    Options {
        fleet: FLEET,
        n_outputs: reader.n_outputs(),
        n_parameters: reader.n_parameters(),
        keep: 1 + random.below(4),
        pending: 5 + random.below(60),
        quota: if random.chance(0.5) { usize::MAX } else { 10 + random.below(10) },
        buckets: [1, 3][random.below(2)],
        replicas: 3 + random.below(3),
    }
}

/// One query that was admitted.
#[derive(Clone)]
struct Known {
    ticket: Ticket,
    version: u32,
    state: State,
    /// The packet with this query alone.
    sent: Sent,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Waits,
    Taught,
    Expired,
    AnsweredOnly,
}

/// The specification: lists, and a look at all of them for everything.
struct Twin {
    options: Options,
    joined: BTreeMap<u64, (u32, u64)>,
    versions: Vec<(Roster, Arc<Reader>)>,
    queries: Vec<Known>,
    /// What has been counted: query, weights, loss.
    counted: Vec<(usize, Vec<f64>, f64)>,
    dropped: u64,
}

impl Twin {
    fn oldest(&self) -> usize {
        self.versions.len().saturating_sub(self.options.keep)
    }

    fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.queries.len()).filter(|i| self.queries[*i].state == State::Waits)
    }

    fn count(&self, state: State) -> u64 {
        self.queries.iter().filter(|query| query.state == state).count() as u64
    }

    fn publish(&mut self, roster: Roster, reader: Arc<Reader>) {
        self.versions.push((roster, reader));
        let oldest = self.oldest() as u32;
        for i in self.waiting().collect::<Vec<_>>() {
            if self.queries[i].version < oldest {
                self.queries[i].state = State::Expired;
            }
        }
    }

    fn submit(&mut self, message: &Message, random: &mut Random) -> Option<Refusal> {
        let (sent, version) = (&message.sent, message.version as usize);
        if message.damaged {
            return Some(Refusal::Malformed);
        }
        let span = sent.span;
        match self.joined.get(&span.replica) {
            None => return Some(Refusal::UnknownReplica),
            Some((incarnation, _)) if span.incarnation < *incarnation => return Some(Refusal::Superseded),
            Some((incarnation, _)) if span.incarnation > *incarnation => {
                return Some(Refusal::UnknownReplica);
            }
            Some((_, next)) if span.first < *next => return Some(Refusal::Duplicate),
            Some((_, next)) if span.first - u64::from(span.dropped) != *next => return Some(Refusal::Gap),
            Some(_) => {}
        }
        if version < self.oldest() {
            return Some(Refusal::TooOld);
        }
        if version >= self.versions.len() {
            return Some(Refusal::UnknownVersion);
        }
        if sent.numbers.len() > self.options.pending {
            return Some(Refusal::OverCapacity);
        }
        let held = self.waiting().filter(|i| self.queries[*i].ticket.replica == span.replica).count();
        if held + sent.numbers.len() > self.options.quota {
            return Some(Refusal::OverQuota);
        }
        let roster = self.versions[version].0.clone();
        for sequence in span.first..span.end() {
            let Span { replica, incarnation, .. } = span;
            let alone = message.alone(&roster, sequence, random);
            let state = if sent.numbers.contains(&sequence) { State::Waits } else { State::AnsweredOnly };
            let ticket = Ticket { replica, incarnation, sequence };
            self.queries.push(Known { ticket, version: message.version, state, sent: alone });
        }
        self.joined.insert(span.replica, (span.incarnation, span.end()));
        self.dropped += u64::from(span.dropped);
        let waiting: Vec<usize> = self.waiting().collect();
        for i in &waiting[..waiting.len().saturating_sub(self.options.pending)] {
            self.queries[*i].state = State::Expired;
        }
        None
    }

    fn weigh(&mut self, ticket: &Ticket, weights: &[f64], loss: f64) -> Outcome {
        let found = self.waiting().find(|i| self.queries[*i].ticket == *ticket);
        let Some(i) = found else { return Outcome::UnknownOrUsed };
        if weights.iter().any(|w| !w.is_finite()) || loss.is_infinite() {
            return Outcome::NotFinite;
        }
        if weights.iter().any(|w| w.abs() > 1e9) {
            return Outcome::OutOfRange;
        }
        self.queries[i].state = State::Taught;
        self.counted.push((i, weights.to_vec(), loss));
        Outcome::Taught
    }

    /// The tallies, from the queries that were counted, the last ones first.
    fn tallies(&self, bucket: impl Fn(u64) -> u32) -> BTreeMap<(u32, u32), Tally> {
        let mut tallies: BTreeMap<(u32, u32), Tally> = BTreeMap::new();
        for (i, weights, loss) in self.counted.iter().rev() {
            let query = &self.queries[*i];
            if (query.version as usize) < self.oldest() {
                continue;
            }
            let reader = &self.versions[query.version as usize].1;
            let one = reader.tally(&query.sent.decoded(), weights, Some(&[*loss])).unwrap();
            let key = (query.version, bucket(query.ticket.replica));
            match tallies.get_mut(&key) {
                Some(tally) => tally.merge(&one).unwrap(),
                None => drop(tallies.insert(key, one)),
            }
        }
        tallies
    }
}

use efl_fleet::packet::{Bits, Span, encode};

/// A packet on its way.
#[derive(Clone)]
struct Message {
    sent: Sent,
    version: u32,
    bytes: Vec<u8>,
    damaged: bool,
}

impl Message {
    /// One of its queries, as a packet of its own.
    fn alone(&self, roster: &Roster, sequence: u64, random: &mut Random) -> Sent {
        let mut one =
            roster.queries(span(self.sent.span.replica, self.sent.span.incarnation, sequence, 1), random);
        if let Some(i) = self.sent.numbers.iter().position(|number| *number == sequence) {
            let part = |bits: &[u8]| {
                let each = bits.len() / self.sent.numbers.len();
                bits[i * each..][..each].to_vec()
            };
            (one.answers, one.teaches) = (part(&self.sent.answers), part(&self.sent.teaches));
            let (answers, teaches) = (Bits::Bytes(&one.answers), Bits::Bytes(&one.teaches));
            one.packet = encode(&roster.version, &one.span, answers, teaches).unwrap();
        }
        one
    }
}

/// A worker: it keeps what was not acknowledged, oldest first.
struct Replica {
    name: u64,
    incarnation: u32,
    sequence: u64,
    queue: Vec<(Sent, u32)>,
}

struct World {
    random: Random,
    machine: Machine,
    twin: Twin,
    replicas: Vec<Replica>,
    flying: Vec<Message>,
    tickets: Vec<Ticket>,
    size: Size,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let size = Size {
            n: 2,
            answer_shots: 3,
            setting_shots: 1 + random.below(2) as u16,
            teach: if random.chance(0.5) { 1.0 } else { 0.5 },
            gentle: random.chance(0.2),
            ..Size::small()
        };
        // The number of columns is part of the roster: take the first seed that has two.
        let (roster, reader) = World::roster(&size, 0, &mut random);
        let options = options(&mut random, &reader);
        let machine = Machine::new(options.clone()).unwrap();
        let (joined, versions, queries, counted) = Default::default();
        let twin = Twin { options, joined, versions, queries, counted, dropped: 0 };
        let (replicas, flying, tickets) = Default::default();
        let mut world = World { random, machine, twin, replicas, flying, tickets, size };
        world.publish_this(roster, reader);
        world
    }

    fn roster(size: &Size, number: u32, random: &mut Random) -> (Roster, Arc<Reader>) {
        loop {
            let roster = Roster::random(*size, FLEET, number, random.next());
            if roster.columns == 2 {
                let reader = Arc::new(roster.reader(None));
                return (roster, reader);
            }
        }
    }

    fn publish_this(&mut self, roster: Roster, reader: Arc<Reader>) {
        self.machine.publish(reader.clone()).unwrap();
        self.twin.publish(roster, reader);
    }

    fn step(&mut self) {
        match self.random.below(60) {
            0 => {
                let number = self.twin.versions.len() as u32;
                let (roster, reader) = World::roster(&self.size, number, &mut self.random);
                self.publish_this(roster, reader);
            }
            1 | 2 => self.join(),
            3..=17 => self.answer(),
            18..=44 => self.deliver(),
            _ => self.label(),
        }
        self.check_counts();
    }

    fn join(&mut self) {
        let name = 1 << self.random.below(8);
        let full = self.twin.joined.len() >= self.twin.options.replicas;
        let before = self.twin.joined.get(&name).map(|(incarnation, _)| *incarnation);
        match self.machine.join(name) {
            Ok(incarnation) => {
                assert_eq!(incarnation, before.unwrap_or(0) + 1);
                self.twin.joined.insert(name, (incarnation, 0));
                self.replicas.retain(|replica| replica.name != name || self.random.chance(0.5));
                self.replicas.push(Replica { name, incarnation, sequence: 0, queue: Vec::new() });
            }
            Err(_) => assert!(full && before.is_none()),
        }
    }

    /// A replica answers some queries, and sends the first packet that has not been acknowledged.
    fn answer(&mut self) {
        if self.replicas.is_empty() {
            return;
        }
        let (count, version) = (self.random.below(7) as u32, self.random.below(3));
        let version = self.twin.versions.len().saturating_sub(1 + version);
        if self.random.chance(0.02) {
            let sent = self.twin.versions[version].0.queries(span(3, 1, 0, 1), &mut self.random);
            let bytes = sent.packet.clone();
            self.flying.push(Message { sent, version: version as u32, bytes, damaged: false });
        }
        let at = self.random.below(self.replicas.len());
        let replica = &mut self.replicas[at];
        if count > 0 {
            let span = span(replica.name, replica.incarnation, replica.sequence, count);
            let sent = self.twin.versions[version].0.queries(span, &mut self.random);
            replica.sequence += u64::from(count);
            let Span { replica: name, incarnation, first, .. } = span;
            let ticket = |i| Ticket { replica: name, incarnation, sequence: first + i };
            self.tickets.extend((0..u64::from(count)).map(ticket));
            replica.queue.push((sent, version as u32));
        }
        if self.random.chance(0.1) && replica.queue.len() > 1 {
            replica.queue.remove(0); // given up: the next packet says so
        }
        let next = self.twin.joined.get(&replica.name).map_or(0, |(_, next)| *next);
        let honest = self.random.chance(0.95);
        for (sent, version) in replica.queue.iter().take(1 + self.random.below(2)) {
            let mut sent = sent.clone();
            // Only what was given up before the first of the queue is declared; later ones make a gap if they come first.
            sent.span.dropped = match sent.span.first.checked_sub(next) {
                Some(gap) if honest && sent.span.first == replica.queue[0].0.span.first => gap as u32,
                _ => 0,
            };
            let roster = &self.twin.versions[*version as usize].0;
            let bits = (Bits::Bytes(&sent.answers), Bits::Bytes(&sent.teaches));
            let mut bytes = encode(&roster.version, &sent.span, bits.0, bits.1).unwrap();
            let damaged = self.random.chance(0.05);
            if damaged {
                let at = self.random.below(bytes.len());
                bytes[at] ^= 1 << self.random.below(8);
            }
            self.flying.push(Message { sent, version: *version, bytes, damaged });
        }
    }

    /// Any packet on its way arrives; it may arrive again, or others may be lost.
    fn deliver(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.random.below(self.flying.len());
        let message = match self.random.chance(0.2) {
            true => self.flying[at].clone(),
            false => self.flying.swap_remove(at),
        };
        let receipt = self.machine.submit(&message.bytes);
        assert_eq!(receipt.refused, self.twin.submit(&message, &mut self.random));
        assert_eq!(receipt.served, Some(self.twin.versions.len() as u32 - 1));
        if message.damaged {
            return;
        }
        let expected = self.twin.joined.get(&message.sent.span.replica).map_or(0, |(_, next)| *next);
        assert_eq!(receipt.next, expected);
        if self.random.chance(0.2) {
            return; // the receipt is lost
        }
        let own = |replica: &&mut Replica| {
            replica.name == message.sent.span.replica && replica.incarnation == message.sent.span.incarnation
        };
        if let Some(replica) = self.replicas.iter_mut().find(own) {
            match receipt.refused {
                None | Some(Refusal::Duplicate | Refusal::TooOld | Refusal::OverCapacity) => {
                    let first = message.sent.span.first;
                    replica.queue.retain(|(sent, _)| sent.span.first != first);
                }
                _ => {}
            }
        }
    }

    /// Labels come: late, twice, for queries that never were, and some that are no numbers.
    fn label(&mut self) {
        let outputs = self.size.outputs;
        let settings = usize::from(self.size.settings);
        let each = if self.random.chance(0.5) { outputs } else { outputs * settings };
        let (mut tickets, mut weights, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.random.below(8) {
            let known = !self.tickets.is_empty() && self.random.chance(0.9);
            let any = |random: &mut Random| Ticket {
                replica: 1 << random.below(8),
                incarnation: random.below(3) as u32,
                sequence: random.below(40) as u64,
            };
            // Mostly of the last answers: others have been given up.
            let back = if self.random.chance(0.8) { 60 } else { 1000 };
            let at = self.tickets.len().saturating_sub(1 + self.random.below(back));
            tickets.push(if known { self.tickets[at] } else { any(&mut self.random) });
            let bad = [f64::NAN, f64::INFINITY, 1e12][self.random.below(3)];
            let spoilt = self.random.chance(0.1);
            for o in 0..each {
                weights.push(if spoilt && o == 0 { bad } else { self.random.signed() });
            }
            losses.push(if self.random.chance(0.3) { f64::NAN } else { self.random.unit() });
        }
        let found = self.machine.weights(&tickets, &weights, Some(&losses)).unwrap();
        for (i, ticket) in tickets.iter().enumerate() {
            let weights = &weights[i * each..][..each];
            let expected = self.twin.weigh(ticket, weights, losses[i]);
            // What is out of range depends on what is read: not every reading of such a weight is large.
            if expected == Outcome::OutOfRange && found[i] == Outcome::Taught {
                let waits = self.twin.waiting().find(|i| self.twin.queries[*i].ticket == *ticket).unwrap();
                self.twin.queries[waits].state = State::Taught;
                self.twin.counted.push((waits, weights.to_vec(), losses[i]));
            } else {
                assert_eq!(found[i], expected, "{ticket:?}");
            }
        }
    }

    fn check_counts(&self) {
        let (counts, twin) = (self.machine.counts(), &self.twin);
        assert_eq!(counts.balance(), 0);
        assert_eq!(counts.admitted, twin.queries.len() as u64);
        assert_eq!(counts.taught, twin.count(State::Taught));
        assert_eq!(counts.expired, twin.count(State::Expired));
        assert_eq!(counts.pending, twin.count(State::Waits));
        assert_eq!(counts.answered_only, twin.count(State::AnsweredOnly));
        assert_eq!((counts.dropped, counts.replicas), (twin.dropped, twin.joined.len() as u64));
    }

    fn check_everything(&self) {
        let twin = &self.twin;
        let last = twin.versions.len() as u32;
        let found: BTreeMap<(u32, u32), &Tally> = self
            .machine
            .tallies(0, last)
            .filter(|(_, _, tally)| tally.queries() > 0)
            .map(|(version, bucket, tally)| ((version, bucket), tally))
            .collect();
        let choices = twin.options.buckets;
        let expected = twin.tallies(|_| 0);
        let mut merged: BTreeMap<(u32, u32), Tally> = BTreeMap::new();
        for ((version, bucket), tally) in &found {
            assert!(*bucket < choices);
            match merged.get_mut(&(*version, 0)) {
                Some(sum) => sum.merge(tally).unwrap(),
                None => drop(merged.insert((*version, 0), (*tally).clone())),
            }
        }
        assert!(merged == expected, "tallies have other bits than the sum over queries");
        for query in &twin.queries {
            let readouts = self.machine.values(&[query.ticket]);
            assert_eq!(readouts.pending[0], query.state == State::Waits, "{:?}", query.ticket);
            if query.state == State::Waits {
                let roster = &twin.versions[query.version as usize].0;
                assert_eq!(readouts.versions[0], query.version);
                for (a, b) in readouts.values.iter().zip(query.sent.values(roster, 0)) {
                    assert!((a - b).abs() < 1e-12);
                }
            }
        }
    }
}

#[test]
fn the_machine_does_what_its_specification_does() {
    let (mut refused, mut outcomes) = ([0; Refusal::ALL.len()], [0; Outcome::ALL.len()]);
    for seed in 0..256 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.check_everything();
        let counts = world.machine.counts();
        Refusal::ALL.iter().for_each(|r| refused[*r as usize] += counts.refused(*r));
        Outcome::ALL.iter().for_each(|o| outcomes[*o as usize] += counts.weighed(*o));
    }
    // The network was as bad as it was meant to be.
    for refusal in Refusal::ALL {
        let possible = !matches!(
            refusal,
            Refusal::OtherFleet | Refusal::OutOfRange | Refusal::UnknownVersion | Refusal::NotChosen
        );
        assert!(!possible || refused[refusal as usize] >= 10, "{refusal:?}: {refused:?}");
    }
    assert!(outcomes.iter().all(|count| *count >= 100), "{outcomes:?}");
}

#[test]
fn retries_and_orders_do_not_change_a_bit() {
    // Replicas that retry until they are acknowledged, over networks that shuffle and duplicate: the same tallies.
    let size = Size { n: 3, teach: 0.7, ..Size::small() };
    let roster = Roster::random(size, FLEET, 0, 2);
    let reader = Arc::new(roster.reader(Some(vec![0.5, -1.0])));
    let mut random = Random::new(3);
    let packets: Vec<Vec<Sent>> = (0..6)
        .map(|r| (0..8).map(|i| roster.queries(span(r, 1, 10 * i, 10), &mut random)).collect())
        .collect();
    let run = |seed: u64| {
        let mut random = Random::new(seed);
        let machine = Options { keep: 1, pending: 1, quota: 1, ..options(&mut random, &reader) };
        let mut machine = Machine::new(Options { buckets: 3, replicas: 6, ..machine }).unwrap();
        machine.publish(reader.clone()).unwrap();
        (0..6).for_each(|r| assert_eq!(machine.join(r).unwrap(), 1));
        let mut acknowledged = [0; 6];
        while acknowledged.iter().any(|done| *done < 8) {
            let r = random.below(6);
            // An old one again, the one that is due, or one too early.
            let at = (acknowledged[r] + random.below(3)).saturating_sub(1).min(7);
            let receipt = machine.submit(&packets[r][at].packet);
            if receipt.refused.is_none() && random.chance(0.8) {
                acknowledged[r] += 1;
            } else if receipt.refused == Some(Refusal::Duplicate) {
                acknowledged[r] = receipt.next as usize / 10;
            }
        }
        assert_eq!((machine.counts().admitted, machine.counts().balance()), (480, 0));
        let tallies = machine.tallies(0, 0).map(|(_, bucket, tally)| (bucket, tally.to_bytes()));
        tallies.collect::<Vec<_>>()
    };
    let first = run(0);
    assert!(first.len() > 1 && (1..20).all(|seed| run(seed) == first));
}
