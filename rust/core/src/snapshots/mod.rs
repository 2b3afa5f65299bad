//! Measurement records, packed.
//!
//! A snapshot is a setting and an outcome bit per qubit. [`Snapshots`] keeps T of them as *planes*, bit rows over the
//! snapshots, 64 per word. Where settings are drawn letter by letter (X, Y or Z on every qubit) there are three planes
//! per qubit: x and z of the letter, and the outcome. Where they are drawn from lists there is the outcome, and for
//! each snapshot and block the index of the setting. That is the layout of the counting kernels. The other layout,
//! *rows* (a snapshot is consecutive words), is for storage and transport; [`Rows`] holds it and the conversion is a
//! transposition.
//!
//! Invariant: every letter is X, Y or Z (never 00), every index is one of its block's settings, and bits past the last
//! snapshot are zero.
//! Cost: packing reads each input byte once (about 1 ns per qubit); slices copy 1 or 3 bits per qubit and snapshot,
//! and 4 bytes per block.

mod outcomes;
mod pack;
mod rows;
mod sample;

pub use outcomes::{Outcomes, measure, measure_experiment};
pub use pack::unpack;
pub use rows::Rows;
pub use sample::{sample, sample_counts};

use crate::bits::parallel::Cancel;
use crate::bits::{room, tail_mask, words_for};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};

/// What their memory is called.
const WHAT: &str = "the snapshots";

/// Where each snapshot came from; every column is optional and has one entry per snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the parameters that the state was prepared with.
    pub version: Option<Vec<u32>>,
    /// Replica that measured.
    pub replica: Option<Vec<u64>>,
    /// Position in that replica's own sequence.
    pub sequence: Option<Vec<u64>>,
}

impl Provenance {
    fn check(&self, shots: usize) -> Result<()> {
        let columns = [
            ("version", self.version.as_ref().map(Vec::len)),
            ("replica", self.replica.as_ref().map(Vec::len)),
            ("sequence", self.sequence.as_ref().map(Vec::len)),
        ];
        for (name, length) in columns {
            if let Some(length) = length
                && length != shots
            {
                return Err(Error::shape(
                    name,
                    format!("one entry per snapshot, {shots}"),
                    length.to_string(),
                ));
            }
        }
        Ok(())
    }

    fn gather(&self, order: impl Iterator<Item = usize> + Clone) -> Self {
        fn pick<T: Copy>(column: &Option<Vec<T>>, order: impl Iterator<Item = usize>) -> Option<Vec<T>> {
            column.as_ref().map(|c| order.map(|t| c[t]).collect())
        }
        Provenance {
            version: pick(&self.version, order.clone()),
            replica: pick(&self.replica, order.clone()),
            sequence: pick(&self.sequence, order),
        }
    }

    fn concat<'a>(parts: impl Iterator<Item = &'a Provenance> + Clone) -> Result<Self> {
        fn join<'a, T: Copy + 'a>(
            name: &'static str,
            columns: impl Iterator<Item = Option<&'a Vec<T>>> + Clone,
        ) -> Result<Option<Vec<T>>> {
            let present = columns.clone().filter(Option::is_some).count();
            if present == 0 {
                return Ok(None);
            }
            let total = columns.clone().count();
            if present < total {
                return Err(Error::invalid(
                    name,
                    "a column that all parts have, or none",
                    format!("one that {present} of {total} parts have"),
                ));
            }
            Ok(Some(columns.flatten().flatten().copied().collect()))
        }
        Ok(Provenance {
            version: join("version", parts.clone().map(|p| p.version.as_ref()))?,
            replica: join("replica", parts.clone().map(|p| p.replica.as_ref()))?,
            sequence: join("sequence", parts.map(|p| p.sequence.as_ref()))?,
        })
    }
}

/// T snapshots of n qubits with the ensemble that their settings were drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshots {
    n_qubits: usize,
    shots: usize,
    /// Of letters `planes[(3 * q + k) * words_for(shots) ..]`, k = 0 for x, 1 for z, 2 for the outcome; of lists the
    /// outcomes alone, `planes[q * words_for(shots) ..]`.
    planes: Vec<u64>,
    /// Of lists, the index of the setting for each snapshot and block: `settings[t * blocks + b]`.
    settings: Vec<u32>,
    ensemble: Ensemble,
    provenance: Provenance,
}

impl Snapshots {
    fn from_planes(ensemble: Ensemble, shots: usize, planes: Vec<u64>, settings: Vec<u32>) -> Self {
        let n_qubits = ensemble.n_qubits();
        debug_assert_eq!(planes.len(), planes_per_qubit(&ensemble) * n_qubits * words_for(shots));
        debug_assert_eq!(settings.len(), ensemble.block_list().len() * shots);
        debug_assert!(
            shots == 0
                || planes
                    .chunks_exact(words_for(shots))
                    .all(|p| p[p.len() - 1] & !tail_mask(shots, p.len() - 1) == 0)
        );
        Snapshots { n_qubits, shots, planes, settings, ensemble, provenance: Provenance::default() }
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Number of snapshots.
    pub fn len(&self) -> usize {
        self.shots
    }

    /// True when there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.shots == 0
    }

    /// The ensemble that the settings were drawn from.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// Where the snapshots came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The same snapshots with other provenance columns.
    pub fn with_provenance(mut self, provenance: Provenance) -> Result<Self> {
        provenance.check(self.shots)?;
        self.provenance = provenance;
        Ok(self)
    }

    /// The same snapshots, said to be drawn from another ensemble: one that draws the same settings with other
    /// probabilities, since otherwise the bits would mean something else.
    pub fn with_ensemble(mut self, ensemble: Ensemble) -> Result<Self> {
        if ensemble.n_qubits() != self.n_qubits {
            return Err(Error::shape(
                "ensemble",
                format!("{} qubits, as the snapshots have", self.n_qubits),
                format!("{} qubits", ensemble.n_qubits()),
            ));
        }
        if !ensemble.same_settings(&self.ensemble) {
            return Err(Error::invalid(
                "ensemble",
                format!("the settings that were measured (those of a {} ensemble)", self.ensemble.kind()),
                format!("a {} ensemble of other settings", ensemble.kind()),
            ));
        }
        self.ensemble = ensemble;
        Ok(self)
    }

    fn plane(&self, p: usize) -> &[u64] {
        let stride = words_for(self.shots);
        &self.planes[p * stride..][..stride]
    }

    /// Number of planes.
    fn n_planes(&self) -> usize {
        planes_per_qubit(&self.ensemble) * self.n_qubits
    }

    /// The x and the z bits of the letters of qubit `q`, one per snapshot, if settings are drawn letter by letter.
    pub(crate) fn letter_planes(&self, q: usize) -> [&[u64]; 2] {
        debug_assert!(self.ensemble.block_list().is_empty());
        [self.plane(3 * q), self.plane(3 * q + 1)]
    }

    /// The outcomes of qubit `q`, one per snapshot.
    pub fn outcome_plane(&self, q: usize) -> &[u64] {
        let each = planes_per_qubit(&self.ensemble);
        self.plane(each * q + each - 1)
    }

    /// The index of the setting for each snapshot and block, a snapshot's in a row: `settings[t * blocks + b]`. Empty
    /// if settings are drawn letter by letter.
    pub fn settings(&self) -> &[u32] {
        &self.settings
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        let p = &self.provenance;
        self.planes.len() * 8
            + self.settings.len() * 4
            + p.version.as_ref().map_or(0, |c| c.len() * 4)
            + p.replica.as_ref().map_or(0, |c| c.len() * 8)
            + p.sequence.as_ref().map_or(0, |c| c.len() * 8)
    }

    /// Snapshots `start .. end`.
    pub fn slice(&self, start: usize, end: usize) -> Result<Self> {
        if start > end || end > self.shots {
            return Err(Error::invalid(
                "slice",
                format!("0 <= start <= end <= {}", self.shots),
                format!("{start}..{end}"),
            ));
        }
        let shots = end - start;
        let mut planes = room(WHAT, self.n_planes(), words_for(shots))?;
        for p in 0..self.n_planes() {
            let held = planes.len() * 64;
            append_bits(&mut planes, held, self.plane(p), start, shots);
        }
        let blocks = self.ensemble.block_list().len();
        let mut settings = room(WHAT, shots, blocks)?;
        settings.extend_from_slice(&self.settings[start * blocks..end * blocks]);
        let mut part = Snapshots::from_planes(self.ensemble.clone(), shots, planes, settings);
        part.provenance = self.provenance.gather(start..end);
        Ok(part)
    }

    /// The snapshots at `order`, in that order, with repetitions if it has any.
    pub fn take(&self, order: &[usize], cancel: &Cancel) -> Result<Self> {
        if let Some(&bad) = order.iter().find(|&&t| t >= self.shots) {
            return Err(Error::invalid("order", format!("indices below {}", self.shots), bad.to_string()));
        }
        let mut planes = room(WHAT, self.n_planes(), words_for(order.len()))?;
        for p in 0..self.n_planes() {
            cancel.check()?;
            planes.extend(gather_plane(self.plane(p), order));
        }
        let blocks = self.ensemble.block_list().len();
        let mut settings = room(WHAT, order.len(), blocks)?;
        order.iter().for_each(|&t| settings.extend_from_slice(&self.settings[t * blocks..][..blocks]));
        let mut part = Snapshots::from_planes(self.ensemble.clone(), order.len(), planes, settings);
        part.provenance = self.provenance.gather(order.iter().copied());
        Ok(part)
    }

    /// All snapshots of `parts` in order. They must agree in width, ensemble and provenance columns.
    pub fn concat(parts: &[&Snapshots]) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::invalid("parts", "at least one", "none"));
        };
        for (i, part) in parts.iter().enumerate() {
            if part.n_qubits != first.n_qubits {
                return Err(Error::shape(
                    format!("parts[{i}]"),
                    format!("{} qubits, as the first part", first.n_qubits),
                    format!("{} qubits", part.n_qubits),
                ));
            }
            if part.ensemble != first.ensemble {
                return Err(Error::invalid(
                    format!("parts[{i}]"),
                    "the ensemble of the first part (estimate each part on its own otherwise)",
                    format!("another {} ensemble", part.ensemble.kind()),
                ));
            }
        }
        let provenance = Provenance::concat(parts.iter().map(|p| &p.provenance))?;
        let shots = parts.iter().map(|p| p.shots).sum();
        let mut planes = room(WHAT, first.n_planes(), words_for(shots))?;
        for p in 0..first.n_planes() {
            let mut held = planes.len() * 64;
            for part in parts {
                append_bits(&mut planes, held, part.plane(p), 0, part.shots);
                held += part.shots;
            }
        }
        let mut settings = room(WHAT, shots, first.ensemble.block_list().len())?;
        parts.iter().for_each(|part| settings.extend_from_slice(&part.settings));
        let mut whole = Snapshots::from_planes(first.ensemble.clone(), shots, planes, settings);
        whole.provenance = provenance;
        Ok(whole)
    }
}

fn planes_per_qubit(ensemble: &Ensemble) -> usize {
    if ensemble.block_list().is_empty() { 3 } else { 1 }
}

/// The bits of `plane` at `order`, in that order.
pub(crate) fn gather_plane(plane: &[u64], order: &[usize]) -> impl Iterator<Item = u64> {
    order.chunks(64).map(|chunk| {
        chunk.iter().enumerate().fold(0, |word, (i, &t)| word | ((plane[t / 64] >> (t % 64)) & 1) << i)
    })
}

/// Puts bits `start .. start + count` of `source` behind the first `held` bits of `target`, which grows as needed.
fn append_bits(target: &mut Vec<u64>, held: usize, source: &[u64], start: usize, count: usize) {
    if count == 0 {
        return;
    }
    let total = words_for(held + count);
    target.resize(total, 0);
    let (word, bit) = (start / 64, start % 64);
    for i in 0..words_for(count) {
        let low = source[word + i] >> bit;
        let high = if bit > 0 { source.get(word + i + 1).map_or(0, |w| w << (64 - bit)) } else { 0 };
        let value = (low | high) & tail_mask(count, i);
        let (at, offset) = ((held + 64 * i) / 64, held % 64);
        target[at] |= value << offset;
        if offset > 0 && at + 1 < total {
            target[at + 1] |= value >> (64 - offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(shots: usize, n: usize) -> (Vec<u8>, Vec<u8>, Snapshots) {
        let mut state = 12345u64 + shots as u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % below) as u8
        };
        let bits: Vec<u8> = (0..shots * n).map(|_| draw(2)).collect();
        let bases: Vec<u8> = (0..shots * n).map(|_| draw(3)).collect();
        let snaps = Snapshots::from_arrays(&bits, &bases, shots, Ensemble::uniform(n).unwrap()).unwrap();
        (bits, bases, snaps)
    }

    #[test]
    fn slices_take_and_concat_agree_with_arrays() {
        for (shots, n) in [(1, 1), (64, 3), (200, 10), (517, 70)] {
            let (bits, bases, snaps) = example(shots, n);
            let cancel = Cancel::new();
            assert_eq!(unpack(&snaps, &cancel).unwrap(), (bits.clone(), bases.clone()));
            for (a, b) in [(0, shots), (0, 0), (shots / 3, shots), (shots / 2, shots / 2 + shots / 3)] {
                let part = snaps.slice(a, b).unwrap();
                let expected = (bits[a * n..b * n].to_vec(), bases[a * n..b * n].to_vec());
                assert_eq!(unpack(&part, &cancel).unwrap(), expected);
                assert_eq!(part, snaps.take(&(a..b).collect::<Vec<_>>(), &cancel).unwrap());
                let whole =
                    Snapshots::concat(&[&snaps.slice(0, a).unwrap(), &part, &snaps.slice(b, shots).unwrap()]);
                assert_eq!(whole.unwrap(), snaps);
            }
        }
    }

    #[test]
    fn provenance_travels_and_is_checked() {
        let (_, _, snaps) = example(100, 2);
        let provenance = Provenance {
            version: Some((0..100).collect()),
            replica: None,
            sequence: Some((500..600).collect()),
        };
        let snaps = snaps.with_provenance(provenance.clone()).unwrap();
        let part = snaps.slice(10, 13).unwrap();
        assert_eq!(part.provenance().version, Some(vec![10, 11, 12]));
        assert_eq!(part.provenance().sequence, Some(vec![510, 511, 512]));
        let again =
            Snapshots::concat(&[&snaps.slice(0, 37).unwrap(), &snaps.slice(37, 100).unwrap()]).unwrap();
        assert_eq!(again, snaps);
        assert!(part.clone().with_provenance(provenance).is_err());
        let bare = part.clone().with_provenance(Provenance::default()).unwrap();
        assert!(Snapshots::concat(&[&part, &bare]).is_err());
    }
}
