//! Masks as bytes.

use super::{Masks, Source, Step, Term};
use crate::stored::{Put, Take};
use efl_core::Result;
use efl_core::estimate::DIRECTIONS;

impl Masks {
    pub(crate) fn put(&self, put: &mut Put) {
        put.len(self.steps.len());
        for Step(a, b) in &self.steps {
            put.u32(*a);
            put.u32(*b);
        }
        put.len(self.sources.len());
        for Source { limb, output } in &self.sources {
            put.u32(*limb);
            put.u32(*output);
        }
        put.len(self.terms.len());
        for Term { source, column, coefficient } in &self.terms {
            put.u32(*source);
            put.u32(*column);
            put.f64(*coefficient);
        }
    }

    /// Reads masks over so many qubits, outputs and columns: every index of theirs is in range.
    pub(crate) fn read(take: &mut Take<'_>, n_qubits: u32, outputs: u32, columns: u32) -> Result<Self> {
        let steps =
            (0..take.len(8)?).map(|_| Ok(Step(take.u32()?, take.u32()?))).collect::<Result<Vec<_>>>()?;
        let known = |i: usize, limb: u32| u64::from(limb) < 1 + u64::from(n_qubits) + i as u64;
        let earlier = steps.iter().enumerate().all(|(i, Step(a, b))| known(i, *a) && known(i, *b));
        take.check(earlier, || "a step uses a limb that is not there".to_owned())?;
        let source = |take: &mut Take<'_>| Ok(Source { limb: take.u32()?, output: take.u32()? });
        let sources = (0..take.len(8)?).map(|_| source(take)).collect::<Result<Vec<_>>>()?;
        let sound = |source: &Source| known(steps.len(), source.limb) && source.output < outputs;
        take.check(sources.iter().all(sound), || "a word has no limb or no output".to_owned())?;
        let term = |take: &mut Take<'_>| {
            Ok(Term { source: take.u32()?, column: take.u32()?, coefficient: take.f64()? })
        };
        let terms = (0..take.len(16)?).map(|_| term(take)).collect::<Result<Vec<_>>>()?;
        let sound = |term: &Term| {
            (term.source as usize) < sources.len() && term.column < columns && term.coefficient.is_finite()
        };
        take.check(terms.iter().all(sound), || {
            "a coefficient has no word, no column or no value".to_owned()
        })?;
        Ok(Masks { steps, sources, terms, wrong: Vec::new() })
    }

    /// How wrong they may be, which not all of them say.
    pub(crate) fn put_wrong(&self, put: &mut Put) {
        put.f64s(&self.wrong);
    }

    /// Reads what [`Masks::put_wrong`] wrote.
    pub(crate) fn read_wrong(&mut self, take: &mut Take<'_>) -> Result<()> {
        self.wrong = take.f64s()?;
        let sound =
            self.wrong.len() == DIRECTIONS * self.sources.len() && self.wrong.iter().all(|w| w.is_finite());
        take.check(sound, || "the errors of its calibration are others".to_owned())
    }
}
