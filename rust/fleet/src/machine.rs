//! The learner's state and all that changes it: join, publish, submit, weights.
//!
//! It has no clock, no thread and no IO: the same calls in the same order give the same state, which is plain data.
//!
//! Invariant: every query that was admitted is counted once, under the version that it was answered with, or waits, or was
//! given up: [`Counts::balance`]. A refusal changes nothing but its counter.
//! Cost: a packet is admitted by a copy of its planes; a weight by a search, one reading and two additions per derivative.

mod counts;
mod weigh;

pub use counts::{Counts, Outcome, Refusal};
pub use weigh::Readouts;

use crate::packet::{Packet, SEQUENCE_BITS};
use crate::pending::Pending;
use crate::reader::{Query, Reader, Scratch, Weights};
use crate::registry::{Expected, Registry};
use crate::sequence::Sequence;
use crate::tally::{self, Mean, Tally};
use efl_core::bits::philox::philox;
use efl_core::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
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
    /// The newest version.
    pub newest: Option<u32>,
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

/// The state of a learner.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    options: Options,
    registry: Registry,
    pending: Pending,
    /// In the order of their numbers, which follow each other.
    versions: VecDeque<Held>,
    counts: Counts,
}

impl Machine {
    /// A learner that knows no version and no replica.
    pub fn new(options: Options) -> Result<Self> {
        let least = |argument: &'static str, value: usize| match value {
            0 => Err(Error::invalid(argument, "at least 1", "0")),
            _ => Ok(()),
        };
        least("n_outputs", options.n_outputs)?;
        least("n_parameters", options.n_parameters)?;
        least("keep", options.keep)?;
        least("pending", options.pending)?;
        least("quota", options.quota)?;
        least("buckets", options.buckets as usize)?;
        least("replicas", options.replicas)?;
        let (registry, pending, counts) = Default::default();
        Ok(Machine { options, registry, pending, versions: VecDeque::new(), counts })
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

    /// Takes a version. Where too many are held, the oldest is given up, with its tallies and what waits for it.
    pub fn publish(&mut self, reader: Arc<Reader>) -> Result<()> {
        let (version, options) = (reader.version(), &self.options);
        let same = |argument: &'static str, expected: u64, found: u64| match expected == found {
            true => Ok(()),
            false => {
                Err(Error::invalid(argument, format!("{expected}, as the machine has"), found.to_string()))
            }
        };
        same("fleet", options.fleet, version.fleet())?;
        same("n_outputs", options.n_outputs as u64, reader.n_outputs() as u64)?;
        same("n_parameters", options.n_parameters as u64, reader.n_parameters() as u64)?;
        if let Some(newest) = self.newest().filter(|newest| newest.checked_add(1) != Some(version.number())) {
            let expected = format!("the number after the newest, {newest}");
            return Err(Error::invalid("version", expected, version.number().to_string()));
        }
        self.versions.push_back(Held { reader, tallies: BTreeMap::new() });
        if self.versions.len() > self.options.keep {
            self.versions.pop_front();
            let oldest = self.oldest().unwrap_or(0);
            self.counts.expired += self.pending.expire_before(oldest) as u64;
        }
        Ok(())
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
        Receipt { refused, newest: self.newest(), next: expected.map_or(0, |expected| expected.next) }
    }

    /// The version of a packet, if it is one that is expected.
    fn expected(&self, packet: &Packet<'_>) -> std::result::Result<usize, Refusal> {
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
        let oldest = self.oldest().ok_or(Refusal::UnknownVersion)?;
        let index = packet.version.checked_sub(oldest).ok_or(Refusal::TooOld)? as usize;
        let held = self.versions.get(index).ok_or(Refusal::UnknownVersion)?;
        if packet.hash != held.reader.version().hash() {
            return Err(Refusal::UnknownVersion);
        }
        Ok(index)
    }

    fn admit(&mut self, packet: &Packet<'_>) -> std::result::Result<(), Refusal> {
        let index = self.expected(packet)?;
        let reader = self.versions[index].reader.clone();
        let (version, span) = (reader.version(), packet.span);
        let teaching = packet.check(version).map_err(|_| Refusal::Malformed)?;
        if let Some(weights) = reader.constant() {
            self.count_at_once(index, &reader, weights, packet)?;
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
        index: usize,
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
            self.tally(index, bucket).merge(&sum).map_err(|_| Refusal::OutOfRange)?;
            self.counts.taught += sum.queries();
        }
        Ok(())
    }

    /// The bucket of a replica: the same for all versions.
    fn bucket(&self, replica: u64) -> u32 {
        let [random, ..] = philox([self.options.fleet, STREAM], [replica, 0, 0, 0]);
        ((u128::from(random) * u128::from(self.options.buckets)) >> 64) as u32
    }

    fn tally(&mut self, index: usize, bucket: u32) -> &mut Tally {
        let Options { n_parameters, n_outputs, .. } = self.options;
        let empty = || Tally::new(n_parameters, n_outputs);
        self.versions[index].tallies.entry(bucket).or_insert_with(empty)
    }

    fn oldest(&self) -> Option<u32> {
        self.versions.front().map(|held| held.reader.version().number())
    }

    /// The number of the newest version.
    pub fn newest(&self) -> Option<u32> {
        self.versions.back().map(|held| held.reader.version().number())
    }

    /// The versions that are read, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Reader>> {
        self.versions.iter().map(|held| &held.reader)
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
        let held = self.versions.iter().map(|held| (held.reader.version().number(), held));
        let wanted = held.filter(move |(number, _)| (first..=last).contains(number));
        wanted.flat_map(|(number, held)| {
            held.tallies.iter().map(move |(bucket, tally)| (number, *bucket, tally))
        })
    }

    /// The same, which the machine then counts anew: every contribution is handed out once.
    pub fn take(&mut self, first: u32, last: u32) -> Vec<(u32, u32, Tally)> {
        let mut taken = Vec::new();
        for held in &mut self.versions {
            let number = held.reader.version().number();
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
        self.registry.nbytes() + self.pending.nbytes() + self.versions.iter().map(version).sum::<usize>()
    }
}
