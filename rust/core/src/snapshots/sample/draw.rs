//! Settings from addresses: what [`sample`](super::sample) draws for snapshot `index` of a seed, without the rest.
//!
//! A replica that follows addresses needs no list of settings, and who knows the addresses can tell what was measured.
//!
//! Invariant: the same numbers as in the sampler, whatever the state. Cost: one block of random bits per snapshot and 16
//! qubits (letters) or block (lists).

use super::{letter_probabilities, letters, lists};
use crate::bits::parallel::{self, Cancel};
use crate::bits::{limbs, memory, room};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::gates::CliffordGate;
use crate::pauli::{Letter, PauliWord};
use crate::snapshots::{Address, Record, Snapshots};
use crate::stabiliser::{GraphBasis, Setting, Twirl};
use std::borrow::Cow;

/// Snapshots that one task draws settings for; a multiple of 64.
const CHUNK: usize = 1 << 14;
/// Snapshots that one task draws twirls for.
const TWIRLS: usize = 64;

/// The setting at an address, with its gates.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, snapshots::{Address, draw_setting}};
/// let setting = draw_setting(&Ensemble::global_clifford(50)?, Address { seed: 7, index: 3 }, &Cancel::new())?;
/// assert_eq!(setting.n_qubits(), 50);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn draw_setting(ensemble: &Ensemble, address: Address, cancel: &Cancel) -> Result<Setting> {
    let n = ensemble.n_qubits();
    if ensemble.is_global() {
        memory::check("the setting", (n * limbs(n) * 8) as u64)?;
        let mut basis = GraphBasis::new(n);
        super::cliffords::draw_basis(&mut basis, address);
        let mut gates = basis.gates();
        if ensemble.is_twirled() {
            gates.extend(super::cliffords::draw_twirl(n, address).gates());
        }
        return Setting::from_gates_watched(n, gates, cancel);
    }
    let drawn = draw_settings(ensemble, &[address], cancel)?;
    let blocks = ensemble.block_list();
    if blocks.is_empty() {
        let letters = drawn.iter().map(|&l| [Letter::X, Letter::Y, Letter::Z][l as usize]).enumerate();
        return Setting::of_letters(PauliWord::from_sparse(n, letters)?);
    }
    if let Some(list) = ensemble.single() {
        return Ok(list.settings()[drawn[0] as usize].clone());
    }
    let mut gates = Vec::new();
    for (block, f) in blocks.iter().zip(drawn) {
        for gate in block.settings()[f as usize].gates() {
            let wires: Vec<usize> = gate.wires().iter().map(|&j| block.qubits()[j]).collect();
            gates.push(CliffordGate::new(gate.clifford(), &wires)?);
        }
    }
    Setting::from_gates_watched(n, gates, cancel)
}

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
    if ensemble.is_global() {
        return Err(Error::invalid(
            "ensemble",
            "letters or lists (draw_setting draws one of all bases)",
            format!("a {} ensemble", ensemble.kind()),
        ));
    }
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

/// Bits, one byte each, after something that the twirl of each snapshot does to its row.
fn each_twirl(
    bits: &[u8],
    addresses: &[Address],
    n_qubits: usize,
    cancel: &Cancel,
    work: impl Fn(&Twirl, &mut [u8]) + Sync,
) -> Result<Vec<u8>> {
    let mut done = room("the bits", addresses.len(), n_qubits)?;
    let parts = parallel::map(addresses.len().div_ceil(TWIRLS), cancel, |chunk| {
        let range = chunk * TWIRLS..((chunk + 1) * TWIRLS).min(addresses.len());
        let mut part = bits[range.start * n_qubits..range.end * n_qubits].to_vec();
        for (row, &address) in part.chunks_exact_mut(n_qubits).zip(&addresses[range]) {
            cancel.check()?;
            work(&super::cliffords::draw_twirl(n_qubits, address), row);
        }
        Ok(part)
    })?;
    parts.iter().for_each(|part| done.extend_from_slice(part));
    Ok(done)
}

impl Snapshots {
    /// Bits of bases as they were read, twirls and all.
    pub(in crate::snapshots) fn twirled(&self, bits: &[u8], cancel: &Cancel) -> Result<Vec<u8>> {
        each_twirl(bits, self.addresses().unwrap_or(&[]), self.n_qubits, cancel, |twirl, row| {
            twirl.apply(row)
        })
    }

    /// Packs `shots` snapshots whose settings are known by address: `bits` row-major with one byte per value, 0 or 1, in
    /// the order of the qubits. Twirls are undone here: what is kept are the bits of the bases.
    pub fn from_addresses(
        bits: &[u8],
        addresses: Vec<Address>,
        ensemble: Ensemble,
        cancel: &Cancel,
    ) -> Result<Self> {
        let shots = addresses.len();
        let n = ensemble.n_qubits();
        let mut planes = crate::snapshots::pack::pack_bits(bits, shots, n, cancel)?;
        if ensemble.is_twirled() {
            let undone = each_twirl(bits, &addresses, n, cancel, |twirl, row| twirl.undo(row))?;
            planes = crate::snapshots::pack::pack_bits(&undone, shots, n, cancel)?;
        }
        Ok(Snapshots::from_planes(ensemble, shots, planes, Record::Addressed(addresses)))
    }

    /// The same snapshots with their settings at hand, drawn from their addresses if that is what they have. Bases of all
    /// qubits stay addresses.
    pub fn resolved(&self, cancel: &Cancel) -> Result<Cow<'_, Snapshots>> {
        let Some(addresses) = self.addresses() else { return Ok(Cow::Borrowed(self)) };
        if self.ensemble.is_global() {
            return Ok(Cow::Borrowed(self)); // drawn where they are read: as matrices they would be large
        }
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
