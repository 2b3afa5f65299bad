//! Tickets: what their queries answered, and what they teach once their weights are known.

use super::{Machine, Outcome};
use crate::pending::{Place, Ticket};
use crate::reader::{Query, Reader, Scratch, Weights};
use crate::sequence::Sequence;
use efl_core::{Error, Result};
use std::sync::Arc;

/// What queries answered; zeros where a ticket is not pending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readouts {
    /// Whether a query waits under the ticket.
    pub pending: Vec<bool>,
    /// The version that it was answered with.
    pub versions: Vec<u32>,
    /// Its answers, one per output.
    pub values: Vec<f64>,
    /// In how many shots the reading of an output was positive, one per output.
    pub positive: Vec<i64>,
}

impl Machine {
    /// The query of a ticket, and the number of its version, which is held.
    fn find(&self, ticket: &Ticket) -> Option<(Place, u32)> {
        let place = self.pending.find(ticket)?;
        Some((place, self.pending.version(place)))
    }

    fn query<'a>(&'a self, ticket: &Ticket, place: Place, reader: &'a Reader) -> Query<'a> {
        let sequence = Sequence::new(reader.version(), ticket.replica, ticket.incarnation);
        Query { sequence, number: ticket.sequence, planes: self.pending.planes(place) }
    }

    /// What pending queries answered.
    pub fn values(&self, tickets: &[Ticket]) -> Readouts {
        let (outputs, mut scratch) = (self.options.n_outputs, Scratch::default());
        let mut found = Readouts::default();
        for ticket in tickets {
            let known = self.find(ticket);
            found.pending.push(known.is_some());
            let Some((place, version)) = known else {
                found.versions.push(0);
                found.values.resize(found.values.len() + outputs, 0.0);
                found.positive.resize(found.positive.len() + outputs, 0);
                continue;
            };
            let reader = &self.versions[&version].reader;
            let query = self.query(ticket, place, reader);
            found.versions.push(reader.version().number());
            found.values.extend_from_slice(reader.values(&query, &mut scratch));
            for output in 0..outputs {
                found.positive.push(reader.positive(&query, output, &mut scratch));
            }
        }
        found
    }

    /// The readings of every shot of pending queries, and how many shots each has: query after query, shot after shot, output
    /// after output.
    pub fn shots(&self, tickets: &[Ticket]) -> Result<(Vec<f64>, usize)> {
        let (mut shots, mut scratch, mut each) = (Vec::new(), Scratch::default(), None);
        for (i, ticket) in tickets.iter().enumerate() {
            let Some((place, version)) = self.find(ticket) else {
                let found = format!("{} of {}, {}", ticket.sequence, ticket.replica, ticket.incarnation);
                return Err(Error::invalid(format!("sequence[{i}]"), "tickets of queries that wait", found));
            };
            let reader = &self.versions[&version].reader;
            let count = reader.value_shots();
            if *each.get_or_insert(count) != count {
                let expected = "tickets whose queries have equally many shots that answer";
                return Err(Error::invalid(format!("sequence[{i}]"), expected, format!("{count} shots")));
            }
            shots.extend_from_slice(reader.shots(&self.query(ticket, place, reader), &mut scratch));
        }
        Ok((shots, each.unwrap_or(0)))
    }

    /// Counts tickets with their weights: for each one per output, or one per teach setting and output. A loss is NaN where it
    /// is not known. The outcomes are those of the tickets one after the other.
    pub fn weights(
        &mut self,
        tickets: &[Ticket],
        weights: &[f64],
        losses: Option<&[f64]>,
    ) -> Result<Vec<Outcome>> {
        let each = self.weights_of_each(tickets, weights)?;
        if let Some(losses) = losses.filter(|losses| losses.len() != tickets.len()) {
            let expected = format!("{}, one per ticket", tickets.len());
            return Err(Error::shape("losses", expected, losses.len().to_string()));
        }
        let mut scratch = Scratch::default();
        let mut outcomes = Vec::with_capacity(tickets.len());
        for (i, ticket) in tickets.iter().enumerate() {
            let loss = losses.map_or(f64::NAN, |losses| losses[i]);
            let outcome = self.weigh(ticket, &weights[i * each..][..each], loss, &mut scratch);
            self.counts.weigh(outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// How many weights each ticket has; an error if that does not fit the version of one.
    fn weights_of_each(&self, tickets: &[Ticket], weights: &[f64]) -> Result<usize> {
        let outputs = self.options.n_outputs;
        let each = weights.len().checked_div(tickets.len()).unwrap_or(0);
        let wrong = |expected: String| Err(Error::shape("weights", expected, weights.len().to_string()));
        if each * tickets.len() != weights.len() || (!tickets.is_empty() && each == 0) {
            return wrong(format!("{outputs} for each of {} tickets", tickets.len()));
        }
        if each == outputs || tickets.is_empty() {
            return Ok(each);
        }
        for (_, version) in tickets.iter().filter_map(|ticket| self.find(ticket)) {
            let version = self.versions[&version].reader.version();
            let settings = usize::from(version.shape().settings);
            if each != outputs * settings {
                let (number, count) = (version.number(), tickets.len());
                return wrong(format!(
                    "{outputs} for each of {count} tickets, or as many for each of {settings} settings of version {number}"
                ));
            }
        }
        Ok(each)
    }

    fn weigh(&mut self, ticket: &Ticket, weights: &[f64], loss: f64, scratch: &mut Scratch) -> Outcome {
        let Some((place, version)) = self.find(ticket) else {
            return Outcome::UnknownOrUsed;
        };
        let reader: Arc<Reader> = self.versions[&version].reader.clone();
        let settings = usize::from(reader.version().shape().settings);
        let Ok(weights) = Weights::new(weights, reader.n_outputs(), settings) else {
            unreachable!("the number of weights has been checked");
        };
        if !weights.are_finite() || loss.is_infinite() {
            return Outcome::NotFinite;
        }
        let query = self.query(ticket, place, &reader);
        let Some(contribution) = reader.contribute(&query, weights, loss, scratch) else {
            return Outcome::OutOfRange;
        };
        let bucket = self.bucket(ticket.replica);
        if !self.tally(version, bucket).add(&contribution) {
            return Outcome::OutOfRange;
        }
        self.pending.take(place);
        Outcome::Taught
    }
}
