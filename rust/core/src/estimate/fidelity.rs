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
use super::counted::{median, median_inflation};
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

/// An operator of low rank: a sum of projectors on orthonormal vectors, each with its weight.
#[derive(Debug)]
pub struct LowRank<'a> {
    weights: Vec<f64>,
    vectors: Vec<StateVector<'a>>,
}

impl<'a> LowRank<'a> {
    /// Takes eigenvalues and eigenvectors; that these are orthogonal is the caller's word.
    pub fn new(weights: Vec<f64>, vectors: Vec<StateVector<'a>>) -> Result<LowRank<'a>> {
        let width = vectors.first().map(StateVector::n_qubits);
        let fits = vectors.iter().all(|vector| Some(vector.n_qubits()) == width);
        if width.is_none() || !fits || weights.len() != vectors.len() {
            let expected = "one or more of one width, with a weight for each";
            return Err(Error::invalid("vectors", expected, format!("{} vectors", vectors.len())));
        }
        if let Some(bad) = weights.iter().find(|weight| !weight.is_finite()) {
            return Err(Error::invalid("weights", "finite numbers", bad.to_string()));
        }
        Ok(LowRank { weights, vectors })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.vectors[0].n_qubits()
    }

    /// Of a reading on the maximally mixed state.
    fn mixed(&self) -> Mixed {
        let center = 0.5f64.powi(self.n_qubits() as i32);
        let trace: f64 = self.weights.iter().sum();
        let squares: f64 = self.weights.iter().map(|weight| weight * weight).sum();
        Mixed { mean: trace * center, variance: (1.0 + center) * (squares - trace * trace * center).max(0.0) }
    }
}

/// How readings become one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Average {
    /// Their mean.
    Mean,
    /// The median of the means of so many buckets: few readings far out do not matter.
    MedianOfMeans(usize),
    /// Their mean, those beyond this counted as zero: for states that drift, whatever the drift depends on.
    Truncated(f64),
}

impl Average {
    fn check(self, shots: usize) -> Result<()> {
        match self {
            Average::MedianOfMeans(buckets) if buckets == 0 || buckets > shots => {
                let expected = format!("1 to {shots}, as many as there are snapshots");
                Err(Error::invalid("buckets", expected, buckets.to_string()))
            }
            Average::Truncated(most) if most.is_nan() || most <= 0.0 => {
                Err(Error::invalid("most", "a number above zero", most.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Estimates the fidelity of the measured state with each target.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::ensemble::Ensemble;
/// use efl_core::estimate::{Average, Target, fidelity};
/// use efl_core::gates::{Clifford, CliffordGate};
/// use efl_core::snapshots::sample_stabiliser;
/// use efl_core::stabiliser::StabiliserState;
/// let n = 50;
/// let mut gates = vec![CliffordGate::new(Clifford::H, &[0])?];
/// gates.extend((1..n).map(|q| CliffordGate::new(Clifford::Cnot, &[q - 1, q]).unwrap()));
/// let ghz = StabiliserState::from_gates(n, &gates)?;
/// let snaps = sample_stabiliser(&ghz, &Ensemble::global_clifford(n)?, 2000, 7, &Cancel::new())?;
/// let found = fidelity(&snaps, &[Target::Stabiliser(&ghz)], Average::Mean, &Cancel::new())?;
/// assert!((found.value[0] - 1.0).abs() < 5.0 * found.stderr[0]);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn fidelity(
    snaps: &Snapshots,
    targets: &[Target<'_>],
    average: Average,
    cancel: &Cancel,
) -> Result<Estimates> {
    let (n, shots) = (snaps.n_qubits(), snaps.len());
    check_snapshots(snaps)?;
    average.check(shots)?;
    let center = 0.5f64.powi(n as i32);
    let mixed = Mixed { mean: center, variance: 1.0 - center * center };
    let mut found = unfilled(targets.len(), shots);
    for target in targets {
        check_width("target", n, target.n_qubits())?;
        let target = match target {
            Target::Stabiliser(state) => Reading::Stabiliser(state),
            Target::Vector(state) => Reading::Vectors(state.amplitudes(), &[]),
        };
        let readings = by_task(snaps, target, cancel, Ok)?.concat();
        let (value, stderr) = combined(readings, mixed, average);
        found.value.push(value);
        found.stderr.push(stderr);
    }
    Ok(found)
}

/// Estimates the value of an operator of low rank. The mean square of a reading is at most three times the sum of the squares
/// of the weights, or little above, whatever the width.
pub fn low_rank(
    snaps: &Snapshots,
    operator: &LowRank<'_>,
    average: Average,
    cancel: &Cancel,
) -> Result<Estimates> {
    let (shots, rank) = (snaps.len(), operator.weights.len());
    check_snapshots(snaps)?;
    average.check(shots)?;
    check_width("vectors", snaps.n_qubits(), operator.n_qubits())?;
    let readings = by_task(snaps, Reading::Fidelities(&operator.vectors), cancel, |each: Vec<f64>| {
        let sum = |row: &[f64]| row.iter().zip(&operator.weights).map(|(x, weight)| x * weight).sum::<f64>();
        Ok(each.chunks_exact(rank).map(sum).collect::<Vec<_>>())
    })?;
    let (value, stderr) = combined(readings.concat(), operator.mixed(), average);
    let mut found = unfilled(1, shots);
    found.value.push(value);
    found.stderr.push(stderr);
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

/// How often outcomes agree with all that a state fixes in their bases: for each number of independent words that basis
/// and state have in common, how many snapshots have so many, and how many of these agree. Of snapshots of the state itself
/// the others are errors of the device.
pub fn agreements(snaps: &Snapshots, state: &StabiliserState, cancel: &Cancel) -> Result<Vec<[u64; 2]>> {
    check_snapshots(snaps)?;
    check_width("state", snaps.n_qubits(), state.n_qubits())?;
    let mut found = vec![[0; 2]; snaps.n_qubits() + 1];
    let parts = by_task(snaps, Reading::Agreement(state), cancel, Ok)?;
    for &[fixed, agrees] in parts.iter().flat_map(|part| part.as_chunks::<2>().0) {
        found[fixed as usize][0] += 1;
        found[fixed as usize][1] += agrees as u64;
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
    /// How many words a state fixes in the basis, and whether the outcome agrees: 1, or 0.
    Agreement(&'a StabiliserState),
    /// The fidelity with the first vector, and its derivative along each of the others.
    Vectors(&'a [Complex64], &'a [Vec<Complex64>]),
    /// The fidelity with each of these.
    Fidelities(&'a [StateVector<'a>]),
}

impl Reading<'_> {
    /// Numbers for each snapshot.
    fn width(&self) -> usize {
        match self {
            Reading::Stabiliser(_) => 1,
            Reading::Agreement(_) => 2,
            Reading::Vectors(_, tangents) => 1 + tangents.len(),
            Reading::Fidelities(vectors) => vectors.len(),
        }
    }
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
        let mut readings = room("the readings of a task", 64 * groups.len(), reading.width())?;
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
                    Reading::Agreement(state) => {
                        parities.find(&basis, state);
                        readings.push(parities.len() as f64);
                        readings.push(f64::from(u8::from(parities.allow(outcome))));
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
                    Reading::Fidelities(vectors) => {
                        spread.take(&basis, outcome[0]);
                        for vector in vectors {
                            if n > 16 {
                                cancel.check()?;
                            }
                            let found = spread.amplitude(vector.amplitudes());
                            readings.push((two_to(n) + 1.0) * found.norm_sqr() - 1.0);
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

/// Mean and variance of a reading on the maximally mixed state.
#[derive(Clone, Copy)]
struct Mixed {
    mean: f64,
    variance: f64,
}

/// The value that readings give, with its standard error.
fn combined(mut readings: Vec<f64>, mixed: Mixed, average: Average) -> (f64, f64) {
    let (count, shots) = (readings.len(), readings.len() as f64);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let buckets = if let Average::MedianOfMeans(buckets) = average { buckets } else { 1 };
    if let Average::Truncated(most) = average {
        readings.iter_mut().filter(|reading| reading.abs() > most).for_each(|reading| *reading = 0.0);
    }
    let edge = |b: usize| (b as u128 * count as u128 / buckets as u128) as usize;
    let value = match buckets {
        1 => mean(&readings),
        _ => median((0..buckets).map(|b| mean(&readings[edge(b)..edge(b + 1)])).collect()),
    };
    let mut strata = Strata::default();
    if let [one] = readings[..] {
        strata.add_lone(one - mixed.mean, mixed.variance / shots);
    } else {
        let deviations = || readings.iter().map(|reading| (reading - value) / shots);
        let second = deviations().map(|x| x * x).sum();
        strata.add(shots, deviations().sum(), second, 0.0, mixed.variance / shots);
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
            for average in [Average::Mean, Average::MedianOfMeans(9), Average::Truncated(1e9)] {
                let found = fidelity(&snaps, std::slice::from_ref(&target), average, &cancel).unwrap();
                assert!((found.value[0] - exact).abs() < 5.0 * found.stderr[0], "{found:?} {exact}");
                assert!(found.stderr[0] < 0.04);
            }
        }
        let found = estimate(&snaps, &words, crate::estimate::Combine::Mean, 1, &cancel).unwrap();
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
            let found = fidelity(&snaps, &targets, Average::Mean, &cancel).unwrap();
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
            let found = fidelity(&snaps, &[Target::Stabiliser(&state)], Average::Mean, &cancel).unwrap();
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
        assert!(fidelity(&letters, &target, Average::Mean, &cancel).is_err());
        let ensemble = Ensemble::global_clifford(2).unwrap();
        let snaps = sample_stabiliser(&state, &ensemble, 10, 1, &cancel).unwrap();
        for average in [
            Average::MedianOfMeans(0),
            Average::MedianOfMeans(11),
            Average::Truncated(0.0),
            Average::Truncated(f64::NAN),
        ] {
            assert!(fidelity(&snaps, &target, average, &cancel).is_err());
        }
        let wide = ghz(3);
        assert!(fidelity(&snaps, &[Target::Stabiliser(&wide)], Average::Mean, &cancel).is_err());
        let own = vec![Complex64::new(1.0, 0.0), Complex64::default()];
        let vector = || StateVector::new(&own).unwrap();
        assert!(LowRank::new(vec![], vec![]).is_err());
        assert!(LowRank::new(vec![1.0, 2.0], vec![vector()]).is_err());
        assert!(LowRank::new(vec![f64::NAN], vec![vector()]).is_err());
        let narrow = LowRank::new(vec![1.0], vec![vector()]).unwrap();
        assert!(low_rank(&snaps, &narrow, Average::Mean, &cancel).is_err());
    }

    /// Five standard errors: a false-alarm rate of 6e-7 for each of three.
    #[test]
    fn operators_of_low_rank_are_sums_of_fidelities() {
        let (n, cancel) = (2, Cancel::new());
        let (real, none) = (|x: f64| Complex64::new(x, 0.0), Complex64::default());
        let state = vec![real(0.6), none, Complex64::new(0.0, 0.64), real(0.48)];
        let state = StateVector::new(&state).unwrap();
        let half = 0.5f64.sqrt();
        let (plus, minus) =
            (vec![real(half), none, none, real(half)], vec![real(half), none, none, real(-half)]);
        let snaps = sample(&state, &Ensemble::global_clifford(n).unwrap(), 8000, 5, &cancel).unwrap();
        let vectors = || vec![StateVector::new(&plus).unwrap(), StateVector::new(&minus).unwrap()];
        let operator = |weights| LowRank::new(weights, vectors()).unwrap();
        // (|00><11| + |11><00|) / 2 is half the difference of the projectors.
        for (weights, exact) in
            [(vec![0.5, -0.5], 0.6 * 0.48), (vec![1.0, 0.0], 0.5832), (vec![1.0, 1.0], 0.5904)]
        {
            let found = low_rank(&snaps, &operator(weights), Average::Mean, &cancel).unwrap();
            assert!((found.value[0] - exact).abs() < 5.0 * found.stderr[0], "{found:?} {exact}");
            assert!(found.stderr[0] < 0.03);
        }
        let one = low_rank(&snaps, &operator(vec![1.0, 0.0]), Average::MedianOfMeans(9), &cancel).unwrap();
        let plus = StateVector::new(&plus).unwrap();
        let same = fidelity(&snaps, &[Target::Vector(&plus)], Average::MedianOfMeans(9), &cancel).unwrap();
        assert!((one.value[0] - same.value[0]).abs() < 1e-12);
        assert!((one.stderr[0] - same.stderr[0]).abs() < 1e-12);
    }

    #[test]
    fn readings_are_combined_by_mean_or_by_median() {
        let mixed = Mixed { mean: 0.125, variance: 1.0 - 1.0 / 64.0 };
        let combined = |readings: &[f64], average| combined(readings.to_vec(), mixed, average);
        let readings = [1.0, 2.0, 3.0, 10.0, 20.0, 300.0];
        let (mean, stderr) = combined(&readings, Average::Mean);
        assert!((mean - 56.0).abs() < 1e-12);
        let variance = readings.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 5.0 / 6.0;
        assert!((stderr - variance.sqrt()).abs() < 1e-9, "{stderr}");
        assert_eq!(combined(&readings, Average::MedianOfMeans(3)).0, 6.5);
        assert_eq!(combined(&readings, Average::Truncated(20.0)).0, 6.0);
        assert!(combined(&[2.0; 4], Average::Mean).1 > 0.1); // few that agree are not certain
        assert!(combined(&[2.0], Average::Mean).1 > 0.9);
    }
}
