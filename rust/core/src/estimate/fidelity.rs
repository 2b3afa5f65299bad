//! How close the measured state is to a target, from snapshots in uniformly random bases.
//!
//! A snapshot is an element s of its basis, and `(2^n + 1) |<s|phi>|^2 - 1` is a reading of the fidelity: unbiased, with a
//! variance below 3 whatever the width (`6 (d + 1) / (d + 2) - 4` on the target itself, d = 2^n). Of a stabiliser state the
//! overlap is zero or `2^(k - n)`, with k independent words that both fix: all moments of the reading stay bounded as the
//! width grows. Of a state vector it is a sum over the affine space that s is spread over.
//!
//! Invariant: readings and sums are in the order of the snapshots. Cost: for each snapshot O(n^3 / 64) (0.7 us on 10 qubits) or
//! `2^n` amplitudes (1.5 us). Memory: a number per snapshot.

use super::Estimates;
use super::combine::{Combine, median, median_inflation};
use super::strata::Strata;
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::bits::{limbs, room};
use crate::error::{Error, Result};
use crate::pauli::word::check_width;
use crate::snapshots::{Address, Snapshots, draw_basis};
use crate::stabiliser::{GraphBasis, Parities, Spread, StabiliserState};
use crate::state::StateVector;
use num_complex::Complex64;
use std::ops::Range;

/// Groups of 64 snapshots of a task.
const GROUPS: usize = 16;

/// What the measured state is compared with.
#[derive(Debug, Clone)]
pub enum Target<'a> {
    /// A state that a Clifford circuit prepares, of any width.
    Stabiliser(&'a StabiliserState),
    /// A state vector.
    Vector(&'a StateVector<'a>),
}

impl Target<'_> {
    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        match self {
            Target::Stabiliser(state) => state.n_qubits(),
            Target::Vector(state) => state.n_qubits(),
        }
    }
}

/// Estimates the fidelity of the measured state with each target, by the mean of all readings or the median of the means of
/// `buckets`.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::ensemble::Ensemble;
/// use efl_core::estimate::{Combine, Target, fidelity};
/// use efl_core::gates::{Clifford, CliffordGate};
/// use efl_core::snapshots::sample_stabiliser;
/// use efl_core::stabiliser::StabiliserState;
/// let n = 50;
/// let mut gates = vec![CliffordGate::new(Clifford::H, &[0])?];
/// gates.extend((1..n).map(|q| CliffordGate::new(Clifford::Cnot, &[q - 1, q]).unwrap()));
/// let ghz = StabiliserState::from_gates(n, &gates)?;
/// let snaps = sample_stabiliser(&ghz, &Ensemble::global_clifford(n)?, 2000, 7, &Cancel::new())?;
/// let found = fidelity(&snaps, &[Target::Stabiliser(&ghz)], Combine::Mean, 1, &Cancel::new())?;
/// assert!((found.value[0] - 1.0).abs() < 5.0 * found.stderr[0]);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn fidelity(
    snaps: &Snapshots,
    targets: &[Target<'_>],
    combine: Combine,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Estimates> {
    let (n, shots) = (snaps.n_qubits(), snaps.len());
    check_snapshots(snaps)?;
    let most = if combine == Combine::MedianOfMeans { shots } else { 1 };
    if buckets == 0 || buckets > most {
        let expected =
            format!("1 to {most}, as many as there are snapshots, and 1 unless medians are combined");
        return Err(Error::invalid("buckets", expected, buckets.to_string()));
    }
    let mut found = unfilled(targets.len(), shots);
    for target in targets {
        check_width("target", n, target.n_qubits())?;
        let target = match target {
            Target::Stabiliser(state) => Reading::Stabiliser(state),
            Target::Vector(state) => Reading::Vectors(state.amplitudes(), &[]),
        };
        let readings = by_task(snaps, target, cancel, Ok)?.concat();
        let (value, stderr) = combined(&readings, n, buckets);
        found.value.push(value);
        found.stderr.push(stderr);
    }
    Ok(found)
}

/// Estimates the fidelity of the measured state with a vector, and its derivatives: one for each tangent (see
/// [`crate::circuit::tangents`]), all from the same snapshots.
///
/// A derivative is the value of the operator `(i/2) (|chi><phi| - |phi><chi|)`, of rank two; the mean square of its reading is
/// at most `|chi|^2 - <phi|chi>^2`, whatever the width: 1 at most for a parameter of a single rotation.
pub fn fidelity_gradient(
    snaps: &Snapshots,
    target: &StateVector<'_>,
    tangents: &[Vec<Complex64>],
    cancel: &Cancel,
) -> Result<Estimates> {
    let (n, shots, count) = (snaps.n_qubits(), snaps.len(), tangents.len() + 1);
    check_snapshots(snaps)?;
    check_width("target", n, target.n_qubits())?;
    let reading = Reading::Vectors(target.amplitudes(), tangents);
    let parts = by_task(snaps, reading, cancel, |readings: Vec<f64>| {
        let mut sums = vec![[0.0; 2]; count];
        for row in readings.chunks_exact(count) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum = [sum[0] + x, sum[1] + x * x]);
        }
        Ok(sums)
    })?;
    let mut found = unfilled(count, shots);
    let center = 0.5f64.powi(n as i32);
    for k in 0..count {
        let [first, second] = parts.iter().fold([0.0; 2], |[a, b], part| [a + part[k][0], b + part[k][1]]);
        // On the maximally mixed state.
        let (mean, variance) = match k.checked_sub(1) {
            None => (center, 1.0 - center * center),
            Some(j) => {
                let (mut square, mut own) = (0.0, Complex64::default());
                for (chi, phi) in tangents[j].iter().zip(target.amplitudes()) {
                    square += chi.norm_sqr();
                    own += phi.conj() * chi;
                }
                (0.0, (1.0 + center) * (square - own.norm_sqr()).max(0.0) / 2.0)
            }
        };
        let (shots, mut strata) = (shots as f64, Strata::default());
        if shots == 1.0 {
            strata.add_lone(first - mean, variance);
        } else {
            strata.add(shots, first / shots, second / (shots * shots), 0.0, variance / shots);
        }
        found.value.push(first / shots);
        found.stderr.push(strata.variance().sqrt());
    }
    Ok(found)
}

/// Estimates to which values are still to be added.
fn unfilled(count: usize, shots: usize) -> Estimates {
    Estimates {
        value: Vec::with_capacity(count),
        stderr: Vec::with_capacity(count),
        revealed: vec![shots as u64; count],
        unrevealed: vec![0.0; count],
        shots: shots as u64,
    }
}

fn check_snapshots(snaps: &Snapshots) -> Result<()> {
    if !snaps.ensemble().is_global() {
        return Err(Error::invalid(
            "snaps",
            "snapshots of Ensemble.global_clifford (words in other settings leave a fidelity to chance)",
            format!("a {} ensemble", snaps.ensemble().kind()),
        ));
    }
    if snaps.is_empty() {
        return Err(Error::invalid("snaps", "at least one snapshot", "none"));
    }
    Ok(())
}

/// What is read of a snapshot.
#[derive(Clone, Copy)]
enum Reading<'a> {
    /// The fidelity with a state.
    Stabiliser(&'a StabiliserState),
    /// The fidelity with the first vector, and its derivative along each of the others.
    Vectors(&'a [Complex64], &'a [Vec<Complex64>]),
}

/// The readings of every snapshot, those of a task at a time made into something else.
fn by_task<T: Send>(
    snaps: &Snapshots,
    reading: Reading<'_>,
    cancel: &Cancel,
    then: impl Fn(Vec<f64>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let groups = limbs(snaps.len());
    parallel::map(groups.div_ceil(GROUPS), cancel, |task| {
        let groups = task * GROUPS..groups.min((task + 1) * GROUPS);
        then(dispatch(Read { snaps, reading, groups, cancel })?)
    })
}

struct Read<'a> {
    snaps: &'a Snapshots,
    reading: Reading<'a>,
    groups: Range<usize>,
    cancel: &'a Cancel,
}

impl Kernel for Read<'_> {
    type Output = Result<Vec<f64>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Read { snaps, reading, groups, cancel } = self;
        let n = snaps.n_qubits();
        let row = limbs(n);
        let addresses: &[Address] = snaps.addresses().unwrap_or(&[]);
        let mut basis = GraphBasis::new(n);
        let (mut parities, mut spread) = (Parities::default(), Spread::new());
        let mut rows = vec![0; 64 * row];
        let width = if let Reading::Vectors(_, tangents) = reading { 1 + tangents.len() } else { 1 };
        let mut readings = room("the readings of a task", 64 * groups.len(), width)?;
        let per_word = 0.5f64.powi(n as i32);
        for group in groups {
            cancel.check()?;
            snaps.outcome_rows(group, &mut rows);
            for (&address, outcome) in addresses[64 * group..].iter().zip(rows.chunks_exact(row)) {
                draw_basis(&mut basis, address);
                match reading {
                    Reading::Stabiliser(state) => {
                        parities.find(&basis, state);
                        let overlap = if parities.allow(outcome) {
                            (1.0 + per_word) * two_to(parities.len())
                        } else {
                            0.0
                        };
                        readings.push(overlap - 1.0);
                    }
                    Reading::Vectors(target, tangents) => {
                        spread.take(&basis, outcome[0]);
                        let mut own = Complex64::default();
                        for k in 0..=tangents.len() {
                            if n > 16 {
                                cancel.check()?;
                            }
                            let found = spread.amplitude(if k == 0 { target } else { &tangents[k - 1] });
                            readings.push(if k == 0 {
                                own = found;
                                (two_to(n) + 1.0) * found.norm_sqr() - 1.0
                            } else {
                                -(two_to(n) + 1.0) * (own.conj() * found).im
                            });
                        }
                    }
                }
            }
        }
        Ok(readings)
    }
}

fn two_to(power: usize) -> f64 {
    2f64.powi(power as i32)
}

/// The value that readings give, with its standard error.
fn combined(readings: &[f64], n: usize, buckets: usize) -> (f64, f64) {
    let shots = readings.len() as f64;
    let edge = |b: usize| (b as u128 * readings.len() as u128 / buckets as u128) as usize;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let value = match buckets {
        1 => mean(readings),
        _ => median((0..buckets).map(|b| mean(&readings[edge(b)..edge(b + 1)])).collect()),
    };
    // On the maximally mixed state the mean is 1 / d and the variance 1 - 1 / d^2.
    let center = 0.5f64.powi(n as i32);
    let mixed = (1.0 - center * center) / shots;
    let mut strata = Strata::default();
    if let [one] = readings {
        strata.add_lone(one - center, mixed);
    } else {
        let deviations = || readings.iter().map(|reading| (reading - value) / shots);
        let second = deviations().map(|x| x * x).sum();
        strata.add(shots, deviations().sum(), second, 0.0, mixed);
    }
    (value, strata.variance().sqrt() * median_inflation(buckets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ensemble::Ensemble;
    use crate::estimate::estimate;
    use crate::gates::{Clifford, CliffordGate};
    use crate::pauli::{PauliSum, Sums};
    use crate::snapshots::{sample, sample_stabiliser};

    fn ghz(n: usize) -> StabiliserState {
        let mut gates = vec![CliffordGate::new(Clifford::H, &[0]).unwrap()];
        gates.extend((1..n).map(|q| CliffordGate::new(Clifford::Cnot, &[q - 1, q]).unwrap()));
        StabiliserState::from_gates(n, &gates).unwrap()
    }

    /// Each comparison allows 5 standard errors: a false-alarm rate of 6e-7 for normal errors.
    #[test]
    fn fidelities_and_words_are_unbiased_for_vectors_and_stabiliser_states() {
        let (n, cancel) = (3, Cancel::new());
        let ensemble = Ensemble::global_clifford(n).unwrap();
        let weight = |re: f64, im: f64| Complex64::new(re, im);
        let mut tilted = vec![Complex64::default(); 8];
        (tilted[0], tilted[3], tilted[7]) = (weight(0.6, 0.0), weight(0.0, 0.64), weight(0.48, 0.0));
        let mut vector = vec![Complex64::default(); 8];
        (vector[0], vector[7]) = (weight(0.5f64.sqrt(), 0.0), weight(0.5f64.sqrt(), 0.0));
        let (tilted, vector, stabiliser) =
            (StateVector::new(&tilted).unwrap(), StateVector::new(&vector).unwrap(), ghz(n));
        let exact = (0.6f64 + 0.48).powi(2) / 2.0;
        let words = Sums::from_sums(
            n,
            [
                &PauliSum::from_labels([("ZZI", 1.0)]).unwrap(),
                &PauliSum::from_labels([("IZZ", 0.5), ("XXX", 0.5)]).unwrap(),
            ],
        )
        .unwrap();
        let snaps = sample(&tilted, &ensemble, 6000, 5, &cancel).unwrap();
        for target in [Target::Stabiliser(&stabiliser), Target::Vector(&vector)] {
            for (combine, buckets) in [(Combine::Mean, 1), (Combine::MedianOfMeans, 9)] {
                let found =
                    fidelity(&snaps, std::slice::from_ref(&target), combine, buckets, &cancel).unwrap();
                assert!((found.value[0] - exact).abs() < 5.0 * found.stderr[0], "{found:?} {exact}");
                assert!(found.stderr[0] < 0.04);
            }
        }
        let found = estimate(&snaps, &words, Combine::Mean, 1, &cancel).unwrap();
        // <ZZI> = 0.36 - 0.4096 + 0.2304, <IZZ> = 1, <XXX> = 2 * 0.6 * 0.48.
        for (j, exact) in [0.1808, 0.5 + 0.6 * 0.48].into_iter().enumerate() {
            assert!((found.value[j] - exact).abs() < 5.0 * found.stderr[j], "{found:?} {exact}");
        }
        // The same snapshots of the same state, as a vector and as words that fix it.
        let both = [
            sample(&vector, &ensemble, 2000, 6, &cancel).unwrap(),
            sample_stabiliser(&stabiliser, &ensemble, 2000, 6, &cancel).unwrap(),
        ];
        for snaps in both {
            let targets = [Target::Stabiliser(&stabiliser), Target::Vector(&vector)];
            let found = fidelity(&snaps, &targets, Combine::Mean, 1, &cancel).unwrap();
            assert!((found.value[0] - found.value[1]).abs() < 1e-9);
            assert!((found.value[0] - 1.0).abs() < 5.0 * found.stderr[0], "{found:?}");
        }
    }

    #[test]
    fn the_error_does_not_grow_with_the_width() {
        let cancel = Cancel::new();
        for (n, shots) in [(5, 4000), (20, 4000), (100, 1500)] {
            let state = ghz(n);
            let ensemble = Ensemble::global_clifford(n).unwrap();
            let snaps = sample_stabiliser(&state, &ensemble, shots, n as u64, &cancel).unwrap();
            let found = fidelity(&snaps, &[Target::Stabiliser(&state)], Combine::Mean, 1, &cancel).unwrap();
            let d = 2f64.powi(n as i32);
            let variance = 6.0 * (d + 1.0) / (d + 2.0) - 4.0;
            assert!((found.value[0] - 1.0).abs() < 5.0 * found.stderr[0], "{n} {found:?}");
            // The variance of so many readings, whose kurtosis is below 12, has an error below 9 %.
            let relative = found.stderr[0].powi(2) * shots as f64 / variance;
            assert!((relative - 1.0).abs() < 0.4, "{n} {relative}");
        }
    }

    #[test]
    fn what_has_no_reading_is_refused() {
        let cancel = Cancel::new();
        let state = ghz(2);
        let target = [Target::Stabiliser(&state)];
        let letters = sample_stabiliser(&state, &Ensemble::uniform(2).unwrap(), 10, 1, &cancel).unwrap();
        assert!(fidelity(&letters, &target, Combine::Mean, 1, &cancel).is_err());
        let ensemble = Ensemble::global_clifford(2).unwrap();
        let snaps = sample_stabiliser(&state, &ensemble, 10, 1, &cancel).unwrap();
        assert!(fidelity(&snaps, &target, Combine::Mean, 2, &cancel).is_err());
        assert!(fidelity(&snaps, &target, Combine::MedianOfMeans, 11, &cancel).is_err());
        let wide = ghz(3);
        assert!(fidelity(&snaps, &[Target::Stabiliser(&wide)], Combine::Mean, 1, &cancel).is_err());
    }

    #[test]
    fn readings_are_combined_by_mean_or_by_median() {
        let readings = [1.0, 2.0, 3.0, 10.0, 20.0, 300.0];
        let (mean, stderr) = combined(&readings, 3, 1);
        assert!((mean - 56.0).abs() < 1e-12);
        let variance = readings.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 5.0 / 6.0;
        assert!((stderr - variance.sqrt()).abs() < 1e-9, "{stderr}");
        assert_eq!(combined(&readings, 3, 3).0, 6.5);
        assert!(combined(&[2.0; 4], 3, 1).1 > 0.1); // few that agree are not certain
        assert!(combined(&[2.0], 3, 1).1 > 0.9);
    }
}
