//! A fleet in which everything fails: a learner with its journal, workers, and the messages between them, from a seed.
//!
//! `disk.rs` is what survives a crash, `checks.rs` what has to be true whatever happened.

mod checks;
mod disk;

use crate::common::{Random, Roster, Size, span};
use disk::Disk;
use efl_fleet::journal::{Recorder, Replay};
use efl_fleet::machine::{Options, Outcome, Refusal};
use efl_fleet::packet::Span;
use efl_fleet::pending::Ticket;
use efl_fleet::reader::Reader;
use efl_fleet::sequence::{BLOCK, Sequence};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

const FLEET: u64 = 5;
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

pub(crate) struct World {
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
    pub(crate) seen: Seen,
}

/// How often what happened, over all runs.
#[derive(Default, Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) crashes: u64,
    pub(crate) failures: u64,
    pub(crate) fenced: u64,
    pub(crate) damaged: u64,
    pub(crate) checkpoints: u64,
    pub(crate) candidates: u64,
    pub(crate) not_chosen: u64,
    pub(crate) acknowledged: u64,
    pub(crate) taught: u64,
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

impl World {
    pub(crate) fn new(seed: u64) -> Self {
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

    pub(crate) fn step(&mut self) {
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
}
