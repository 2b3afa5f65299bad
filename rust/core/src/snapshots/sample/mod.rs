//! Simulated snapshots of a state vector.
//!
//! Invariant: randomness is addressed. Setting and outcomes of snapshot `t` are functions of (seed, t) and the state,
//! so results do not depend on threads or batches, and a shorter run is a prefix of a longer one.
//! Cost: see [`letters`], [`lists`] and [`cliffords`]; memory is that of the snapshots, of a batch, and of a few state vectors per
//! thread.

mod cliffords;
mod draw;
mod letters;
mod lists;

pub(crate) use cliffords::draw_basis;
pub use draw::{draw_setting, draw_settings};

use super::{Address, Record, Snapshots};
use crate::bits::parallel::Cancel;
use crate::bits::transpose::transpose_64;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::stabiliser::StabiliserState;
use crate::state::StateVector;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws `shots` settings from `ensemble`, measures `state` in each, and returns the snapshots in the order of
/// their index. The same seed gives the same snapshots with any number of threads.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, snapshots::sample, state::StateVector};
/// use num_complex::Complex64;
/// let zero = [Complex64::new(1.0, 0.0), Complex64::new(0.0, 0.0)];
/// let snaps = sample(&StateVector::new(&zero)?, &Ensemble::uniform(1)?, 100, 7, &Cancel::new())?;
/// assert_eq!(snaps.len(), 100);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn sample(
    state: &StateVector<'_>,
    ensemble: &Ensemble,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Snapshots> {
    check_sizes(state, ensemble)?;
    if shots == 0 {
        return Err(Error::invalid("shots", "at least 1", "0"));
    }
    if let Some(letters) = letter_probabilities(ensemble) {
        let planes = letters::planes(state, &letters, shots, seed, cancel)?;
        return Ok(Snapshots::from_planes(ensemble.clone(), shots, planes, Record::Letters));
    }
    if ensemble.is_global() {
        let planes = cliffords::of_vector(state, shots, seed, cancel)?;
        return Ok(Snapshots::from_planes(ensemble.clone(), shots, planes, addressed(shots, seed)?));
    }
    let settings = lists::draw(ensemble.block_list(), shots, seed, cancel)?;
    let planes = lists::planes(state, ensemble.block_list(), &settings, seed, cancel)?;
    let record = Record::Indices { settings, allocated: false };
    Ok(Snapshots::from_planes(ensemble.clone(), shots, planes, record))
}

/// [`sample`] for a state that a Clifford circuit prepares, of any width: settings are drawn letter by letter, or from all
/// stabiliser bases.
///
/// ```
/// use efl_core::gates::{Clifford, CliffordGate};
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, snapshots::sample_stabiliser};
/// use efl_core::stabiliser::StabiliserState;
/// let plus = StabiliserState::from_gates(1, &[CliffordGate::new(Clifford::H, &[0])?])?;
/// let snaps = sample_stabiliser(&plus, &Ensemble::global_clifford(1)?, 100, 7, &Cancel::new())?;
/// assert_eq!(snaps.len(), 100);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn sample_stabiliser(
    state: &StabiliserState,
    ensemble: &Ensemble,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Snapshots> {
    check_width(state.n_qubits(), ensemble)?;
    if shots == 0 {
        return Err(Error::invalid("shots", "at least 1", "0"));
    }
    if ensemble.is_global() {
        let planes = cliffords::of_stabiliser(state, cliffords::Bases::All, shots, seed, cancel)?;
        return Ok(Snapshots::from_planes(ensemble.clone(), shots, planes, addressed(shots, seed)?));
    }
    let Some(letters) = letter_probabilities(ensemble) else {
        return Err(Error::invalid(
            "ensemble",
            "letters or global_clifford, for a stabiliser state (a state vector takes every ensemble)",
            format!("a {} ensemble", ensemble.kind()),
        ));
    };
    let drawer = letters::Drawer::new(&letters);
    let bases = cliffords::Bases::Letters(&drawer);
    let planes = cliffords::of_stabiliser(state, bases, shots, seed, cancel)?;
    Snapshots::from_planes(ensemble.clone(), shots, planes, addressed(shots, seed)?)
        .resolved(cancel)
        .map(std::borrow::Cow::into_owned)
}

/// The record of the first snapshots of a seed.
fn addressed(shots: usize, seed: u64) -> Result<Record> {
    let mut addresses = crate::bits::room("the snapshots", shots, 1)?;
    addresses.extend((0..shots as u64).map(|index| Address { seed, index }));
    Ok(Record::Addressed(addresses))
}

/// The probabilities of every qubit's letters, where settings are drawn letter by letter.
fn letter_probabilities(ensemble: &Ensemble) -> Option<Vec<[f64; 3]>> {
    (0..ensemble.n_qubits()).map(|q| ensemble.letter_probabilities(q)).collect()
}

/// Measures `state` `counts[f]` times in setting `f` of a list, one setting after the other. With counts of
/// [`Ensemble::allocate`] all estimates stay unbiased, without the error that a random choice of settings adds.
///
/// ```
/// use efl_core::ensemble::Ensemble;
/// use efl_core::stabiliser::Setting;
/// use efl_core::{bits::parallel::Cancel, snapshots::sample_counts, state::StateVector};
/// use num_complex::Complex64;
/// let zero = [Complex64::new(1.0, 0.0), Complex64::new(0.0, 0.0)];
/// let list = Ensemble::settings(vec![Setting::product("Z")?, Setting::product("X")?], vec![0.3, 0.7])?;
/// let counts = list.allocate(100, 1)?;
/// let snaps = sample_counts(&StateVector::new(&zero)?, &list, &counts, 7, &Cancel::new())?;
/// assert_eq!((snaps.settings()[29], snaps.settings()[30]), (0, 1));
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn sample_counts(
    state: &StateVector<'_>,
    ensemble: &Ensemble,
    counts: &[u64],
    seed: u64,
    cancel: &Cancel,
) -> Result<Snapshots> {
    check_sizes(state, ensemble)?;
    let Some(list) = ensemble.single() else {
        return Err(Error::invalid(
            "ensemble",
            "a list of settings, if counts are given",
            format!("a {} ensemble", ensemble.kind()),
        ));
    };
    if counts.len() != list.settings().len() {
        return Err(Error::shape(
            "counts",
            format!("one for each of {} settings", list.settings().len()),
            counts.len().to_string(),
        ));
    }
    let shots = counts.iter().try_fold(0u64, |sum, &c| sum.checked_add(c)).unwrap_or(u64::MAX);
    if shots == 0 {
        return Err(Error::invalid("counts", "at least 1 shot in total", "0"));
    }
    let mut settings = crate::bits::room("the snapshots", shots as usize, 1)?;
    for (f, &count) in counts.iter().enumerate() {
        cancel.check()?;
        settings.resize(settings.len() + count as usize, f as u32);
    }
    let planes = lists::planes(state, ensemble.block_list(), &settings, seed, cancel)?;
    let record = Record::Indices { settings, allocated: true };
    Ok(Snapshots::from_planes(ensemble.clone(), shots as usize, planes, record))
}

fn check_sizes(state: &StateVector<'_>, ensemble: &Ensemble) -> Result<()> {
    check_width(state.n_qubits(), ensemble)
}

fn check_width(n: usize, ensemble: &Ensemble) -> Result<()> {
    if ensemble.n_qubits() == n {
        return Ok(());
    }
    Err(Error::shape(
        "ensemble",
        format!("{n} qubits, as the state has"),
        format!("{} qubits", ensemble.n_qubits()),
    ))
}

/// Puts outcomes, a snapshot each, into the planes that start at `start(q)`, from limb `first` on.
fn put_outcomes(
    outcomes: &[AtomicU64],
    n: usize,
    first: usize,
    start: impl Fn(usize) -> usize,
    planes: &mut [u64],
) {
    let mut block = [0; 64];
    for (group, rows) in outcomes.chunks(64).enumerate() {
        block[rows.len()..].fill(0);
        for (to, from) in block.iter_mut().zip(rows) {
            *to = from.load(Ordering::Relaxed);
        }
        transpose_64(&mut block);
        for q in 0..n {
            planes[start(q) + first + group] = block[q];
        }
    }
}
