//! A learner that crashes: a machine and its journal on a disk that fails, behind a network that reorders, doubles, loses and
//! delays, with a second learner that does not know that it has been replaced. 10,000 runs, each from its seed.
//!
//! After every crash the journal is read again, and what is found is held against what clients were told:
//!
//! - what was acknowledged is there, and nothing is there twice;
//! - the state has the bits that it had when its last frame became durable, from a checkpoint or from the beginning;
//! - sums over queries are those of the admitted packets and the weights that taught, added up in another way;
//! - a version that was handed out is on the disk; what is held is bounded;
//! - a torn or altered frame is refused.
//!
//! A run that fails says its seed; `EFL_SEED=17 cargo test -p efl-fleet --test crashes` runs it alone.

mod common;

use common::{Random, Roster, Size, span};
use efl_fleet::journal::{Applied, Event, Frame, Recorder, Replay};
use efl_fleet::machine::{Options, Outcome, Refusal};
use efl_fleet::packet::{Packet, Span};
use efl_fleet::pending::Ticket;
use efl_fleet::reader::{Query, Reader, Scratch, Weights};
use efl_fleet::sequence::{BLOCK, Sequence};
use efl_fleet::tally::Tally;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

const FLEET: u64 = 5;
const RUNS: u64 = 10_000;
const STEPS: usize = 120;
const VERSIONS: u32 = 24;
/// Bytes of a machine and its events, whatever happens.
const BOUND: usize = 400_000;

/// All versions of a fleet.
type Versions = Vec<(Roster, Arc<Reader>)>;

/// Versions with their readers: making them takes longer than a run.
static VERSIONS_OF: LazyLock<Vec<Versions>> = LazyLock::new(|| {
    let sizes = [(1.0, false), (0.5, false), (1.0, true)];
    let made = |teach, gentle| {
        let size = Size { n: 2, answer_shots: 3, setting_shots: 1, teach, gentle, ..Size::small() };
        let version = |number| {
            let mut seeds = (0..).map(|seed| Roster::random(size, FLEET, number, seed));
            let roster = seeds.find(|roster| roster.columns == 2).expect("one in four");
            let reader = Arc::new(roster.reader(None));
            (roster, reader)
        };
        (0..VERSIONS).map(version).collect()
    };
    sizes.into_iter().map(|(teach, gentle)| made(teach, gentle)).collect()
});

/// What survives a crash. A commit is a transaction: all of it is there, or nothing.
#[derive(Default)]
struct Disk {
    frames: Vec<Vec<u8>>,
    /// The numbers of their first events.
    firsts: Vec<u64>,
    /// A state.
    checkpoint: Option<Vec<u8>>,
    /// The bits of the state behind each frame.
    states: Vec<u32>,
}

/// What becomes of a commit.
#[derive(Clone, Copy, PartialEq)]
enum Commit {
    Succeeds,
    /// The disk is full, or its write fails: nothing is there, and the learner knows.
    Fails,
    CrashesBefore,
    CrashesAfter,
}

/// Something that a client waits to be told.
enum Ack {
    Joined { worker: usize, incarnation: u32 },
    Received { worker: usize, span: Span, refused: Option<Refusal>, next: u64 },
    Weighed { tickets: Vec<Ticket>, outcomes: Vec<Outcome> },
    Version(u32),
}

/// A process that runs until it crashes.
struct Learner {
    recorder: Recorder,
    /// What is to be told when its event is durable.
    waiting: Vec<Ack>,
    has_failed: bool,
}

/// The sender of packets: the oldest one until it is acknowledged.
#[derive(Default)]
struct Worker {
    name: u64,
    /// What it was told; 0 before.
    incarnation: u32,
    sequence: u64,
    /// The learner has been told of all queries before this one.
    told: u64,
    queue: Vec<(Span, u32)>,
}

#[derive(Clone)]
enum Message {
    Join { worker: usize },
    Packet { worker: usize, span: Span, bytes: Vec<u8> },
}

/// What clients know.
#[derive(Default)]
struct Told {
    /// Acknowledged queries: replica, incarnation, sequence.
    queries: BTreeSet<(u64, u32, u64)>,
    taught: BTreeSet<(u64, u32, u64)>,
    incarnations: BTreeSet<(u64, u32)>,
    versions: BTreeSet<u32>,
}

struct World {
    random: Random,
    versions: &'static [(Roster, Arc<Reader>)],
    options: Options,
    disk: Disk,
    learner: Learner,
    /// A learner that was replaced and does not know it.
    zombie: Option<Learner>,
    workers: Vec<Worker>,
    flying: Vec<Message>,
    tickets: Vec<Ticket>,
    told: Told,
    seen: Seen,
}

/// How often what happened, over all runs.
#[derive(Default, Clone, Debug, PartialEq)]
struct Seen {
    crashes: u64,
    failures: u64,
    fenced: u64,
    damaged: u64,
    checkpoints: u64,
    candidates: u64,
    not_chosen: u64,
    acknowledged: u64,
    taught: u64,
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn key(ticket: &Ticket) -> (u64, u32, u64) {
    (ticket.replica, ticket.incarnation, ticket.sequence)
}

fn keys(span: &Span) -> impl Iterator<Item = (u64, u32, u64)> + use<> {
    let Span { replica, incarnation, first, queries, .. } = *span;
    (first..first + u64::from(queries)).map(move |sequence| (replica, incarnation, sequence))
}

/// What the frames of a disk say, without a machine: which queries were admitted, and in which packet.
struct Written {
    packets: Vec<Vec<u8>>,
    versions: BTreeSet<u32>,
}

impl Disk {
    /// Writes a frame, and a state behind it; a frame of the same number is refused, as by a primary key.
    fn insert(&mut self, frame: Vec<u8>, state: u32) -> bool {
        let first = Frame::decode(&frame).expect("a frame that was just made").first;
        let end = self.frames.last().map_or(0, |last| Frame::decode(last).expect("undamaged").end.next);
        assert!(first <= end, "a learner has left events out");
        if first < end {
            return false;
        }
        self.frames.push(frame);
        self.firsts.push(first);
        self.states.push(state);
        true
    }

    /// The machine of the journal, from its checkpoint or from its beginning.
    fn replay(&self, from_checkpoint: bool) -> efl_core::Result<Replay> {
        let mut replay = match &self.checkpoint {
            Some(state) if from_checkpoint => Replay::from_state(state)?,
            _ => Replay::new(),
        };
        for frame in &self.frames[self.after(replay.at().next)..] {
            replay.frame(frame, |_, _, _, _| {})?;
        }
        Ok(replay)
    }

    /// The place of the first frame whose events are not before this one. Numbers are kept beside frames, as in a table.
    fn after(&self, event: u64) -> usize {
        self.firsts.partition_point(|first| *first < event)
    }

    fn written(&self) -> Written {
        let mut written = Written { packets: Vec::new(), versions: BTreeSet::new() };
        for frame in &self.frames {
            for event in Frame::decode(frame).expect("undamaged").events() {
                match event.expect("undamaged") {
                    Event::Submit(packet) => written.packets.push(packet.to_vec()),
                    Event::Publish(reader) | Event::Propose { reader, .. } => {
                        written.versions.insert(reader.version().number());
                    }
                    _ => {}
                }
            }
        }
        written
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let versions = &VERSIONS_OF[random.below(VERSIONS_OF.len())];
        let options = Options {
            fleet: FLEET,
            n_outputs: versions[0].1.n_outputs(),
            n_parameters: 2,
            keep: 2 + random.below(3),
            pending: 10 + random.below(60),
            quota: if random.chance(0.5) { usize::MAX } else { 10 + random.below(20) },
            buckets: [1, 3][random.below(2)],
            replicas: 4 + random.below(3),
        };
        let learner = Learner {
            recorder: Recorder::new(options.clone()).expect("bounds"),
            waiting: Vec::new(),
            has_failed: false,
        };
        let workers = (0..3).map(|i| Worker { name: 1 << (20 * i), ..Worker::default() }).collect();
        let (disk, zombie, flying, tickets, told, seen) = Default::default();
        let mut world =
            World { random, versions, options, disk, learner, zombie, workers, flying, tickets, told, seen };
        world.publish();
        world
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=2 => self.publish(),
            3..=5 => self.settle(),
            6 => self.take(),
            7..=12 => self.join(),
            13..=34 => self.answer(),
            35..=60 => self.deliver(),
            61..=74 => self.label(),
            75..=91 => self.commit(Commit::Succeeds),
            92 => self.commit(Commit::Fails),
            93 => self.commit(Commit::CrashesBefore),
            94 => self.commit(Commit::CrashesAfter),
            95..=97 => self.checkpoint(),
            _ => self.replace(),
        }
        let held = self.learner.recorder.machine().nbytes() + self.learner.recorder.unframed();
        assert!(held < BOUND, "{held} bytes are held");
    }

    // ---- what the learner does ----

    fn publish(&mut self) {
        let Learner { recorder, waiting, has_failed } = &mut self.learner;
        let next = recorder.machine().newest().map_or(0, |newest| newest + 1);
        if *has_failed || next >= VERSIONS {
            return;
        }
        let reader = self.versions[next as usize].1.clone();
        if recorder.machine().candidate().is_some() {
            return;
        }
        if next > 0 && self.random.chance(0.5) {
            recorder.propose(reader, self.random.next() | 1).expect("there is no other candidate");
            self.seen.candidates += 1;
        } else {
            recorder.publish(reader).expect("the next version");
        }
        waiting.push(Ack::Version(next));
    }

    fn settle(&mut self) {
        if !self.learner.has_failed {
            let is_good = self.random.chance(0.5);
            self.learner.recorder.settle(is_good);
        }
    }

    fn take(&mut self) {
        if !self.learner.has_failed {
            let last = self.learner.recorder.machine().served().unwrap_or(0);
            self.learner.recorder.take(last.saturating_sub(1), last);
            self.learner.recorder.note(130, b"a step").expect("a note");
        }
    }

    fn commit(&mut self, how: Commit) {
        if self.learner.has_failed {
            return drop(self.crash());
        }
        let Some(frame) = self.learner.recorder.frame() else { return };
        let state = crc(&self.learner.recorder.machine().to_bytes());
        match how {
            Commit::CrashesBefore => return drop(self.crash()),
            Commit::Fails => {
                self.seen.failures += 1;
                self.learner.has_failed = true;
                self.learner.waiting.clear();
                return;
            }
            Commit::Succeeds | Commit::CrashesAfter => {}
        }
        if !self.disk.insert(frame, state) {
            // Another learner has written here.
            self.seen.fenced += 1;
            self.learner.has_failed = true;
            self.learner.waiting.clear();
            return;
        }
        if how == Commit::CrashesAfter {
            return drop(self.crash());
        }
        for ack in std::mem::take(&mut self.learner.waiting) {
            self.tell(ack);
        }
    }

    fn checkpoint(&mut self) {
        self.commit(Commit::Succeeds);
        if !self.learner.has_failed && self.learner.recorder.unframed() == 0 {
            let state = self.learner.recorder.state().expect("all is framed");
            self.disk.checkpoint = Some(state);
            self.seen.checkpoints += 1;
        }
    }

    /// The process ends, and another one begins where the journal does.
    fn crash(&mut self) -> Learner {
        self.seen.crashes += 1;
        if self.random.chance(0.3) {
            self.damage();
        }
        let recorder = self.recovered();
        let before =
            std::mem::replace(&mut self.learner, Learner { recorder, waiting: vec![], has_failed: false });
        self.learner.recorder.rebound(self.options.clone()).expect("the same fleet");
        self.flying.retain(|_| self.random.chance(0.8));
        before
    }

    /// The process only seems to have ended: if it writes first, what the new one writes must not count, and the other way
    /// round.
    fn replace(&mut self) {
        let before = self.crash();
        if !before.has_failed && self.random.chance(0.5) {
            self.zombie = Some(before);
        }
        if self.random.chance(0.5)
            && let Some(mut zombie) = self.zombie.take()
        {
            zombie.recorder.note(131, b"late").expect("a note");
            let state = crc(&zombie.recorder.machine().to_bytes());
            if zombie.recorder.frame().is_none_or(|frame| !self.disk.insert(frame, state)) {
                self.seen.fenced += 1;
            } else {
                zombie.waiting.into_iter().for_each(|ack| self.tell(ack));
            }
        }
    }

    /// The machine that a journal makes, held against the bits that it had.
    fn recovered(&mut self) -> Recorder {
        let replay = self.disk.replay(true).expect("an undamaged journal");
        let Some(recorder) = replay.clone().finish() else {
            assert!(self.told.versions.is_empty(), "something was told before anything was durable");
            return Recorder::new(self.options.clone()).expect("bounds");
        };
        let state = recorder.machine().to_bytes();
        assert_eq!(crc(&state), *self.disk.states.last().expect("a frame"), "the state has other bits");
        if self.random.chance(0.2) {
            let whole = self.disk.replay(false).expect("an undamaged journal");
            assert_eq!((whole.at(), whole.machine()), (replay.at(), replay.machine()));
        }
        assert_eq!(recorder.machine().counts().balance(), 0);
        recorder
    }

    /// A frame that is torn, altered or gone is refused, whatever it was.
    fn damage(&mut self) {
        let next = |state: &Vec<u8>| Replay::from_state(state).expect("an undamaged state").at().next;
        let start = self.disk.after(self.disk.checkpoint.as_ref().map_or(0, next));
        let frames = &mut self.disk.frames;
        if start >= frames.len() {
            return;
        }
        let at = start + self.random.below(frames.len() - start);
        let whole = frames[at].clone();
        match self.random.below(3) {
            0 => frames[at].truncate(self.random.below(whole.len())),
            1 => frames[at][self.random.below(whole.len())] ^= 1 << self.random.below(8),
            _ if at + 1 < frames.len() => frames[at] = frames[at + 1].clone(),
            _ => frames[at] = Vec::new(),
        }
        let found = self.disk.replay(true).map(|_| ()).expect_err("it is damaged");
        // It says where; a flipped bit may look like a newer format.
        let text = found.to_string();
        assert!(text.contains("event") || text.contains("format"), "{text}");
        self.disk.frames[at] = whole;
        self.seen.damaged += 1;
    }

    // ---- what clients do ----

    fn tell(&mut self, ack: Ack) {
        match ack {
            Ack::Version(number) => drop(self.told.versions.insert(number)),
            Ack::Joined { worker, incarnation } => {
                let name = self.workers[worker].name;
                let is_new = self.told.incarnations.insert((name, incarnation));
                assert!(is_new, "two lives of a replica have the same number");
                // The receipt may be lost: it joins again.
                if self.random.chance(0.9) {
                    self.workers[worker] = Worker { name, incarnation, ..Worker::default() };
                }
            }
            Ack::Received { worker, span, refused, next } => {
                // One that was given up, and declared so by a later one, is a duplicate when it comes late.
                let own = &self.workers[worker];
                let waits = own.incarnation == span.incarnation
                    && own.queue.iter().any(|(known, _)| known.first == span.first);
                if refused.is_none() || (refused == Some(Refusal::Duplicate) && waits) {
                    self.told.queries.extend(keys(&span));
                    self.seen.acknowledged += 1;
                }
                self.seen.not_chosen += u64::from(refused == Some(Refusal::NotChosen));
                if self.random.chance(0.85) {
                    self.receive(worker, &span, refused, next);
                }
            }
            Ack::Weighed { tickets, outcomes } => {
                for (ticket, outcome) in tickets.iter().zip(outcomes) {
                    if outcome == Outcome::Taught {
                        assert!(self.told.taught.insert(key(ticket)), "{ticket:?} has taught twice");
                    }
                }
            }
        }
    }

    fn receive(&mut self, worker: usize, span: &Span, refused: Option<Refusal>, next: u64) {
        let worker = &mut self.workers[worker];
        let own = worker.incarnation == span.incarnation;
        let Some(at) = worker.queue.iter().position(|(known, _)| own && known.first == span.first) else {
            return;
        };
        match refused {
            None | Some(Refusal::Duplicate) => {
                worker.told = worker.told.max(span.end());
                worker.queue.drain(..=at);
            }
            Some(Refusal::Gap) => worker.told = next,
            Some(_) => drop(worker.queue.remove(at)),
        }
    }

    fn join(&mut self) {
        let worker = self.random.below(self.workers.len());
        if self.workers[worker].incarnation == 0 || self.random.chance(0.1) {
            self.flying.push(Message::Join { worker });
        }
    }

    /// A worker answers some queries with a version that it was told of, and sends the oldest packet that is not acknowledged.
    fn answer(&mut self) {
        let at = self.random.below(self.workers.len());
        let Some(&newest) = self.told.versions.last() else { return };
        let (is_slow, cheats) = (self.random.chance(0.2), self.random.chance(0.1));
        let count = self.random.below(5) as u64;
        let machine = self.learner.recorder.machine();
        let candidate = machine.candidate().filter(|c| c.version == newest);
        let worker = &mut self.workers[at];
        if worker.incarnation == 0 {
            return;
        }
        let count = count.min(BLOCK - worker.sequence % BLOCK);
        if count > 0 && worker.queue.len() < 6 {
            let mut version = if is_slow { newest.saturating_sub(1) } else { newest };
            if let Some(candidate) = candidate.filter(|_| !cheats && !is_slow) {
                let own = self.versions[newest as usize].1.version();
                let sequence = Sequence::new(own, worker.name, worker.incarnation);
                if !sequence.is_chosen(worker.sequence, candidate.below) {
                    version = machine.served().expect("a candidate follows a version");
                }
            }
            let span = span(worker.name, worker.incarnation, worker.sequence, count as u32);
            worker.sequence += count;
            self.tickets.extend(keys(&span).map(|(replica, incarnation, sequence)| Ticket {
                replica,
                incarnation,
                sequence,
            }));
            worker.queue.push((span, version));
        }
        self.send(at);
    }

    fn send(&mut self, worker: usize) {
        let Some((span, version)) = self.workers[worker].queue.first() else { return };
        let dropped = span.first - self.workers[worker].told.min(span.first);
        let span = Span { dropped: dropped as u32, ..*span };
        // Bits follow from the place of a query: a packet that is sent again has the same.
        let mut bits = Random::new(span.first ^ span.replica ^ u64::from(span.incarnation) << 50);
        let bytes = self.versions[*version as usize].0.queries(span, &mut bits).packet;
        self.flying.push(Message::Packet { worker, span, bytes });
    }

    /// Any message arrives: early, late, twice or never, and damaged now and then.
    fn deliver(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.random.below(self.flying.len());
        let mut message = match self.random.chance(0.2) {
            true => self.flying[at].clone(),
            false => self.flying.swap_remove(at),
        };
        if self.random.chance(0.05) {
            return;
        }
        if let Message::Packet { bytes, .. } = &mut message
            && self.random.chance(0.03)
        {
            let at = self.random.below(bytes.len());
            bytes[at] ^= 1 << self.random.below(8);
        }
        self.arrive(message);
    }

    fn arrive(&mut self, message: Message) {
        let Learner { recorder, waiting, has_failed } = &mut self.learner;
        if *has_failed {
            return; // it takes nothing any more
        }
        match message {
            Message::Join { worker } => {
                if let Ok(incarnation) = recorder.join(self.workers[worker].name) {
                    waiting.push(Ack::Joined { worker, incarnation });
                }
            }
            Message::Packet { worker, span, bytes } => {
                let receipt = recorder.submit(&bytes);
                waiting.push(Ack::Received { worker, span, refused: receipt.refused, next: receipt.next });
            }
        }
    }

    fn label(&mut self) {
        let outputs = self.versions[0].1.n_outputs();
        let (mut tickets, mut weights, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.random.below(6) {
            if self.tickets.is_empty() {
                return;
            }
            let back = 1 + self.random.below(30.min(self.tickets.len()));
            let ticket = self.tickets[self.tickets.len() - back];
            tickets.push(ticket);
            // Weights follow from the ticket, so that one that is handed in again has the same.
            let mut own = Random::new(ticket.sequence.wrapping_mul(77) ^ ticket.replica);
            let spoilt = own.chance(0.05);
            weights.extend((0..outputs).map(|o| if spoilt && o == 0 { f64::NAN } else { own.signed() }));
            losses.push(if own.chance(0.3) { f64::NAN } else { own.unit() });
        }
        let Learner { recorder, waiting, has_failed } = &mut self.learner;
        if !*has_failed {
            let outcomes = recorder.weights(&tickets, &weights, Some(&losses)).expect("weights fit");
            waiting.push(Ack::Weighed { tickets, outcomes });
        }
    }

    // ---- the end ----

    /// The network and the disk are well again: what still waits is handed over.
    fn heal(&mut self) {
        self.zombie = None;
        if self.learner.has_failed {
            drop(self.crash());
            self.zombie = None;
        }
        self.commit(Commit::Succeeds);
        if self.learner.has_failed {
            drop(self.crash());
            self.zombie = None;
        }
        self.flying.clear();
        for worker in 0..self.workers.len() {
            let mut tries = 0;
            while !self.workers[worker].queue.is_empty() {
                self.send(worker);
                let message = self.flying.pop().expect("it was sent");
                self.arrive(message);
                self.commit(Commit::Succeeds);
                tries += 1;
                assert!(tries < 200, "a packet is never taken");
            }
        }
    }

    fn check(&mut self) {
        let written = self.disk.written();
        let mut admitted: BTreeMap<(u64, u32, u64), usize> = BTreeMap::new();
        for (i, bytes) in written.packets.iter().enumerate() {
            for query in keys(&Packet::decode(bytes).expect("it was admitted").span) {
                assert!(admitted.insert(query, i).is_none(), "{query:?} was admitted twice");
            }
        }
        assert!(
            self.told.queries.iter().all(|query| admitted.contains_key(query)),
            "an acknowledged query is lost"
        );
        assert!(self.told.versions.is_subset(&written.versions), "a version that was handed out is lost");
        let (taught, taken, machine) = self.replayed();
        assert!(
            self.told.taught.iter().all(|query| taught.contains_key(query)),
            "an acknowledged weight is lost"
        );
        for (name, incarnation) in &self.told.incarnations {
            assert!(machine.machine().follows(*name).is_some_and(|(last, _)| last >= *incarnation));
        }
        let counts = machine.machine().counts();
        assert_eq!((counts.admitted, counts.taught), (admitted.len() as u64, taught.len() as u64));
        self.seen.taught += counts.taught;
        self.check_sums(&written, &admitted, &taught, &taken, &machine);
    }

    /// What the whole journal says: weights that taught, contributions that were taken, and the machine at its end.
    #[expect(clippy::type_complexity, reason = "three results of one walk")]
    fn replayed(&self) -> (BTreeMap<(u64, u32, u64), (Vec<f64>, f64)>, BTreeMap<u32, Tally>, Recorder) {
        let (mut taught, mut taken, mut replay) = (BTreeMap::new(), BTreeMap::new(), Replay::new());
        for frame in &self.disk.frames {
            let seen = |_, event: &Event<'_>, applied: Applied, _: &_| match (event, applied) {
                (Event::Weights { tickets, weights, losses }, Applied::Weighed(outcomes)) => {
                    let each = weights.len().checked_div(tickets.len()).unwrap_or(0);
                    let losses = losses.as_ref().expect("they were given");
                    for (i, ticket) in
                        tickets.iter().enumerate().filter(|(i, _)| outcomes[*i] == Outcome::Taught)
                    {
                        let own = (weights[i * each..][..each].to_vec(), losses[i]);
                        assert!(taught.insert(key(ticket), own).is_none(), "{ticket:?} has taught twice");
                    }
                }
                (_, Applied::Taken(tallies)) => {
                    tallies.into_iter().for_each(|(version, _, tally)| merge(&mut taken, version, &tally));
                }
                _ => {}
            };
            replay.frame(frame, seen).expect("an undamaged journal");
        }
        (taught, taken, replay.finish().expect("it has begun"))
    }

    /// Sums of each version: one query after the other from the packets on the disk, and as they were counted.
    fn check_sums(
        &self,
        written: &Written,
        admitted: &BTreeMap<(u64, u32, u64), usize>,
        taught: &BTreeMap<(u64, u32, u64), (Vec<f64>, f64)>,
        taken: &BTreeMap<u32, Tally>,
        recorder: &Recorder,
    ) {
        let mut expected: BTreeMap<u32, Tally> = BTreeMap::new();
        let mut scratch = Scratch::default();
        for (query, (weights, loss)) in taught.iter().rev() {
            let packet = Packet::decode(&written.packets[admitted[query]]).expect("it was admitted");
            let reader = &self.versions[packet.version as usize].1;
            let mut queries = Query::all(reader.version(), &packet.span, packet.body);
            let found = queries.find(|one| one.number == query.2).expect("it teaches");
            let weights = Weights::new(weights, reader.n_outputs(), 1).expect("one for each output");
            let contribution =
                reader.contribute(&found, weights, *loss, &mut scratch).expect("it was counted");
            let empty = || Tally::new(reader.n_parameters(), reader.n_outputs());
            assert!(expected.entry(packet.version).or_insert_with(empty).add(&contribution));
        }
        let mut found = taken.clone();
        for (version, _, tally) in recorder.machine().tallies(0, VERSIONS) {
            merge(&mut found, version, tally);
        }
        // A version that was given up has taken its sums with it, all but those that were handed out.
        let held: BTreeSet<u32> =
            recorder.machine().versions().map(|reader| reader.version().number()).collect();
        for version in held {
            assert!(found.get(&version) == expected.get(&version), "version {version} has other sums");
        }
    }
}

fn merge(sums: &mut BTreeMap<u32, Tally>, version: u32, tally: &Tally) {
    match sums.get_mut(&version) {
        Some(sum) => sum.merge(tally).expect("few queries"),
        None => drop(sums.insert(version, tally.clone())),
    }
}

fn run(seed: u64) -> Seen {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.check();
    world.seen
}

/// Runs a seed, and says which it was if it fails.
fn reported(seed: u64) -> Seen {
    match std::panic::catch_unwind(|| run(seed)) {
        Ok(seen) => seen,
        Err(_) => panic!("seed {seed} fails: EFL_SEED={seed} cargo test -p efl-fleet --test crashes"),
    }
}

#[test]
fn what_was_acknowledged_is_counted_once_whatever_crashes() {
    if let Some(seed) = std::env::var("EFL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        reported(seed);
        return;
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let found: Vec<Seen> = std::thread::scope(|scope| {
        let part = |k: u64| move || (k..RUNS).step_by(threads as usize).map(reported).collect::<Vec<_>>();
        let parts: Vec<_> = (0..threads).map(|k| scope.spawn(part(k))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no seed fails")).collect()
    });
    let sum = |field: fn(&Seen) -> u64| found.iter().map(field).sum::<u64>();
    // The world was as bad as it was meant to be.
    let happened = [
        ("crashes", sum(|s| s.crashes)),
        ("failures", sum(|s| s.failures)),
        ("fenced", sum(|s| s.fenced)),
        ("damaged", sum(|s| s.damaged)),
        ("checkpoints", sum(|s| s.checkpoints)),
        ("candidates", sum(|s| s.candidates)),
        ("not chosen", sum(|s| s.not_chosen)),
        ("acknowledged", sum(|s| s.acknowledged)),
        ("taught", sum(|s| s.taught)),
    ];
    assert!(happened.iter().all(|(_, count)| *count >= RUNS / 20), "{happened:?}");
}
