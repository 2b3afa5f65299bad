//! Why things are refused, and how often what has happened.
//!
//! Invariant: `admitted = taught + expired + pending + answered_only`; a refusal adds one to its own counter.

use crate::stored::{Put, Take};
use efl_core::Result;

/// Why a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its bytes are not a packet of the version that it names.
    Malformed,
    /// It is of a fleet that learns something else.
    OtherFleet,
    /// Its replica has not joined, or not as that incarnation.
    UnknownReplica,
    /// Its replica has joined again since.
    Superseded,
    /// No version has that number and hash.
    UnknownVersion,
    /// Its version is read no more.
    TooOld,
    /// Its queries have been received before.
    Duplicate,
    /// Queries before its own are missing.
    Gap,
    /// Too many queries of its replica wait.
    OverQuota,
    /// It has more queries than may wait; or, of a join, too many replicas have joined.
    OverCapacity,
    /// It says a number that cannot be counted.
    OutOfRange,
    /// A query in it was answered with the candidate, and is not one that the candidate answers.
    NotChosen,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 12] = [
        Refusal::Malformed,
        Refusal::OtherFleet,
        Refusal::UnknownReplica,
        Refusal::Superseded,
        Refusal::UnknownVersion,
        Refusal::TooOld,
        Refusal::Duplicate,
        Refusal::Gap,
        Refusal::OverQuota,
        Refusal::OverCapacity,
        Refusal::OutOfRange,
        Refusal::NotChosen,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::OtherFleet => "other_fleet",
            Refusal::UnknownReplica => "unknown_replica",
            Refusal::Superseded => "superseded",
            Refusal::UnknownVersion => "unknown_version",
            Refusal::TooOld => "too_old",
            Refusal::Duplicate => "duplicate",
            Refusal::Gap => "gap",
            Refusal::OverQuota => "over_quota",
            Refusal::OverCapacity => "over_capacity",
            Refusal::OutOfRange => "out_of_range",
            Refusal::NotChosen => "not_chosen",
        }
    }
}

/// What became of the weights of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// They have been counted.
    Taught = 0,
    /// No query waits under that ticket: it is unknown, or was given up, or has been used.
    UnknownOrUsed = 1,
    /// A weight or the loss is not a number; the query goes on waiting.
    NotFinite = 2,
    /// What the query says is too large to be counted; it goes on waiting.
    OutOfRange = 3,
}

impl Outcome {
    /// All of them, by code.
    pub const ALL: [Outcome; 4] =
        [Outcome::Taught, Outcome::UnknownOrUsed, Outcome::NotFinite, Outcome::OutOfRange];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Taught => "taught",
            Outcome::UnknownOrUsed => "unknown_or_used",
            Outcome::NotFinite => "not_finite",
            Outcome::OutOfRange => "out_of_range",
        }
    }
}

/// How often what has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were admitted.
    pub packets: u64,
    /// Their queries.
    pub admitted: u64,
    /// Queries that were counted.
    pub taught: u64,
    /// Queries that were given up.
    pub expired: u64,
    /// Queries that wait.
    pub pending: u64,
    /// Queries that had nothing to teach.
    pub answered_only: u64,
    /// Queries that replicas said they would not send.
    pub dropped: u64,
    /// Replicas that have joined.
    pub replicas: u64,
    /// Refused packets, by reason.
    refused: [u64; Refusal::ALL.len()],
    /// Weights, by what became of them.
    weights: [u64; Outcome::ALL.len()],
}

impl Counts {
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
    }

    pub(super) fn weigh(&mut self, outcome: Outcome) {
        self.weights[outcome as usize] += 1;
        self.taught += u64::from(outcome == Outcome::Taught);
    }

    /// How many packets were refused for a reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize]
    }

    /// How many tickets came to an end.
    pub fn weighed(&self, outcome: Outcome) -> u64 {
        self.weights[outcome as usize]
    }

    /// What is admitted less what is accounted for: zero.
    pub fn balance(&self) -> i128 {
        let accounted = [self.taught, self.expired, self.pending, self.answered_only];
        i128::from(self.admitted) - accounted.into_iter().map(i128::from).sum::<i128>()
    }

    pub(crate) fn put(&self, put: &mut Put) {
        self.fields().into_iter().for_each(|field| put.u64(field));
        self.refused.iter().chain(&self.weights).for_each(|count| put.u64(*count));
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let [packets, admitted, taught, expired] = [take.u64()?, take.u64()?, take.u64()?, take.u64()?];
        let (answered_only, dropped) = (take.u64()?, take.u64()?);
        let mut counts =
            Counts { packets, admitted, taught, expired, answered_only, dropped, ..Counts::default() };
        for count in counts.refused.iter_mut().chain(&mut counts.weights) {
            *count = take.u64()?;
        }
        Ok(counts)
    }

    /// What is counted as it happens: what waits, and who has joined, is known otherwise.
    fn fields(&self) -> [u64; 6] {
        [self.packets, self.admitted, self.taught, self.expired, self.answered_only, self.dropped]
    }

    /// All of them by name.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let mut named = vec![
            ("packets", self.packets),
            ("admitted", self.admitted),
            ("taught", self.taught),
            ("expired", self.expired),
            ("pending", self.pending),
            ("answered_only", self.answered_only),
            ("dropped", self.dropped),
            ("replicas", self.replicas),
        ];
        named.extend(Refusal::ALL.map(|refusal| (refusal.name(), self.refused(refusal))));
        named.push(("unknown_or_used", self.weighed(Outcome::UnknownOrUsed)));
        named.push(("weights_not_finite", self.weighed(Outcome::NotFinite)));
        named.push(("weights_out_of_range", self.weighed(Outcome::OutOfRange)));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_name() {
        for (i, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, i);
        }
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, i);
        }
        let mut names: Vec<&str> = Counts::default().named().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
