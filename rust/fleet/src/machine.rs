//! The learner's state and all that changes it: join, publish, submit, weights.
//!
//! It has no clock, no thread and no IO: the same calls in the same order give the same state, which is plain data.
//!
//! Invariant: every query that was admitted is counted once, under the version that it was answered with, or waits, or was
//! given up: [`Counts::balance`]. A refusal changes nothing but its counter.
//! Cost: a packet is admitted by a copy of its planes; a weight by a search, one reading and two additions per derivative.

mod counts;
mod stored;
mod weigh;

pub use counts::{Counts, Outcome, Refusal};
pub use weigh::Readouts;

use crate::packet::{Packet, SEQUENCE_BITS};
use crate::pending::Pending;
use crate::reader::{Query, Reader, Scratch, Weights};
use crate::registry::{Expected, Registry};
use crate::sequence::{BLOCK, Sequence};
use crate::tally::{self, Mean, Tally};
use efl_core::bits::philox::philox;
use efl_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stream of the key that spreads replicas over buckets.
const STREAM: u64 = u64::from_le_bytes(*b"buckets\0");

/// Sizes and bounds of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What the fleet learns, as 64 bits.
    pub fleet: u64,
    /// Outputs of the answered circuit.
    pub n_outputs: usize,
    /// Derivatives that are counted.
    pub n_parameters: usize,
    /// Versions that are read.
    pub keep: usize,
    /// Queries that wait for weights.
    pub pending: usize,
    /// Those of one replica.
    pub quota: usize,
    /// Tallies of a version, among which replicas are spread.
    pub buckets: u32,
    /// Replicas that may join.
    pub replicas: usize,
}

impl Options {
    fn check(&self) -> Result<()> {
        let least = |argument: &'static str, value: usize| match value {
            0 => Err(Error::invalid(argument, "at least 1", "0")),
            _ => Ok(()),
        };
        least("n_outputs", self.n_outputs)?;
        least("n_parameters", self.n_parameters)?;
        least("keep", self.keep)?;
        least("pending", self.pending)?;
        least("quota", self.quota)?;
        least("buckets", self.buckets as usize)?;
        least("replicas", self.replicas)
    }
}

/// Refuses what is of another fleet.
fn same(argument: &'static str, expected: u64, found: u64) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::invalid(argument, format!("{expected}, as the machine has"), found.to_string())),
    }
}

/// A version that is read, and what it has counted.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    reader: Arc<Reader>,
    tallies: BTreeMap<u32, Tally>,
}

/// What a replica is told about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Why it was refused, if it was.
    pub refused: Option<Refusal>,
    /// The version that is served.
    pub served: Option<u32>,
    /// The sequence that is expected next of the replica; 0 if it is not known.
    pub next: u64,
}

/// A gradient over the queries of several versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Mean and error of every derivative.
    pub gradient: Vec<Mean>,
    /// Number of queries.
    pub queries: u64,
    /// Versions between the last one and that of a query, on average.
    pub mean_age: f64,
}

/// A version that answers a part of the queries until it is known whether it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub version: u32,
    /// The part of the queries that it answers, in 2^-64; see [`Sequence::is_chosen`].
    pub below: u64,
}

/// The state of a learner.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    options: Options,
    registry: Registry,
    pending: Pending,
    /// Those that are read; the last ones are the one that is served and, if there is one, the candidate.
    versions: BTreeMap<u32, Held>,
    /// The number of the last version that came, which may have been rolled back.
    newest: Option<u32>,
    /// The version that is served.
    served: Option<u32>,
    candidate: Option<Candidate>,
    counts: Counts,
}

impl Machine {
    /// A learner that knows no version and no replica.
    pub fn new(options: Options) -> Result<Self> {
        options.check()?;
        let (registry, pending, versions, counts) = Default::default();
        let (newest, served, candidate) = Default::default();
        Ok(Machine { options, registry, pending, versions, newest, served, candidate, counts })
    }

    /// Takes other bounds of the same fleet, and gives up what they leave no room for.
    pub fn rebound(&mut self, options: Options) -> Result<()> {
        options.check()?;
        let known = &self.options;
        same("fleet", known.fleet, options.fleet)?;
        same("n_outputs", known.n_outputs as u64, options.n_outputs as u64)?;
        same("n_parameters", known.n_parameters as u64, options.n_parameters as u64)?;
        same("buckets", known.buckets.into(), options.buckets.into())?;
        let least = usize::from(self.candidate.is_some()) + 1;
        if options.keep < least {
            let expected = format!("at least {least}, as a candidate is under way");
            return Err(Error::invalid("keep", expected, options.keep.to_string()));
        }
        self.options = options;
        self.counts.expired += self.pending.expire_above(self.options.pending) as u64;
        self.give_up_old();
        Ok(())
    }

    /// Begins a life of a replica. What an earlier one sends from now on is refused; its tickets stay good.
    pub fn join(&mut self, replica: u64) -> Result<u32> {
        self.registry.join(replica, self.options.replicas).ok_or_else(|| {
            self.counts.refuse(Refusal::OverCapacity);
            Error::Limit {
                what: "replicas, or lives of one".into(),
                needed: self.registry.len() as u64 + 1,
                limit: self.options.replicas as u64,
                remedy: "raise `replicas`".into(),
            }
        })
    }

    /// Takes a version, which is served from now on. Where too many are held, the oldest is given up, with its tallies and
    /// what waits for it.
    pub fn publish(&mut self, reader: Arc<Reader>) -> Result<()> {
        if let Some(Candidate { version, .. }) = self.candidate {
            let expected = format!("the candidate {version} to be settled before");
            return Err(Error::invalid("version", expected, "another one"));
        }
        self.served = Some(self.hold(reader)?);
        self.give_up_old();
        Ok(())
    }

    /// Takes a version as a candidate, which is to answer `below` of 2^64 queries.
    pub fn propose(&mut self, reader: Arc<Reader>, below: u64) -> Result<()> {
        if self.served.is_none() || self.candidate.is_some() || below == 0 || self.options.keep < 2 {
            let expected =
                "a version that is served, no other candidate, a positive part, and `keep` of 2 or more";
            let found = format!(
                "version {:?}, candidate {:?}, part {below}, keep {}",
                self.served, self.candidate, self.options.keep
            );
            return Err(Error::invalid("candidate", expected, found));
        }
        let version = self.hold(reader)?;
        self.candidate = Some(Candidate { version, below });
        self.give_up_old();
        Ok(())
    }

    /// Serves the candidate, or gives it up with its tallies and what waits for it; its number, and whether there was one.
    pub fn settle(&mut self, is_good: bool) -> Option<u32> {
        let Candidate { version, .. } = self.candidate.take()?;
        if is_good {
            self.served = Some(version);
        } else {
            self.versions.remove(&version);
            self.counts.expired += self.pending.expire(|number| number == version) as u64;
        }
        Some(version)
    }

    /// Gives up the oldest versions while there are too many.
    fn give_up_old(&mut self) {
        while self.versions.len() > self.options.keep {
            let Some((gone, _)) = self.versions.pop_first() else { return };
            self.counts.expired += self.pending.expire(|number| number <= gone) as u64;
        }
    }

    /// Holds a version whose number is the next.
    fn hold(&mut self, reader: Arc<Reader>) -> Result<u32> {
        let (version, options) = (reader.version(), &self.options);
        same("fleet", options.fleet, version.fleet())?;
        same("n_outputs", options.n_outputs as u64, reader.n_outputs() as u64)?;
        same("n_parameters", options.n_parameters as u64, reader.n_parameters() as u64)?;
        let number = version.number();
        if let Some(newest) = self.newest.filter(|newest| newest.checked_add(1) != Some(number)) {
            let expected = format!("the number after the newest, {newest}");
            return Err(Error::invalid("version", expected, number.to_string()));
        }
        self.versions.insert(number, Held { reader, tallies: BTreeMap::new() });
        self.newest = Some(number);
        Ok(number)
    }

    /// Takes a packet of bytes, of which nothing is believed before it has been checked.
    pub fn submit(&mut self, bytes: &[u8]) -> Receipt {
        let packet = Packet::decode(bytes);
        let refused = match &packet {
            Ok(packet) => self.admit(packet).err(),
            Err(_) => Some(Refusal::Malformed),
        };
        if let Some(refusal) = refused {
            self.counts.refuse(refusal);
        }
        let known = packet.ok().filter(|packet| packet.fleet == self.options.fleet);
        let expected = known.and_then(|packet| self.registry.expected(packet.span.replica));
        Receipt { refused, served: self.served, next: expected.map_or(0, |expected| expected.next) }
    }

    /// Counts a refusal: that of a packet which nobody has kept.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.counts.refuse(refusal);
    }

    /// The incarnation that may send of a replica, and the sequence that it is to send next; `None` if it has not joined.
    pub fn follows(&self, replica: u64) -> Option<(u32, u64)> {
        self.registry.expected(replica).map(|expected| (expected.incarnation, expected.next))
    }

    /// The version of a packet, if it is one that is expected.
    fn expected(&self, packet: &Packet<'_>) -> std::result::Result<Arc<Reader>, Refusal> {
        let span = &packet.span;
        if packet.fleet != self.options.fleet {
            return Err(Refusal::OtherFleet);
        }
        let expected = self.registry.expected(span.replica).ok_or(Refusal::UnknownReplica)?;
        match span.incarnation.cmp(&expected.incarnation) {
            std::cmp::Ordering::Less => return Err(Refusal::Superseded),
            std::cmp::Ordering::Greater => return Err(Refusal::UnknownReplica),
            std::cmp::Ordering::Equal => {}
        }
        if span.first < expected.next {
            return Err(Refusal::Duplicate);
        }
        if span.first - u64::from(span.dropped) != expected.next {
            return Err(Refusal::Gap);
        }
        // Numbers follow each other, so one that is not held has been given up or has not come.
        let is_past = self.newest.is_some_and(|newest| packet.version <= newest);
        let unread = if is_past { Refusal::TooOld } else { Refusal::UnknownVersion };
        let reader = self.versions.get(&packet.version).ok_or(unread)?.reader.clone();
        if packet.hash != reader.version().hash() {
            return Err(Refusal::UnknownVersion);
        }
        // One that has not heard of a candidate goes on with the version before; nobody uses it more than it is to.
        if let Some(candidate) = self.candidate.filter(|candidate| candidate.version == packet.version) {
            let sequence = Sequence::new(reader.version(), span.replica, span.incarnation);
            let mut blocks = (span.first..span.end()).step_by(BLOCK as usize).chain([span.end() - 1]);
            if !blocks.all(|query| sequence.is_chosen(query, candidate.below)) {
                return Err(Refusal::NotChosen);
            }
        }
        Ok(reader)
    }

    fn admit(&mut self, packet: &Packet<'_>) -> std::result::Result<(), Refusal> {
        let reader = self.expected(packet)?;
        let (version, span) = (reader.version(), packet.span);
        let teaching = packet.check(version).map_err(|_| Refusal::Malformed)?;
        if let Some(weights) = reader.constant() {
            self.count_at_once(&reader, weights, packet)?;
        } else {
            if teaching > self.options.pending {
                return Err(Refusal::OverCapacity);
            }
            if self.pending.held(span.replica) + teaching > self.options.quota {
                return Err(Refusal::OverQuota);
            }
            let sequence = Sequence::new(version, span.replica, span.incarnation);
            let offsets = sequence.offsets(span.first, span.queries).collect();
            self.pending.admit(version.number(), &span, offsets, packet.body, version.shape().stride());
            self.counts.expired += self.pending.expire_above(self.options.pending) as u64;
        }
        debug_assert!(span.end() < 1 << SEQUENCE_BITS);
        self.registry.advance(span.replica, Expected { incarnation: span.incarnation, next: span.end() });
        self.counts.packets += 1;
        self.counts.admitted += u64::from(span.queries);
        self.counts.answered_only += u64::from(span.queries) - teaching as u64;
        self.counts.dropped += u64::from(span.dropped);
        Ok(())
    }

    /// Counts the queries of a packet that need no other weights; nothing is counted if one of them cannot be.
    fn count_at_once(
        &mut self,
        reader: &Reader,
        weights: &[f64],
        packet: &Packet<'_>,
    ) -> std::result::Result<(), Refusal> {
        let shape = reader.version().shape();
        let weights = Weights::new(weights, reader.n_outputs(), shape.settings.into())
            .map_err(|_| Refusal::OutOfRange)?;
        let (mut sum, mut scratch) =
            (Tally::new(reader.n_parameters(), reader.n_outputs()), Scratch::default());
        for query in Query::all(reader.version(), &packet.span, packet.body) {
            let contribution = reader.contribute(&query, weights, f64::NAN, &mut scratch);
            if !contribution.is_some_and(|contribution| sum.add(&contribution)) {
                return Err(Refusal::OutOfRange);
            }
        }
        if sum.queries() > 0 {
            let bucket = self.bucket(packet.span.replica);
            self.tally(packet.version, bucket).merge(&sum).map_err(|_| Refusal::OutOfRange)?;
            self.counts.taught += sum.queries();
        }
        Ok(())
    }

    /// The bucket of a replica: the same for all versions.
    fn bucket(&self, replica: u64) -> u32 {
        let [random, ..] = philox([self.options.fleet, STREAM], [replica, 0, 0, 0]);
        ((u128::from(random) * u128::from(self.options.buckets)) >> 64) as u32
    }

    /// The tally of a version that is held.
    fn tally(&mut self, version: u32, bucket: u32) -> &mut Tally {
        let Options { n_parameters, n_outputs, .. } = self.options;
        let empty = || Tally::new(n_parameters, n_outputs);
        let held = self.versions.get_mut(&version).expect("what is counted is of a version that is held");
        held.tallies.entry(bucket).or_insert_with(empty)
    }

    /// The number of the last version that came; the next one has the number after it.
    pub fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// The number of the version that is served.
    pub fn served(&self) -> Option<u32> {
        self.served
    }

    /// The version that answers a part of the queries, if there is one.
    pub fn candidate(&self) -> Option<Candidate> {
        self.candidate
    }

    /// The versions that are read, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Reader>> {
        self.versions.values().map(|held| &held.reader)
    }

    /// Sizes and bounds.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many queries and refusals there have been.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        (counts.pending, counts.replicas) = (self.pending.open() as u64, self.registry.len() as u64);
        counts
    }

    /// What the versions `first` to `last`, both included, have counted: (version, bucket, tally).
    pub fn tallies(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32, &Tally)> {
        let wanted = self.versions.iter().filter(move |(number, _)| (first..=last).contains(*number));
        wanted.flat_map(|(number, held)| {
            held.tallies.iter().map(move |(bucket, tally)| (*number, *bucket, tally))
        })
    }

    /// The same, which the machine then counts anew: every contribution is handed out once.
    pub fn take(&mut self, first: u32, last: u32) -> Vec<(u32, u32, Tally)> {
        let mut taken = Vec::new();
        for (&number, held) in &mut self.versions {
            if (first..=last).contains(&number) {
                let tallies = std::mem::take(&mut held.tallies);
                taken.extend(tallies.into_iter().map(|(bucket, tally)| (number, bucket, tally)));
            }
        }
        taken
    }

    /// The gradient over the queries of versions `first` to `last`; one of a version before `last` counts less by `decay`
    /// per version.
    pub fn gradient(&self, first: u32, last: u32, decay: f64) -> Result<Pooled> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::invalid("decay", "a number from 0 to 1", decay.to_string()));
        }
        let weight = |version: u32| (version..last).fold(1.0, |weight, _| weight * decay);
        let tallies: Vec<(u32, &Tally, f64)> =
            self.tallies(first, last).map(|(version, _, tally)| (version, tally, weight(version))).collect();
        let (mut weighted, mut aged) = (0.0, 0.0);
        for (version, tally, weight) in &tallies {
            let queries = weight * tally.queries() as f64;
            weighted += queries;
            aged += queries * f64::from(last - version);
        }
        let parts: Vec<(&Tally, f64)> = tallies.iter().map(|(_, tally, weight)| (*tally, *weight)).collect();
        if parts.is_empty() {
            let nothing = Mean { value: f64::NAN, stderr: f64::NAN };
            let gradient = vec![nothing; self.options.n_parameters];
            return Ok(Pooled { gradient, queries: 0, mean_age: f64::NAN });
        }
        let (gradient, queries) = tally::gradient(&parts)?;
        Ok(Pooled { gradient, queries, mean_age: aged / weighted })
    }

    /// Bytes held, those of the readers included.
    pub fn nbytes(&self) -> usize {
        let tally = 32 * (self.options.n_parameters + 1 + self.options.n_outputs) + size_of::<Tally>();
        let version = |held: &Held| held.reader.nbytes() + held.tallies.len() * tally;
        self.registry.nbytes() + self.pending.nbytes() + self.versions.values().map(version).sum::<usize>()
    }
}
