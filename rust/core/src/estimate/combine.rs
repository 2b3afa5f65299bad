//! Combination rules: counts become values and standard errors.
//!
//! | rule | value of a word | for |
//! |---|---|---|
//! | mean | signs over all snapshots, divided by the response | the default: unbiased, and words are bounded |
//! | hit-normalised | mean over the snapshots that reveal the word | smaller variance when hits are many; slightly biased for sums of few hits |
//! | median of means | median over buckets of their means | heavy tails; about 25 % more error on ordinary data |
//!
//! Where the settings of a list are allocated, how often a word is revealed is no random number, and the first two rules
//! are one: the mean over the snapshots that reveal it.
//!
//! Standard errors: see [`super::strata`]. A word that was never revealed gets the large error that it deserves, not zero.

use super::arrange::{Arranged, arrange};
use super::calibration::{Calibration, Contrasts, Masks};
use super::counted::{Counted, Hits};
use super::spread::{Moments, Variable, moments};
use super::strata::Strata;
use super::tally::{Tally, check_counting, count};
use crate::bits::parallel::Cancel;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::heisenberg::GradientObservables;
use crate::pauli::word::check_width;
use crate::pauli::{Sums, WordRef};
use crate::snapshots::Snapshots;
use crate::stabiliser::Setting;
use rustc_hash::FxHashMap;

/// How counts become a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combine {
    /// The mean over all snapshots.
    Mean,
    /// The mean over the snapshots that reveal the word; 0 with standard error 1 for a word never revealed.
    HitNormalised,
    /// The median over buckets of the mean of the observable in each.
    MedianOfMeans,
}

/// Estimates of several observables from the same snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    /// One per observable.
    pub value: Vec<f64>,
    /// Standard error of each value.
    pub stderr: Vec<f64>,
    /// How many snapshots revealed the observable's rarest word (all of them for the identity).
    pub revealed: Vec<u64>,
    /// Sum of the absolute coefficients of the words that no snapshot revealed; their part of the value is zero.
    pub unrevealed: Vec<f64>,
    /// Snapshots used.
    pub shots: u64,
}

/// Estimates `observables` from `snaps`. `buckets` is the number of means of [`Combine::MedianOfMeans`], and 1 for
/// the other rules.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, pauli::{PauliSum, Sums}};
/// use efl_core::{estimate::{Combine, estimate}, snapshots::sample, state::StateVector};
/// use num_complex::Complex64;
/// let plus = [Complex64::new(0.5f64.sqrt(), 0.0); 2];
/// let cancel = Cancel::new();
/// let snaps = sample(&StateVector::new(&plus)?, &Ensemble::uniform(1)?, 30_000, 7, &cancel)?;
/// let x = Sums::from_sums(1, [&PauliSum::from_labels([("X", 1.0)])?])?;
/// let found = estimate(&snaps, &x, Combine::Mean, 1, &cancel)?;
/// assert!((found.value[0] - 1.0).abs() < 4.0 * found.stderr[0]);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn estimate(
    snaps: &Snapshots,
    observables: &Sums,
    combine: Combine,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Estimates> {
    estimate_calibrated(snaps, observables, combine, buckets, None, cancel)
}

/// [`estimate`] with signs divided by the contrasts of a readout, whose errors are added to those of the values.
pub fn estimate_calibrated(
    snaps: &Snapshots,
    observables: &Sums,
    combine: Combine,
    buckets: usize,
    calibration: Option<&Calibration>,
    cancel: &Cancel,
) -> Result<Estimates> {
    if combine != Combine::MedianOfMeans && buckets != 1 {
        return Err(Error::invalid("buckets", "1 unless medians are combined", buckets.to_string()));
    }
    check_counting(snaps, observables.n_qubits(), buckets)?;
    let snaps = &*snaps.resolved(cancel)?;
    let hits = Hits::of(combine, snaps.ensemble().single().is_some(), snaps.is_allocated());
    let mut responses = Hits::responses(snaps.ensemble(), observables, cancel)?; // before the counting, which may be long
    let contrasts = match calibration {
        None => None,
        Some(calibration) => {
            check_width("calibration", snaps.n_qubits(), calibration.n_qubits())?;
            let counts = (hits == Hits::Fixed).then(|| setting_counts(snaps));
            let masks = word_masks(snaps.ensemble(), observables, counts.as_deref())?;
            let contrasts = Contrasts::new(calibration, masks)?;
            contrasts.apply(&mut responses);
            Some((calibration, contrasts))
        }
    };
    let arranged = arrange(snaps, observables.words(), buckets, cancel)?;
    let tally = count(&arranged, snaps, observables.words(), buckets, cancel)?;
    let counted = Counted::new(&tally, observables, responses, hits);
    let several: Vec<usize> = (0..observables.len()).filter(|&j| counted.terms(j).nth(1).is_some()).collect();
    let mut strata: Vec<Strata> = several.iter().map(|&j| counted.unseen(j)).collect();
    let variables: Vec<Variable> = several.iter().map(|&j| counted.variable(j)).collect();
    if hits == Hits::Fixed {
        by_setting(&arranged, &counted, &several, &variables, &mut strata, cancel)?;
    } else if tally.shots() > 1 || hits == Hits::Counted {
        let mut all = vec![Moments::default(); several.len()];
        moments(&arranged, &variables, cancel, |i, _, found| {
            all[i].first += found.first;
            all[i].second += found.second;
        })?;
        several
            .iter()
            .zip(all)
            .zip(&mut strata)
            .for_each(|((&j, found), strata)| counted.add_all(j, found, strata));
    }
    let mut of_sum = vec![0.0; observables.len()];
    several.iter().zip(strata).for_each(|(&j, strata)| of_sum[j] = strata.variance());
    let mut found = finish(&counted, combine, |j| Ok(of_sum[j]))?;
    if let Some((calibration, contrasts)) = &contrasts {
        counted.blur(calibration, contrasts, &mut found, cancel)?;
    }
    Ok(found)
}

/// How many snapshots have each setting of the list.
fn setting_counts(snaps: &Snapshots) -> Vec<f64> {
    let settings = snaps.ensemble().single().map_or(0, |list| list.settings().len());
    let mut counts = vec![0.0; settings];
    snaps.settings().iter().for_each(|&f| counts[f as usize] += 1.0);
    counts
}

/// For every word the masks that it is read by, each with its part of the shots: by `counts` of the settings of a list, or
/// by their probabilities.
fn word_masks(ensemble: &Ensemble, observables: &Sums, counts: Option<&[f64]>) -> Result<Masks> {
    let words = observables.words();
    let support = |word: WordRef<'_>| word.x().iter().zip(word.z()).map(|(x, z)| x | z).collect::<Vec<u64>>();
    if let Some(list) = ensemble.single() {
        let parts = counts.unwrap_or(list.probabilities());
        let own = |word: WordRef<'_>| {
            let read = |(setting, part): (&Setting, &f64)| {
                let mut mask = vec![0; word.x().len()];
                (*part > 0.0 && setting.read(word, &mut mask).is_some()).then_some((mask, *part))
            };
            list.settings().iter().zip(parts).filter_map(read).collect()
        };
        return Ok(words.iter().map(own).collect());
    }
    if ensemble.letter_probabilities(0).is_none() {
        return Err(Error::invalid(
            "calibration",
            "snapshots in letters or in one list of settings (in others a word is read by many parities)",
            format!("a {} ensemble", ensemble.kind()),
        ));
    }
    Ok(words.iter().map(|word| vec![(support(word), 1.0)]).collect())
}

/// Adds a stratum for every setting of a list.
fn by_setting(
    arranged: &Arranged<'_>,
    counted: &Counted<'_>,
    several: &[usize],
    variables: &[Variable],
    strata: &mut [Strata],
    cancel: &Cancel,
) -> Result<()> {
    let shots: Vec<usize> = arranged.parts.iter().map(|part| part.range().len()).collect();
    let squares =
        |variable: &Variable| variable.terms.iter().map(|&(c, slope, _)| (c, slope * slope)).collect();
    let squares: Vec<FxHashMap<u32, f64>> = variables.iter().map(squares).collect();
    let mixed = |i: usize, part: usize| -> f64 {
        arranged.parts[part].columns.iter().filter_map(|(c, _)| squares[i].get(c)).sum()
    };
    moments(arranged, variables, cancel, |i, part, found| {
        if found.used && shots[part] > 1 {
            let n = shots[part] as f64;
            strata[i].add(n, found.first, found.second, 0.0, n * mixed(i, part));
        }
    })?;
    if shots.contains(&1) {
        let lone: Vec<Variable> = several.iter().map(|&j| counted.lone(j)).collect();
        moments(arranged, &lone, cancel, |i, part, found| {
            if found.used && shots[part] == 1 {
                strata[i].add_lone(found.first, mixed(i, part));
            }
        })?;
    }
    Ok(())
}

/// Estimates the rows of the observables of a gradient. A design for the derivatives may leave out the words of a value: such a
/// value is NaN and its standard error infinite. Derivatives are never left out.
pub fn estimate_gradient(
    snaps: &Snapshots,
    observables: &GradientObservables,
    combine: Combine,
    buckets: usize,
    calibration: Option<&Calibration>,
    cancel: &Cancel,
) -> Result<Estimates> {
    let sums = observables.sums();
    check_counting(snaps, sums.n_qubits(), buckets)?;
    let unrevealed = |word| !snaps.ensemble().response(word).is_revealed();
    let hidden = |o: usize| sums.terms(o).any(|(word, c)| c != 0.0 && unrevealed(word));
    let hidden: Vec<bool> = (0..sums.len()).map(|r| r < observables.n_observables() && hidden(r)).collect();
    if !hidden.contains(&true) {
        return estimate_calibrated(snaps, sums, combine, buckets, calibration, cancel);
    }
    let known = hidden.iter().enumerate().flat_map(|(r, hidden)| {
        let factor = if *hidden { 0.0 } else { 1.0 };
        sums.row(r).1.iter().map(move |c| factor * c)
    });
    let known = sums.with_coefficients(known.collect());
    let mut found = estimate_calibrated(snaps, &known, combine, buckets, calibration, cancel)?;
    for o in (0..hidden.len()).filter(|&o| hidden[o]) {
        (found.value[o], found.stderr[o], found.revealed[o]) = (f64::NAN, f64::INFINITY, 0);
    }
    Ok(found)
}

/// Estimates `observables` from counts alone. The covariance between the words of a sum then has to come from the differences
/// between buckets, so an observable of several words needs a tally of at least two of them (32 or more give an
/// error bar that is itself known to about 12 %).
pub fn estimate_tally(
    tally: &Tally,
    observables: &Sums,
    combine: Combine,
    calibration: Option<&Calibration>,
) -> Result<Estimates> {
    let tally = &tally.select(observables.words())?;
    if tally.bucket_shots().contains(&0) {
        return Err(Error::invalid("tally", "buckets that all hold snapshots", "an empty bucket"));
    }
    let hits = Hits::of(combine, tally.ensemble().single().is_some(), tally.is_allocated());
    let mut responses = Hits::responses(tally.ensemble(), observables, &Cancel::new())?;
    let contrasts = match calibration {
        None => None,
        Some(calibration) => {
            check_width("calibration", observables.n_qubits(), calibration.n_qubits())?;
            let masks = word_masks(tally.ensemble(), observables, None)?;
            let several = masks.iter().position(|own| own.iter().any(|(mask, _)| *mask != own[0].0));
            if let Some(word) = several.filter(|_| hits == Hits::Fixed) {
                return Err(Error::invalid(
                    "calibration",
                    "the snapshots themselves, where settings read a word by different parities (a tally does not know \
                     how many shots each had)",
                    format!("a tally with {}", observables.words().get(word)),
                ));
            }
            let contrasts = Contrasts::new(calibration, masks)?;
            contrasts.apply(&mut responses);
            Some((calibration, contrasts))
        }
    };
    let counted = Counted::new(tally, observables, responses, hits);
    let mut found = finish(&counted, combine, |j| {
        if tally.bucket_shots().len() < 2 {
            return Err(Error::invalid(
                format!("observables[{j}]"),
                "a single word, because this tally has one bucket (count with buckets=32 for sums)",
                format!("a sum of {} words", counted.terms(j).count()),
            ));
        }
        Ok(counted.bucket_variance(j))
    })?;
    if let Some((calibration, contrasts)) = &contrasts {
        counted.blur(calibration, contrasts, &mut found, &Cancel::new())?;
    }
    Ok(found)
}

fn finish(
    counted: &Counted<'_>,
    combine: Combine,
    variance_of_sum: impl Fn(usize) -> Result<f64>,
) -> Result<Estimates> {
    let rows = 0..counted.observables.len();
    let stderr = rows.clone().map(|j| {
        let mut terms = counted.terms(j);
        let variance = match (terms.next(), terms.next()) {
            (None, _) => return Ok(0.0),
            (Some((c, v)), None) => v * v * counted.word_variance(c),
            _ => variance_of_sum(j)?,
        };
        let median =
            if combine == Combine::MedianOfMeans { counted.median_variance(j, variance) } else { 0.0 };
        Ok(counted.scales[j] * (variance + median).sqrt())
    });
    Ok(Estimates {
        stderr: stderr.collect::<Result<_>>()?,
        value: rows.clone().map(|j| counted.value(j, combine)).collect(),
        revealed: rows.clone().map(|j| counted.revealed(j)).collect(),
        unrevealed: rows.map(|j| counted.unrevealed(j)).collect(),
        shots: counted.tally.shots(),
    })
}
