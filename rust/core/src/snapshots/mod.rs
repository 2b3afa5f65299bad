//! Measurement records, packed.
//!
//! A snapshot is a setting and an outcome bit per qubit. [`Snapshots`] keeps T of them as *planes*, bit rows over the
//! snapshots, 64 per limb: one plane of outcomes per qubit, and what a `Record` says of the settings. That is the layout
//! of the counting kernels. The other layout, *rows* (a snapshot is consecutive limbs), is for storage and transport;
//! [`Rows`] holds it and the conversion is a transposition.
//!
//! Settings may be *allocated*: how often each of a list is measured was fixed beforehand and not left to chance. Then
//! the numbers of shots are no random variables, and estimates do not count their scatter as an error.
//!
//! Invariant: every letter is X, Y or Z (never 00), every index is one of its block's settings, bits past the last
//! snapshot are zero, and only the settings of one list are allocated.
//! Cost: packing reads each input byte once (about 1 ns per qubit); slices copy 1 or 3 bits per qubit and snapshot,
//! and 4 bytes per block.

mod outcomes;
mod pack;
mod rows;
mod sample;

pub use outcomes::{Outcomes, measure, measure_experiment, measure_experiments};
pub use pack::unpack;
pub use rows::Rows;
pub(crate) use sample::draw_basis;
pub use sample::{draw_setting, draw_settings, sample, sample_counts, sample_stabiliser};

use crate::bits::parallel::Cancel;
use crate::bits::transpose::transpose_64;
use crate::bits::{limbs, room, tail_mask};
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

/// What the settings of snapshots are, beside the ensemble that they come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// A letter per qubit and snapshot: two planes each, x and z.
    Letters,
    /// The index of a setting for each snapshot and block, `settings[t * blocks + b]`.
    Indices {
        /// The indices.
        settings: Vec<u32>,
        /// Whether the numbers of shots were fixed beforehand.
        allocated: bool,
    },
    /// An address for each snapshot, from which its setting is drawn anew when it is needed.
    Addressed(Vec<Address>),
}

/// Where the setting of a snapshot is drawn from: it is that of snapshot `index` of [`sample`] with this seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The seed.
    pub seed: u64,
    /// The place in the sequence of that seed.
    pub index: u64,
}

impl Record {
    /// The record of an ensemble without snapshots.
    fn none(ensemble: &Ensemble) -> Self {
        match ensemble.letter_probabilities(0) {
            Some(_) => Record::Letters,
            None if ensemble.is_global() => Record::Addressed(Vec::new()),
            None => Record::Indices { settings: Vec::new(), allocated: false },
        }
    }

    /// Planes per qubit: of the outcomes, and of letters two more.
    fn planes(&self) -> usize {
        match self {
            Record::Letters => 3,
            Record::Indices { .. } | Record::Addressed(_) => 1,
        }
    }

    /// The record of snapshots at `order`, which has as many per snapshot as there are blocks.
    fn gather(&self, blocks: usize, order: impl ExactSizeIterator<Item = usize>) -> Result<Self> {
        Ok(match self {
            Record::Letters => Record::Letters,
            Record::Indices { settings, allocated } => {
                let mut gathered = room(WHAT, order.len(), blocks)?;
                order.for_each(|t| gathered.extend_from_slice(&settings[t * blocks..][..blocks]));
                Record::Indices { settings: gathered, allocated: *allocated }
            }
            Record::Addressed(addresses) => {
                let mut gathered = room(WHAT, order.len(), 1)?;
                gathered.extend(order.map(|t| addresses[t]));
                Record::Addressed(gathered)
            }
        })
    }

    /// What tells records apart that cannot be joined.
    fn form(&self) -> &'static str {
        match self {
            Record::Letters => "letters",
            Record::Indices { allocated: false, .. } => "drawn settings",
            Record::Indices { allocated: true, .. } => "allocated settings",
            Record::Addressed(_) => "addresses of settings",
        }
    }
}

/// T snapshots of n qubits with the ensemble that their settings come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshots {
    n_qubits: usize,
    shots: usize,
    /// Of letters `planes[(3 * q + k) * limbs(shots) ..]`, k = 0 for x, 1 for z, 2 for the outcome; else the outcomes
    /// alone, `planes[q * limbs(shots) ..]`.
    planes: Vec<u64>,
    record: Record,
    ensemble: Ensemble,
    provenance: Provenance,
}

impl Snapshots {
    fn from_planes(ensemble: Ensemble, shots: usize, planes: Vec<u64>, record: Record) -> Self {
        let n_qubits = ensemble.n_qubits();
        debug_assert_eq!(planes.len(), record.planes() * n_qubits * limbs(shots));
        debug_assert!(match &record {
            Record::Letters => ensemble.letter_probabilities(0).is_some(),
            Record::Indices { settings, allocated } =>
                settings.len() == ensemble.block_list().len() * shots
                    && (!allocated || ensemble.single().is_some()),
            Record::Addressed(addresses) => addresses.len() == shots,
        });
        debug_assert!(
            shots == 0
                || planes
                    .chunks_exact(limbs(shots))
                    .all(|p| p[p.len() - 1] & !tail_mask(shots, p.len() - 1) == 0)
        );
        Snapshots { n_qubits, shots, planes, record, ensemble, provenance: Provenance::default() }
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
        let stride = limbs(self.shots);
        &self.planes[p * stride..][..stride]
    }

    /// Number of planes.
    fn n_planes(&self) -> usize {
        self.record.planes() * self.n_qubits
    }

    /// The x and the z bits of the letters of qubit `q`, one per snapshot, if settings are drawn letter by letter.
    pub(crate) fn letter_planes(&self, q: usize) -> [&[u64]; 2] {
        debug_assert_eq!(self.record, Record::Letters);
        [self.plane(3 * q), self.plane(3 * q + 1)]
    }

    /// The outcomes of qubit `q`, one per snapshot.
    pub fn outcome_plane(&self, q: usize) -> &[u64] {
        let each = self.record.planes();
        self.plane(each * q + each - 1)
    }

    /// The outcomes of snapshots `64 * group ..`, at most 64, a row each.
    pub(crate) fn outcome_rows(&self, group: usize, rows: &mut [u64]) {
        let row = limbs(self.n_qubits);
        let mut block = [0; 64];
        for k in 0..row {
            let width = 64.min(self.n_qubits - 64 * k);
            block[width..].fill(0);
            (0..width).for_each(|j| block[j] = self.outcome_plane(64 * k + j)[group]);
            transpose_64(&mut block);
            rows.chunks_exact_mut(row).zip(block).for_each(|(to, from)| to[k] = from);
        }
    }

    /// The index of the setting for each snapshot and block, a snapshot's in a row: `settings[t * blocks + b]`. Empty
    /// for letters, and for addresses as long as they are not [`resolved`](Snapshots::resolved).
    pub fn settings(&self) -> &[u32] {
        match &self.record {
            Record::Indices { settings, .. } => settings,
            Record::Letters | Record::Addressed(_) => &[],
        }
    }

    /// The addresses that settings are drawn from, if that is how they are kept.
    pub fn addresses(&self) -> Option<&[Address]> {
        match &self.record {
            Record::Addressed(addresses) => Some(addresses),
            _ => None,
        }
    }

    /// Whether how often each setting of the list is measured was fixed beforehand.
    pub fn is_allocated(&self) -> bool {
        matches!(self.record, Record::Indices { allocated: true, .. })
    }

    /// The same snapshots of a list, said to have settings whose numbers of shots were fixed beforehand, or drawn.
    pub fn with_allocated(mut self, allocated: bool) -> Result<Self> {
        let single = self.ensemble.single().is_some();
        match &mut self.record {
            Record::Indices { allocated: held, .. } if single => *held = allocated,
            _ if !allocated => {}
            _ => {
                return Err(Error::invalid(
                    "allocated",
                    "False, because only a list of settings is measured in fixed numbers",
                    format!("True for a {} ensemble", self.ensemble.kind()),
                ));
            }
        }
        Ok(self)
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        let p = &self.provenance;
        let settings = match &self.record {
            Record::Letters => 0,
            Record::Indices { settings, .. } => settings.len() * 4,
            Record::Addressed(addresses) => addresses.len() * size_of::<Address>(),
        };
        self.planes.len() * 8
            + settings
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
        let mut planes = room(WHAT, self.n_planes(), limbs(shots))?;
        for p in 0..self.n_planes() {
            let held = planes.len() * 64;
            append_bits(&mut planes, held, self.plane(p), start, shots);
        }
        let record = self.record.gather(self.ensemble.block_list().len(), start..end)?;
        let mut part = Snapshots::from_planes(self.ensemble.clone(), shots, planes, record);
        part.provenance = self.provenance.gather(start..end);
        Ok(part)
    }

    /// The snapshots at `order`, in that order, with repetitions if it has any.
    pub fn take(&self, order: &[usize], cancel: &Cancel) -> Result<Self> {
        if let Some(&bad) = order.iter().find(|&&t| t >= self.shots) {
            return Err(Error::invalid("order", format!("indices below {}", self.shots), bad.to_string()));
        }
        let mut planes = room(WHAT, self.n_planes(), limbs(order.len()))?;
        for p in 0..self.n_planes() {
            cancel.check()?;
            planes.extend(gather_plane(self.plane(p), order));
        }
        let record = self.record.gather(self.ensemble.block_list().len(), order.iter().copied())?;
        let mut part = Snapshots::from_planes(self.ensemble.clone(), order.len(), planes, record);
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
            if part.record.form() != first.record.form() {
                return Err(Error::invalid(
                    format!("parts[{i}]"),
                    format!("{}, as the first part has", first.record.form()),
                    part.record.form(),
                ));
            }
        }
        let provenance = Provenance::concat(parts.iter().map(|p| &p.provenance))?;
        let shots = parts.iter().map(|p| p.shots).sum();
        let mut planes = room(WHAT, first.n_planes(), limbs(shots))?;
        for p in 0..first.n_planes() {
            let mut held = planes.len() * 64;
            for part in parts {
                append_bits(&mut planes, held, part.plane(p), 0, part.shots);
                held += part.shots;
            }
        }
        let record = match &first.record {
            Record::Letters => Record::Letters,
            Record::Indices { allocated, .. } => {
                let mut settings = room(WHAT, shots, first.ensemble.block_list().len())?;
                parts.iter().for_each(|part| settings.extend_from_slice(part.settings()));
                Record::Indices { settings, allocated: *allocated }
            }
            Record::Addressed(_) => {
                let mut addresses = room(WHAT, shots, 1)?;
                parts.iter().for_each(|part| addresses.extend_from_slice(part.addresses().unwrap_or(&[])));
                Record::Addressed(addresses)
            }
        };
        let mut whole = Snapshots::from_planes(first.ensemble.clone(), shots, planes, record);
        whole.provenance = provenance;
        Ok(whole)
    }
}

/// The bits of `plane` at `order`, in that order.
pub(crate) fn gather_plane(plane: &[u64], order: &[usize]) -> impl Iterator<Item = u64> {
    order.chunks(64).map(|chunk| {
        chunk.iter().enumerate().fold(0, |limb, (i, &t)| limb | ((plane[t / 64] >> (t % 64)) & 1) << i)
    })
}

/// Puts bits `start .. start + count` of `source` behind the first `held` bits of `target`, which grows as needed.
fn append_bits(target: &mut Vec<u64>, held: usize, source: &[u64], start: usize, count: usize) {
    if count == 0 {
        return;
    }
    let total = limbs(held + count);
    target.resize(total, 0);
    let (limb, bit) = (start / 64, start % 64);
    for i in 0..limbs(count) {
        let low = source[limb + i] >> bit;
        let high = if bit > 0 { source.get(limb + i + 1).map_or(0, |w| w << (64 - bit)) } else { 0 };
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
