//! Packed bits and the machinery that every stage shares.
//!
//! Invariant: a row of `n` bits is `limbs(n)` consecutive `u64`, bit `q` at `q % 64` of limb `q / 64`, and
//! the bits past `n` in the last limb are zero. Everything here is independent of what the bits mean.

pub mod dispatch;
pub(crate) mod elimination;
pub mod fingerprint;
pub(crate) mod hadamard;
pub mod memory;
pub mod parallel;
pub mod philox;
pub(crate) mod population;
pub mod real;
pub mod transpose;

pub(crate) use hadamard::hadamard;

use crate::error::{Error, Result};

/// Most qubits of anything: a bound against absurd sizes, far above what the formats and kernels are made for.
pub const MAX_QUBITS: usize = 1 << 20;

/// Refuses a width of zero or above [`MAX_QUBITS`].
pub fn check_qubits(n_qubits: usize) -> Result<()> {
    if n_qubits == 0 || n_qubits > MAX_QUBITS {
        return Err(Error::invalid("n_qubits", format!("1 to {MAX_QUBITS}"), n_qubits.to_string()));
    }
    Ok(())
}

/// Zeros that are written at a stretch: some milliseconds.
const FILLED: usize = 1 << 20;

/// Allocations below this are made without a look at how much memory there is.
const LARGE: u128 = 64 << 20;

/// Room for `rows * columns` values, not yet touched, or an error where a plain allocation would end the process.
pub(crate) fn room<T>(what: &'static str, rows: usize, columns: usize) -> Result<Vec<T>> {
    let bytes = rows as u128 * columns as u128 * size_of::<T>() as u128;
    let refused = || Error::Memory { what: what.into(), bytes };
    let count = rows.checked_mul(columns).ok_or_else(refused)?;
    // Systems promise more memory than they have, and end the process that then uses it.
    if bytes > LARGE && bytes > memory::available().into() {
        return Err(refused());
    }
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| refused())?;
    Ok(values)
}

/// [`room`], filled with zeros.
pub(crate) fn zeros(what: &'static str, rows: usize, columns: usize) -> Result<Vec<u64>> {
    let mut values = room(what, rows, columns)?;
    values.resize(rows * columns, 0);
    Ok(values)
}

/// [`zeros`] for very many of them: the system hands over pages one by one, so it can be interrupted.
pub(crate) fn zeros_watched(
    what: &'static str,
    rows: usize,
    columns: usize,
    cancel: &parallel::Cancel,
) -> Result<Vec<u64>> {
    let mut values = room(what, rows, columns)?;
    while values.len() < rows * columns {
        cancel.check()?;
        values.resize((values.len() + FILLED).min(rows * columns), 0);
    }
    Ok(values)
}

/// Number of limbs, as each `u64` of a row is called, that hold `bits` bits.
#[inline]
pub const fn limbs(bits: usize) -> usize {
    bits.div_ceil(64)
}

/// Mask of the bits of limb `index` that lie below `bits` (all ones for a full limb, zero past the end).
#[inline]
pub const fn tail_mask(bits: usize, index: usize) -> u64 {
    let start = index * 64;
    if bits >= start + 64 {
        u64::MAX
    } else if bits <= start {
        0
    } else {
        (1u64 << (bits - start)) - 1
    }
}
