//! Snapshots in uniformly random stabiliser bases of all qubits, and of stabiliser states.
//!
//! The basis of snapshot `t` is a function of (seed, t), and so is what its outcome needs: nothing but the outcome is kept.
//! A basis is never turned into gates. Of a vector it is measured by [`Spread`], of a stabiliser state by the parities that
//! the state fixes.
//!
//! Cost: of a vector of n qubits some 4 ns times `2^n` and snapshot; of a stabiliser state O(n^3 / 64), 1 us on 10 qubits.
//! Memory: two copies of the vector per thread.

use super::letters::Drawer;
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{RandomBits, unit_interval};
use crate::bits::{limbs, room, tail_mask};
use crate::error::Result;
use crate::pauli::Letter;
use crate::snapshots::Address;
use crate::snapshots::rows::to_planes;
use crate::stabiliser::{GraphBasis, Parities, Spread, StabiliserState, Twirl};
use crate::state::StateVector;
use num_complex::Complex64;

/// Stream of the key, so that sampling shares no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"clifford");
/// What a stream of an address is for.
const BASIS: u64 = 0;
const OUTCOME: u64 = 1;
const TWIRL: u64 = 2;
/// Snapshots of one task, a multiple of 64: fewer if each takes long.
const CHUNK: usize = 1 << 12;
const SHORT: usize = 64;
/// Amplitudes of a state, or bits of the bases, of a long one.
const LONG: usize = 1 << 13;

fn random(address: Address, purpose: u64) -> RandomBits {
    RandomBits::new([address.seed, STREAM], [address.index, purpose, 0])
}

/// Draws the basis at an address.
#[inline(always)]
pub(crate) fn draw_basis(basis: &mut GraphBasis, address: Address) {
    basis.draw(&mut random(address, BASIS));
}

/// Draws what is done to the readout of a basis, if it is twirled.
pub(super) fn draw_twirl(n_qubits: usize, address: Address) -> Twirl {
    Twirl::draw(n_qubits, &mut random(address, TWIRL))
}

/// What is measured: in uniformly random bases, or in letters.
#[derive(Clone, Copy)]
pub(super) enum Bases<'a> {
    All,
    Letters(&'a Drawer),
}

impl Bases<'_> {
    #[inline(always)]
    fn draw(self, basis: &mut GraphBasis, address: Address, letters: &mut Vec<u32>) {
        match self {
            Bases::All => draw_basis(basis, address),
            Bases::Letters(drawer) => {
                letters.clear();
                drawer.draw(address.seed, address.index, letters);
                basis.set_letters(|q| [Letter::X, Letter::Y, Letter::Z][letters[q] as usize]);
            }
        }
    }
}

/// The outcome planes of `shots` snapshots of a vector in random bases.
pub(super) fn of_vector(
    state: &StateVector<'_>,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    let vector = state.amplitudes();
    let mut cumulative = room("the probabilities of a state", vector.len(), 1)?;
    let mut sum = 0.0;
    cumulative.extend(vector.iter().map(|amplitude| {
        sum += amplitude.norm_sqr();
        sum
    }));
    planes(state.n_qubits(), shots, vector.len(), cancel, |range| {
        dispatch(OfVector { vector, cumulative: &cumulative, seed, range, cancel })
    })
}

/// The outcome planes of `shots` snapshots of a stabiliser state.
pub(super) fn of_stabiliser(
    state: &StabiliserState,
    bases: Bases<'_>,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    let n = state.n_qubits();
    planes(n, shots, n * n, cancel, |range| dispatch(OfStabiliser { state, bases, seed, range, cancel }))
}

/// Rows of outcomes, a task at a time, as planes.
fn planes(
    n: usize,
    shots: usize,
    size: usize,
    cancel: &Cancel,
    task: impl Fn(std::ops::Range<usize>) -> Result<Vec<u64>> + Sync,
) -> Result<Vec<u64>> {
    let chunk = if size < LONG { CHUNK } else { SHORT };
    let parts =
        parallel::map(shots.div_ceil(chunk), cancel, |i| task(i * chunk..shots.min((i + 1) * chunk)))?;
    let mut rows = room("the snapshots", shots, limbs(n))?;
    parts.iter().for_each(|part| rows.extend_from_slice(part));
    drop(parts);
    to_planes(rows, shots, n)
}

struct OfVector<'a> {
    vector: &'a [Complex64],
    cumulative: &'a [f64],
    seed: u64,
    range: std::ops::Range<usize>,
    cancel: &'a Cancel,
}

impl Kernel for OfVector<'_> {
    type Output = Result<Vec<u64>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let n = self.vector.len().trailing_zeros() as usize;
        let (mut basis, mut spread) = (GraphBasis::new(n), Spread::new());
        let mut rows = Vec::with_capacity(self.range.len());
        for t in self.range {
            if t % SHORT == 0 || self.vector.len() >= LONG {
                self.cancel.check()?;
            }
            let address = Address { seed: self.seed, index: t as u64 };
            draw_basis(&mut basis, address);
            let mut random = random(address, OUTCOME);
            let number = || unit_interval(random.take(64));
            rows.push(spread.measure(&basis, self.vector, self.cumulative, number));
        }
        Ok(rows)
    }
}

struct OfStabiliser<'a> {
    state: &'a StabiliserState,
    bases: Bases<'a>,
    seed: u64,
    range: std::ops::Range<usize>,
    cancel: &'a Cancel,
}

impl Kernel for OfStabiliser<'_> {
    type Output = Result<Vec<u64>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let n = self.state.n_qubits();
        let row = limbs(n);
        let (mut basis, mut parities) = (GraphBasis::new(n), Parities::default());
        let mut letters = Vec::new();
        let mut rows = Vec::with_capacity(self.range.len() * row);
        for t in self.range {
            if t % SHORT == 0 || n * n >= LONG {
                self.cancel.check()?;
            }
            let address = Address { seed: self.seed, index: t as u64 };
            self.bases.draw(&mut basis, address, &mut letters);
            parities.find(&basis, self.state);
            let mut random = random(address, OUTCOME);
            let start = rows.len();
            rows.extend((0..row).map(|k| random.take(64) & tail_mask(n, k)));
            parities.impose(&mut rows[start..]);
        }
        Ok(rows)
    }
}
