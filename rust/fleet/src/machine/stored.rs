//! The machine as bytes: all of its state, so that a learner goes on where another one ended.
//!
//! Invariant: the same state always gives the same bytes, and bytes that are accepted are those of one state whose parts fit
//! together. What is accepted never makes a later call panic.
//! Cost: the bytes of what waits and of the readers; some milliseconds for 16 MB.

use super::{Candidate, Counts, Held, Machine, Options};
use crate::pending::Pending;
use crate::reader::Reader;
use crate::registry::Registry;
use crate::stored::{Put, Take, opened, sealed};
use crate::tally::Tally;
use efl_core::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

const MARK: [u8; 8] = *b"EFLMACH\0";
/// Versions may be calibrated since 2; else it is as 1.
const FORMAT: u32 = 2;
const WHAT: &str = "state of a learner";

impl Options {
    pub(crate) fn put(&self, put: &mut Put) {
        put.u64(self.fleet);
        let sizes = [self.n_outputs, self.n_parameters, self.keep, self.pending, self.quota, self.replicas];
        sizes.into_iter().for_each(|size| put.len(size));
        put.u32(self.buckets);
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let fleet = take.u64()?;
        let [n_outputs, n_parameters, keep] = [take.size()?, take.size()?, take.size()?];
        let [pending, quota, replicas] = [take.size()?, take.size()?, take.size()?];
        let buckets = take.u32()?;
        let options = Options { fleet, n_outputs, n_parameters, keep, pending, quota, buckets, replicas };
        take.sound(options.check())?;
        Ok(options)
    }
}

fn put_number(put: &mut Put, number: Option<u32>) {
    put.u8(number.is_some().into());
    put.u32(number.unwrap_or(0));
}

fn take_number(take: &mut Take<'_>) -> Result<Option<u32>> {
    let (is_there, number) = (take.u8()?, take.u32()?);
    take.check(is_there < 2, || format!("a version is there {is_there} times"))?;
    Ok((is_there == 1).then_some(number))
}

impl Machine {
    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut put = Put::default();
        self.put(&mut put);
        sealed(MARK, FORMAT, put)
    }

    /// Reads what [`Machine::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut take = opened(WHAT, MARK, FORMAT, bytes)?;
        let machine = Machine::read(&mut take)?;
        take.end()?;
        Ok(machine)
    }

    pub(crate) fn put(&self, put: &mut Put) {
        self.options.put(put);
        self.counts.put(put);
        self.registry.put(put);
        put_number(put, self.newest);
        put_number(put, self.served);
        put_number(put, self.candidate.map(|candidate| candidate.version));
        put.u64(self.candidate.map_or(0, |candidate| candidate.below));
        put.len(self.versions.len());
        for held in self.versions.values() {
            held.reader.put(put);
            put.len(held.tallies.len());
            for (bucket, tally) in &held.tallies {
                put.u32(*bucket);
                put.bytes(&tally.to_bytes());
            }
        }
        self.pending.put(put);
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let (options, counts, registry) = (Options::read(take)?, Counts::read(take)?, Registry::read(take)?);
        let (newest, served) = (take_number(take)?, take_number(take)?);
        let (candidate, below) = (take_number(take)?, take.u64()?);
        let mut versions = BTreeMap::new();
        for _ in 0..take.len(64)? {
            let held = Held::read(take, &options)?;
            let number = held.reader.version().number();
            let ascend = versions.last_key_value().is_none_or(|(last, _)| *last < number);
            take.check(ascend, || format!("version {number} is out of order"))?;
            versions.insert(number, held);
        }
        let stride = |version: u32| Some(versions.get(&version)?.reader.version().shape().stride());
        let pending = Pending::read(take, stride)?;
        let last = versions.last_key_value().map(|(number, _)| *number);
        // The last versions are the one that is served and its candidate; one that was rolled back may have come later.
        let sound = last == candidate.or(served)
            && served.is_none_or(|number| versions.contains_key(&number))
            && candidate.is_none_or(|candidate| served.is_some_and(|served| served < candidate))
            && (candidate.is_some() == (below > 0))
            && (last.is_some() == newest.is_some() && last <= newest)
            && versions.len() <= options.keep
            && pending.open() <= options.pending;
        take.check(sound, || "its versions do not fit together".to_owned())?;
        let candidate = candidate.map(|version| Candidate { version, below });
        let machine = Machine { options, registry, pending, versions, newest, served, candidate, counts };
        take.check(machine.counts().balance() == 0, || "its counts do not add up".to_owned())?;
        Ok(machine)
    }
}

impl Held {
    fn read(take: &mut Take<'_>, options: &Options) -> Result<Self> {
        let reader = Reader::read(take)?;
        let found = (reader.version().fleet(), reader.n_outputs(), reader.n_parameters());
        let fits = found == (options.fleet, options.n_outputs, options.n_parameters);
        take.check(fits, || "it holds a version of another fleet".to_owned())?;
        let mut tallies = BTreeMap::new();
        for _ in 0..take.len(64)? {
            let (bucket, tally) = (take.u32()?, Tally::from_bytes(take.bytes()?)?);
            let shape = (tally.n_parameters(), tally.n_outputs());
            let later = tallies.last_key_value().is_none_or(|(last, _)| *last < bucket);
            let fits = shape == (options.n_parameters, options.n_outputs) && bucket < options.buckets;
            take.check(later && fits, || format!("tally {bucket} of a version is of another fleet"))?;
            tallies.insert(bucket, tally);
        }
        Ok(Held { reader: Arc::new(reader), tallies })
    }
}
