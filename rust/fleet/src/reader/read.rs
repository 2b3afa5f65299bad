//! Reading a query: its answers, its shots, and what it says of the gradient.

use super::{Reader, Run, Values};
use crate::masks::{Masks, Planes, Work};
use crate::packet::{Packet, Span};
use crate::sequence::Sequence;
use crate::tally::{Contribution, RANGE, Tally, fixed};
use crate::version::Version;
use efl_core::bits::dispatch::{Kernel, dispatch};
use efl_core::{Error, Result};

/// The bits of a query that teaches.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// What its replica runs.
    pub sequence: Sequence<'a>,
    /// Its place in the sequence.
    pub number: u64,
    /// Its planes.
    pub planes: &'a [u8],
}

impl<'a> Query<'a> {
    /// The queries of a body that teach.
    pub fn all(version: &'a Version, span: &Span, body: &'a [u8]) -> impl Iterator<Item = Query<'a>> {
        let (sequence, first) = (Sequence::new(version, span.replica, span.incarnation), span.first);
        let planes = body.chunks_exact(version.shape().stride());
        let offsets = sequence.offsets(first, span.queries);
        offsets.zip(planes).map(move |(offset, planes)| Query {
            sequence,
            number: first + u64::from(offset),
            planes,
        })
    }
}

/// The derivatives of the loss of a query by the outputs.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    values: &'a [f64],
    /// From the weights of one teach setting to those of the next.
    step: usize,
}

impl<'a> Weights<'a> {
    /// One per output, or one per teach setting and output.
    pub fn new(values: &'a [f64], n_outputs: usize, settings: usize) -> Result<Self> {
        match values.len() {
            len if len == n_outputs => Ok(Weights { values, step: 0 }),
            len if len == n_outputs * settings => Ok(Weights { values, step: n_outputs }),
            len => {
                let expected =
                    format!("{n_outputs}, one per output, or as many for each of {settings} settings");
                Err(Error::shape("weights", expected, len.to_string()))
            }
        }
    }

    /// Whether all of them are numbers.
    pub fn are_finite(&self) -> bool {
        self.values.iter().all(|w| w.is_finite())
    }
}

/// Room that reading needs, to be used again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    planes: Planes,
    work: Work,
    gradient: Vec<f64>,
    values: Vec<f64>,
    scale: Vec<f64>,
    shots: Vec<f64>,
    fixed: Vec<i64>,
}

/// The loop over words, compiled for each instruction set.
struct Contract<'a> {
    reader: &'a Reader,
    query: &'a Query<'a>,
    weights: Weights<'a>,
    planes: &'a mut Planes,
    work: &'a mut Work,
    out: &'a mut [f64],
}

impl Kernel for Contract<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Contract { reader, query, weights, planes, work, out } = self;
        let shape = reader.version.shape();
        planes.load(&query.planes[shape.answer_bytes()..], shape.teach_shots.into());
        out.fill(0.0);
        let runs = reader.settings.iter().zip(query.sequence.entries(query.number)).enumerate();
        for (j, (run, entry)) in runs {
            let weights = &weights.values[j * weights.step..][..reader.n_outputs];
            reader.gradient[entry].contract(planes, &run.window, weights, work, out);
        }
    }
}

impl Reader {
    /// What a query says of the gradient: [`Reader::n_parameters`] numbers.
    pub fn contribution<'s>(
        &self,
        query: &Query<'_>,
        weights: Weights<'_>,
        scratch: &'s mut Scratch,
    ) -> &'s [f64] {
        scratch.gradient.resize(self.n_parameters, 0.0);
        let Scratch { planes, work, gradient, .. } = scratch;
        dispatch(Contract { reader: self, query, weights, planes, work, out: gradient });
        &scratch.gradient
    }

    /// Loads what the answers are read from and hands over each run with what it reads.
    fn runs<'s>(
        &self,
        query: &Query<'_>,
        planes: &'s mut Planes,
        mut visit: impl FnMut(&'s Planes, &Run, &Masks),
    ) {
        let shape = self.version.shape();
        let (answers, teaches) = query.planes.split_at(shape.answer_bytes());
        match &self.values {
            Values::Answers(runs) => {
                planes.load(answers, shape.answer_shots.into());
                runs.iter().for_each(|(run, masks)| visit(planes, run, masks));
            }
            Values::Entries(masks) => {
                planes.load(teaches, shape.teach_shots.into());
                for (run, entry) in self.settings.iter().zip(query.sequence.entries(query.number)) {
                    visit(planes, run, &masks[entry]);
                }
            }
            Values::Unread => {}
        }
    }

    /// The answers of a query, one per output; NaN where nothing reads them.
    pub fn values<'s>(&self, query: &Query<'_>, scratch: &'s mut Scratch) -> &'s [f64] {
        let Scratch { planes, work, values, scale, .. } = scratch;
        let unread = matches!(self.values, Values::Unread);
        values.clear();
        values.resize(self.n_outputs, if unread { f64::NAN } else { 0.0 });
        // A mean over the shots of a run; over those of all settings, where these answer.
        let runs = if matches!(self.values, Values::Entries(_)) { self.settings.len() } else { 1 };
        self.runs(query, planes, |planes, run, masks| {
            scale.clear();
            scale.resize(self.n_outputs, 1.0 / (runs * run.window.shots) as f64);
            masks.contract(planes, &run.window, scale, work, values);
        });
        values
    }

    /// The reading of every output in every shot, row after row; zero where a shot does not read an output.
    pub fn shots<'s>(&self, query: &Query<'_>, scratch: &'s mut Scratch) -> &'s [f64] {
        let Scratch { planes, work, shots, .. } = scratch;
        shots.clear();
        shots.resize(self.value_shots() * self.n_outputs, 0.0);
        self.runs(query, planes, |planes, run, masks| {
            let rows = &mut shots[run.start * self.n_outputs..];
            masks.shots(planes, &run.window, self.n_outputs, work, rows);
        });
        shots
    }

    /// In how many shots the reading of an output is positive.
    pub fn positive(&self, query: &Query<'_>, output: usize, scratch: &mut Scratch) -> i64 {
        let Scratch { planes, work, shots, .. } = scratch;
        let mut positive = 0;
        self.runs(query, planes, |planes, run, masks| {
            positive += masks.positive(planes, &run.window, output, work).unwrap_or_else(|| {
                shots.clear();
                shots.resize(run.window.shots * self.n_outputs, 0.0);
                masks.shots(planes, &run.window, self.n_outputs, work, shots);
                shots.iter().skip(output).step_by(self.n_outputs).filter(|x| **x > 0.0).count() as i64
            });
        });
        positive
    }

    /// What a query adds to a tally; `None` if a number is out of range. The loss is NaN if it is not known.
    pub fn contribute<'s>(
        &self,
        query: &Query<'_>,
        weights: Weights<'_>,
        loss: f64,
        scratch: &'s mut Scratch,
    ) -> Option<Contribution<'s>> {
        self.contribution(query, weights, scratch);
        self.values(query, scratch);
        let Scratch { gradient, values, fixed: columns, .. } = scratch;
        let valued = !matches!(self.values, Values::Unread);
        columns.clear();
        for value in gradient.iter() {
            columns.push(fixed(*value)?);
        }
        columns.push(if loss.is_nan() { 0 } else { fixed(loss)? });
        for value in values.iter() {
            columns.push(if valued { fixed(*value)? } else { 0 });
        }
        let shots = self.version.shape().teach_shots.into();
        Some(Contribution { shots, loss: !loss.is_nan(), valued, columns })
    }

    /// The tally of a packet of the version of this reader: a row of weights for each query that teaches, of one per output,
    /// or one per teach setting and output; a loss is NaN where it is not known.
    pub fn tally(&self, packet: &Packet<'_>, weights: &[f64], losses: Option<&[f64]>) -> Result<Tally> {
        let teaching = packet.check(&self.version)?;
        let each = weights.len().checked_div(teaching).unwrap_or(0);
        if let Some(losses) = losses.filter(|losses| losses.len() != teaching) {
            let expected = format!("{teaching}, one per query that teaches");
            return Err(Error::shape("losses", expected, losses.len().to_string()));
        }
        if each * teaching != weights.len() {
            let expected = format!("a row for each of {teaching} queries that teach");
            return Err(Error::shape("weights", expected, weights.len().to_string()));
        }
        let (mut sum, mut scratch) = (Tally::new(self.n_parameters, self.n_outputs), Scratch::default());
        for (i, query) in Query::all(&self.version, &packet.span, packet.body).enumerate() {
            let weights = Weights::new(&weights[i * each..][..each], self.n_outputs, self.settings.len())?;
            let loss = losses.map_or(f64::NAN, |losses| losses[i]);
            let contribution = self.contribute(&query, weights, loss, &mut scratch);
            if !contribution.is_some_and(|contribution| sum.add(&contribution)) {
                let expected = format!("numbers whose contributions are at most {RANGE}");
                return Err(Error::invalid(format!("weights[{i}]"), expected, "more, or none"));
            }
        }
        Ok(sum)
    }
}
