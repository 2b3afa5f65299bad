//! Designed ensembles: the settings that suit given sums, and how often to take each.
//!
//! Letters and settings of blocks are drawn independently, with the best probabilities that such settings have; lists
//! come from the search for families.
//!
//! Invariant: every word that counts is revealed, unless a list is for fewer shots than that takes; deterministic.
//! Cost: [`Options::effort`] per kind.

use super::families::Grouping;
use super::fit::{fit, uncertainty};
use super::local;
use super::objective::{Goal, Objective, first_near_least};
use super::options::Options;
use super::search::{ColumnGeneration, MAX_WORDS};
use crate::bits::parallel::Cancel;
use crate::ensemble::Block;
use crate::ensemble::all_bases;
use crate::ensemble::{Ensemble, MAX_BLOCK_QUBITS};
use crate::error::{Error, Result};
use crate::pauli::{Letter, PauliWord, Sums};
use crate::stabiliser::Connectivity;

/// The search is thorough for so many sums: a Hamiltonian is one, a gradient is many.
const FEW_SUMS: usize = 16;

/// Kinds of designed ensembles, simple ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A random letter per qubit.
    Uniform,
    /// Letters with the best probabilities.
    Biased,
    /// A list of product settings.
    Product,
    /// A list of Clifford settings.
    Clifford,
    /// Clifford settings of blocks of so many neighbouring qubits, drawn independently.
    Block(usize),
}

impl Kind {
    /// The name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Uniform => "uniform",
            Kind::Biased => "biased",
            Kind::Product => "product",
            Kind::Clifford => "clifford",
            Kind::Block(_) => "block",
        }
    }
}

/// The ensemble of the first of `kinds` that is within 2 % of the best of them. The first `n_values` sums are values,
/// which weigh `options.value_weight` together. Kinds that do not apply are an error if none is left.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, pauli::{PauliSum, PauliWord, Sums}};
/// use efl_core::design::{Kind, Options, design};
/// let sums = Sums::from_sums(2, [&PauliSum::from_labels([("XX", 1.0), ("ZZ", 1.0)])?])?;
/// let bell = design(&sums, 0, &[Kind::Uniform, Kind::Clifford], &Options::default(), &Cancel::new())?;
/// assert_eq!(bell.reveal_probability(PauliWord::from_label("XX")?.view())?, 1.0);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn design(
    sums: &Sums,
    n_values: usize,
    kinds: &[Kind],
    options: &Options,
    cancel: &Cancel,
) -> Result<Ensemble> {
    let sums = &*sums.moderate(); // which design is best does not depend on the scale
    let objective = Objective::new(sums, n_values, &options.goal, options.value_weight)?;
    if objective.weights().iter().all(|w| *w == 0.0) {
        return Err(Error::invalid(
            "observables",
            "a word other than the identity that counts",
            "none: nothing has to be measured",
        ));
    }
    let max = options.goal == Goal::Max;
    if let Some(shots) = options.shots {
        if shots < 2 {
            return Err(Error::invalid("shots", "at least 2", shots.to_string()));
        }
        if max {
            return Err(Error::invalid("goal", "'mean' or weights, for a number of shots", "'max'"));
        }
    }
    let scores = objective.scores(sums);
    let make = |kind: Kind| {
        let drawn = |shapes: &[(usize, usize)]| {
            Ok::<_, Error>(drawn(sums, &objective, max, shapes, options.effort, cancel)?.0)
        };
        let listed = |grouping| {
            let &Options { effort, connectivity, .. } = options;
            let search = ColumnGeneration {
                sums,
                objective: &objective,
                direct: &[],
                grouping,
                connectivity,
                effort,
                entries: 0, // there is nothing to share with
                thorough: sums.len() <= FEW_SUMS,
            };
            let mut found = search.run(None, max, cancel)?;
            if let Some(shots) = options.shots {
                let kept = fit(&found.members(), &found.shares.families, &scores, shots, cancel)?;
                found.families = kept.iter().map(|(f, _)| found.families[*f].clone()).collect();
                found.shares.families = kept.into_iter().map(|(_, share)| share).collect();
            }
            found.ensemble(cancel)
        };
        match kind {
            Kind::Uniform => Ensemble::uniform(sums.n_qubits()),
            Kind::Biased => drawn(&[(1, 0)]),
            Kind::Product => listed(Grouping::QubitWise),
            Kind::Clifford => listed(Grouping::Commuting),
            Kind::Block(qubits) => {
                let size = qubits.min(sums.n_qubits());
                drawn(&(0..size).map(|offset| (size, offset)).collect::<Vec<_>>())
            }
        }
    };
    let (mut found, mut refused) = (Vec::new(), None);
    for &kind in kinds {
        match refusal(kind, sums, options.connectivity) {
            None => found.push(make(kind)?),
            Some(error) => refused = refused.or(Some(error)),
        }
    }
    let figures = found.iter().map(|ensemble: &Ensemble| match options.shots {
        Some(shots) => uncertainty(&scores, |c| ensemble.response(sums.words().get(c)).reveal(), shots),
        None => objective.figure(&ensemble.variances(sums), max),
    });
    let Some(first) = first_near_least(figures) else {
        return Err(
            refused.unwrap_or_else(|| Error::invalid("kind", "at least one kind of ensemble", "none"))
        );
    };
    Ok(found.swap_remove(first))
}

/// Why an ensemble of this kind cannot be made.
fn refusal(kind: Kind, sums: &Sums, connectivity: Connectivity) -> Option<Error> {
    match kind {
        Kind::Clifford | Kind::Block(_) if connectivity == Connectivity::None => Some(Error::invalid(
            "kind",
            "'uniform', 'biased' or 'product', because connectivity 'none' leaves no two-qubit gates",
            kind.name(),
        )),
        Kind::Block(qubits) if !(1..=MAX_BLOCK_QUBITS).contains(&qubits) => {
            Some(Error::invalid("qubits_per_block", format!("1 to {MAX_BLOCK_QUBITS}"), qubits.to_string()))
        }
        Kind::Product | Kind::Clifford if sums.words().len() > MAX_WORDS => Some(Error::Limit {
            what: "words of a list of settings".into(),
            needed: sums.words().len() as u64,
            limit: MAX_WORDS as u64,
            remedy: "take kind 'biased' or 'block'".into(),
        }),
        _ => None,
    }
}

/// The best probabilities of settings that blocks draw independently, in the best of the given shapes: contiguous
/// blocks of so many qubits, the first one of the second number if that is not zero. Blocks of one qubit are letters.
pub(crate) fn drawn(
    sums: &Sums,
    objective: &Objective,
    max: bool,
    shapes: &[(usize, usize)],
    effort: u64,
    cancel: &Cancel,
) -> Result<(Ensemble, f64)> {
    let mut best: Option<(f64, Ensemble)> = None;
    let mut bound = f64::INFINITY;
    for &(size, offset) in shapes.iter().filter(|(size, offset)| size + offset <= sums.n_qubits()) {
        let blocks = even(sums.n_qubits(), size, offset)?;
        let make = |objective: &Objective, effort: u64| -> Result<(Ensemble, f64)> {
            let (shares, bound) =
                local::optimise(sums.words(), &objective.scores(sums), &blocks, effort, cancel)?;
            let designed = blocks.iter().zip(shares);
            let designed = designed.map(|(block, shares)| {
                Block::new(block.qubits().to_vec(), block.settings().to_vec(), shares)
            });
            Ok((Ensemble::blocks(sums.n_qubits(), designed.collect::<Result<_>>()?)?, bound))
        };
        let (mut ensemble, least) = make(objective, effort)?;
        bound = bound.min(least);
        if max {
            let again = |objective: &Objective, _: &Ensemble| Ok(make(objective, effort / 8)?.0);
            ensemble = objective.clone().level(ensemble, |made| made.variances(sums), again)?;
        }
        let figure = objective.figure(&ensemble.variances(sums), max);
        if best.as_ref().is_none_or(|(least, _)| figure < *least) {
            best = Some((figure, ensemble));
        }
    }
    match best {
        Some((_, ensemble)) if shapes == [(1, 0)] => Ok((letters(&ensemble)?, bound)),
        Some((_, ensemble)) => Ok((ensemble, bound)),
        None => Err(Error::invalid("kind", "blocks that fit into the register", "none")),
    }
}

/// Contiguous blocks with all their stabiliser bases.
fn even(n: usize, size: usize, offset: usize) -> Result<Vec<Block>> {
    let starts: Vec<usize> = (0..n).filter(|q| *q == 0 || (q + size - offset).is_multiple_of(size)).collect();
    let block = |(i, &start): (usize, &usize)| {
        let end = starts.get(i + 1).copied().unwrap_or(n);
        all_bases(end - start).moved(start..end)
    };
    starts.iter().enumerate().map(block).collect()
}

/// Blocks of one qubit in the form of letters.
fn letters(blocks: &Ensemble) -> Result<Ensemble> {
    let n = blocks.n_qubits();
    let probability = |q: usize, letter| -> Result<f64> {
        Ok(blocks.reveal(PauliWord::from_sparse(n, [(q, letter)])?.view()))
    };
    let row = |q: usize| -> Result<[f64; 3]> {
        let [x, y, z] = [Letter::X, Letter::Y, Letter::Z].map(|letter| probability(q, letter));
        Ok([x?, y?, z?])
    };
    Ensemble::biased((0..n).map(row).collect::<Result<_>>()?)
}
