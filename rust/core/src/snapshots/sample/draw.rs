//! Settings from addresses: what [`sample`](super::sample) draws for snapshot `index` of a seed, without the rest.
//!
//! A replica that follows addresses needs no list of settings, and who knows the addresses can tell what was measured.
//!
//! Invariant: the same numbers as in the sampler, whatever the state. Cost: one block of random bits per snapshot and 16
//! qubits (letters) or block (lists).

use super::{letter_probabilities, letters, lists};
use crate::bits::parallel::{self, Cancel};
use crate::bits::room;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::snapshots::{Address, Record, Snapshots};
use std::borrow::Cow;

/// Snapshots that one task draws settings for; a multiple of 64.
const CHUNK: usize = 1 << 14;

/// The settings at some addresses, a snapshot's in a row: an index for each block of the ensemble, or 0, 1, 2 for X, Y,
/// Z on each qubit where settings are drawn letter by letter.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, snapshots::{Address, draw_settings, sample, unpack}};
/// use efl_core::state::StateVector;
/// use num_complex::Complex64;
/// let zero = [Complex64::new(1.0, 0.0), Complex64::new(0.0, 0.0)];
/// let (uniform, cancel) = (Ensemble::uniform(1)?, Cancel::new());
/// let snaps = sample(&StateVector::new(&zero)?, &uniform, 100, 7, &cancel)?;
/// let addresses: Vec<Address> = (0..100).map(|index| Address { seed: 7, index }).collect();
/// let bases: Vec<u32> = unpack(&snaps, &cancel)?.1.into_iter().map(u32::from).collect();
/// assert_eq!(draw_settings(&uniform, &addresses, &cancel)?, bases);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn draw_settings(ensemble: &Ensemble, addresses: &[Address], cancel: &Cancel) -> Result<Vec<u32>> {
    let letters = letter_probabilities(ensemble);
    let columns = letters.as_ref().map_or(ensemble.block_list().len(), Vec::len);
    let mut settings = room("the settings", addresses.len(), columns)?;
    let drawer = letters.as_deref().map(letters::Drawer::new);
    let edges = lists::all_edges(ensemble.block_list());
    let parts = parallel::map(addresses.len().div_ceil(CHUNK), cancel, |chunk| {
        let own = &addresses[chunk * CHUNK..((chunk + 1) * CHUNK).min(addresses.len())];
        let mut part = Vec::with_capacity(own.len() * columns);
        for &Address { seed, index } in own {
            match &drawer {
                Some(drawer) => drawer.draw(seed, index, &mut part),
                None => part.extend(lists::drawn(&edges, seed, index)),
            }
        }
        Ok(part)
    })?;
    parts.iter().for_each(|part| settings.extend_from_slice(part));
    Ok(settings)
}

impl Snapshots {
    /// Packs `shots` snapshots whose settings are known by address: `bits` row-major with one byte per value, 0 or 1, in
    /// the order of the qubits.
    pub fn from_addresses(
        bits: &[u8],
        addresses: Vec<Address>,
        ensemble: Ensemble,
        cancel: &Cancel,
    ) -> Result<Self> {
        let shots = addresses.len();
        let planes = crate::snapshots::pack::pack_bits(bits, shots, ensemble.n_qubits(), cancel)?;
        Ok(Snapshots::from_planes(ensemble, shots, planes, Record::Addressed(addresses)))
    }

    /// The same snapshots with their settings at hand, drawn from their addresses if that is what they have.
    pub fn resolved(&self, cancel: &Cancel) -> Result<Cow<'_, Snapshots>> {
        let Some(addresses) = self.addresses() else { return Ok(Cow::Borrowed(self)) };
        let settings = draw_settings(&self.ensemble, addresses, cancel)?;
        let mut resolved = self.clone();
        match Record::none(&self.ensemble) {
            Record::Letters => {
                let bases: Vec<u8> = settings.into_iter().map(|letter| letter as u8).collect();
                let (bits, _) = crate::snapshots::unpack(self, cancel)?;
                let ensemble = self.ensemble.clone();
                resolved = Snapshots::from_arrays_watched(&bits, &bases, self.shots, ensemble, cancel)?;
                resolved.provenance = self.provenance.clone();
            }
            _ => resolved.record = Record::Indices { settings, allocated: false },
        }
        Ok(Cow::Owned(resolved))
    }
}
