//! Tallies as bytes: little-endian, versioned, exact length, CRC-32 at the end.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLTALLY` |
//! | 8 | format (u32), ensemble kind (u32: 0 uniform, 1 biased, 2 blocks, 3 an allocated list, 4 all bases,
//! | | 5 all bases, twirled) |
//! | 16 | qubits, words, buckets (u64 each) |
//! | 40 | the ensemble, see below |
//! | | x rows, z rows of the words; shots of the buckets; `[revealed, minus]` per bucket and word (u64 each) |
//! | end - 4 | CRC-32 of everything before |
//!
//! Biased letters are `qubits * 3` probabilities. Blocks (of which a list of settings is the case of one) are a number of
//! lists and each list: its qubits, its number of settings, their probabilities, the settings. A setting is a number of
//! gates, then a u64 for each (its place in [`Clifford::ALL`], and its wires from bits 8 and 36 on); or, of a product
//! setting, all ones, then the x row and the z row of its letters. Then a number of blocks and for each its list and its
//! qubits. All of this in u64 or f64.
//!
//! Letters are written as format 1, which older versions read; blocks as format 2, an allocated list as format 3, all bases
//! as format 4, twirled ones as format 5.
//!
//! The same tally always gives the same bytes. Nothing is trusted on the way in: every size is checked against its bounds and
//! against what is left before anything is allocated, settings have budgets of memory and of work, and counts must satisfy
//! `minus <= revealed <= shots`.

use super::Tally;
use crate::bits::parallel::Cancel;
use crate::bits::{check_qubits, limbs, room};
use crate::ensemble::{Block, Ensemble, MAX_BLOCK_QUBITS};
use crate::error::{Error, Result};
use crate::gates::Clifford;
use crate::gates::CliffordGate;
use crate::pauli::{PauliWord, Words};
use crate::stabiliser::Setting;
use rustc_hash::FxHashMap;

const MAGIC: &[u8; 8] = b"EFLTALLY";
/// Newest format written and read.
pub const FORMAT: u32 = 5;
const HEADER: usize = 40;
/// Bytes that the settings of a tally may take in memory: a few gates on very many qubits are few bytes here.
const SETTINGS_BUDGET: u64 = 1 << 30;
/// Bytes of a setting of gates beside its rows.
const SETTING: u64 = 512;
/// Gates of the settings of a tally times the words of 64 qubits that each moves: some seconds.
const GATES_BUDGET: u64 = 1 << 28;
/// Values between two looks at the flag that asks to stop.
const CHUNK: usize = 1 << 16;
/// In the place of a number of gates: letters follow.
const LETTERS: u64 = u64::MAX;
/// Bits of a wire.
const WIRE: u32 = 28;

impl Tally {
    /// The tally as bytes; see the module documentation for the layout.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.to_bytes_watched(&Cancel::new())
    }

    /// [`Tally::to_bytes`] for very large ones: it can be interrupted.
    pub fn to_bytes_watched(&self, cancel: &Cancel) -> Result<Vec<u8>> {
        let n = self.words.n_qubits();
        let (format, kind) = match self.ensemble.kind() {
            "uniform" => (1u32, 0u32),
            "biased" => (1, 1),
            "global_clifford" if self.ensemble.is_twirled() => (5, 5),
            "global_clifford" => (4, 4),
            _ if self.allocated => (3, 3),
            _ => (2, 2),
        };
        let mut values = 0;
        self.put(kind, &mut |_| {
            values += 1;
            Ok(())
        })?;
        let mut bytes = room("the bytes of a tally", 8 * values + HEADER, 1)?;
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        [n, self.words.len(), self.shots.len()]
            .into_iter()
            .for_each(|v| bytes.extend_from_slice(&(v as u64).to_le_bytes()));
        self.put(kind, &mut |value| {
            bytes.extend_from_slice(&value.to_le_bytes());
            if bytes.len().is_multiple_of(8 * CHUNK) { cancel.check() } else { Ok(()) }
        })?;
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// Hands over what follows the header, value after value.
    fn put(&self, kind: u32, put: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
        match kind {
            0 | 4 | 5 => {}
            1 => {
                let rows = (0..self.words.n_qubits()).filter_map(|q| self.ensemble.letter_probabilities(q));
                rows.flatten().try_for_each(|p| put(p.to_bits()))?;
            }
            _ => put_blocks(self.ensemble.block_list(), put)?,
        }
        self.words.x_rows().iter().chain(self.words.z_rows()).try_for_each(|&v| put(v))?;
        self.shots.iter().try_for_each(|&v| put(v))?;
        self.counts.iter().flatten().try_for_each(|&v| put(v))
    }

    /// Reads what [`Tally::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Tally::from_bytes_watched(bytes, &Cancel::new())
    }

    /// [`Tally::from_bytes`] for very large ones: it can be interrupted.
    pub fn from_bytes_watched(bytes: &[u8], cancel: &Cancel) -> Result<Self> {
        if bytes.len() < HEADER + 4 {
            return Err(damaged(format!("{} bytes are too few", bytes.len())));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged("it does not begin with the mark of a tally"));
        }
        let u32_at = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |v, &b| v << 8 | u32::from(b));
        if u32_at(8) > FORMAT {
            return Err(Error::NewerFormat { what: "tally".into(), found: u32_at(8), supported: FORMAT });
        }
        let body = bytes.len() - 4;
        if crc32fast::hash(&bytes[..body]) != u32_at(body) {
            return Err(damaged("the checksum does not match (truncated or altered)"));
        }
        let (format, kind) = (u32_at(8), u32_at(12));
        if !matches!((format, kind), (1, 0 | 1) | (2, 2) | (3, 3) | (4, 4) | (5, 5)) {
            return Err(damaged(format!("format {format} with ensemble {kind} does not exist")));
        }
        let (values, rest) = bytes[16..body].as_chunks::<8>();
        let mut values = Values(values);
        let [n, count, buckets] = [values.size()?, values.size()?, values.size()?];
        check_qubits(n).map_err(|e| damaged(e.to_string()))?;
        let wrong =
            || damaged(format!("{body} bytes do not hold {count} words of {n} qubits in {buckets} buckets"));
        let counted = || {
            let words = count.checked_mul(limbs(n))?.checked_mul(2)?;
            let counts = buckets.checked_mul(count)?.checked_mul(2)?;
            words.checked_add(buckets)?.checked_add(counts)
        };
        let counted = counted().ok_or_else(wrong)?;
        let letters = if kind == 1 { n.checked_mul(3).ok_or_else(wrong)? } else { 0 };
        let expected = counted.checked_add(letters).ok_or_else(wrong)?;
        let length = values.0.len();
        if buckets == 0
            || !rest.is_empty()
            || expected > length
            || (matches!(kind, 0 | 1 | 4 | 5) && expected < length)
        {
            return Err(wrong());
        }
        let ensemble = match kind {
            0 => Ensemble::uniform(n),
            4 => Ensemble::global_clifford(n),
            5 => Ensemble::twirled_clifford(n),
            1 => {
                let rows = values.floats(letters)?;
                Ensemble::biased(rows.as_chunks::<3>().0.to_vec())
            }
            _ => {
                let blocks = take_blocks(n, &mut values, cancel)?;
                match &blocks[..] {
                    [list] if list.is_register(n) => {
                        Ensemble::settings(list.settings().to_vec(), list.probabilities().to_vec())
                    }
                    _ => Ensemble::blocks(n, blocks),
                }
            }
        };
        let ensemble = ensemble.map_err(|e| damaged(e.to_string()))?;
        let allocated = kind == 3;
        if allocated && ensemble.single().is_none() {
            return Err(damaged(format!("a {} ensemble is not measured in fixed numbers", ensemble.kind())));
        }
        if values.0.len() != counted {
            return Err(wrong());
        }
        let (x, z) = (values.take(count * limbs(n))?, values.take(count * limbs(n))?);
        let words = Words::from_rows(n, x, z).map_err(|e| damaged(e.to_string()))?;
        let shots = values.take(buckets)?;
        let counts = values.pairs(buckets * count)?;
        if shots.iter().try_fold(0u64, |sum, &s| sum.checked_add(s)).is_none_or(|total| total >= 1 << 63) {
            return Err(damaged("it claims more than 2^63 snapshots"));
        }
        for (i, &[revealed, minus]) in counts.iter().enumerate() {
            if i.is_multiple_of(CHUNK) {
                cancel.check()?;
            }
            if minus > revealed || revealed > shots[i / count] {
                return Err(damaged(format!(
                    "word {} of bucket {} has {minus} minus of {revealed} revealed of {} shots",
                    i % count,
                    i / count,
                    shots[i / count]
                )));
            }
        }
        Ok(Tally { words, ensemble, allocated, shots, counts })
    }
}

fn damaged(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::corrupt("tally", reason)
}

fn put_blocks(blocks: &[Block], put: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
    // Blocks that have one list in common, as random ones have, write it once.
    let mut lists: Vec<&Block> = Vec::new();
    let mut numbers = FxHashMap::default();
    let mut list_of = Vec::with_capacity(blocks.len());
    for block in blocks {
        list_of.push(*numbers.entry(block.list_address()).or_insert_with(|| {
            lists.push(block);
            lists.len() - 1
        }));
    }
    put(lists.len() as u64)?;
    for list in lists {
        put(list.qubits().len() as u64)?;
        put(list.settings().len() as u64)?;
        list.probabilities().iter().try_for_each(|p| put(p.to_bits()))?;
        list.settings().iter().try_for_each(|setting| put_setting(setting, put))?;
    }
    put(blocks.len() as u64)?;
    for (block, list) in blocks.iter().zip(list_of) {
        put(list as u64)?;
        block.qubits().iter().try_for_each(|&q| put(q as u64))?;
    }
    Ok(())
}

fn put_setting(setting: &Setting, put: &mut impl FnMut(u64) -> Result<()>) -> Result<()> {
    if let Some(letters) = setting.letters() {
        put(LETTERS)?;
        return letters.x().iter().chain(letters.z()).try_for_each(|&v| put(v));
    }
    let gates = setting.gates();
    put(gates.len() as u64)?;
    gates.iter().try_for_each(|gate| put(gate_code(gate.clifford(), gate.wires())))
}

fn gate_code(clifford: Clifford, wires: &[usize]) -> u64 {
    wires.iter().zip(0..).fold(clifford as u64, |code, (&q, i)| code | (q as u64) << (8 + WIRE * i))
}

/// Numbers that are left to read.
struct Values<'a>(&'a [[u8; 8]]);

impl Values<'_> {
    fn split(&mut self, count: usize) -> Result<&[[u8; 8]]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err(damaged(format!("{} numbers are left where it has {count}", self.0.len())));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn take(&mut self, count: usize) -> Result<Vec<u64>> {
        let taken = self.split(count)?;
        let mut values = room("a tally", count, 1)?;
        values.extend(taken.iter().map(|&value| u64::from_le_bytes(value)));
        Ok(values)
    }

    fn pairs(&mut self, count: usize) -> Result<Vec<[u64; 2]>> {
        let taken = self.split(2 * count)?.as_chunks::<2>().0;
        let mut pairs = room("the counts of a tally", count, 1)?;
        pairs.extend(taken.iter().map(|pair| pair.map(u64::from_le_bytes)));
        Ok(pairs)
    }

    fn size(&mut self) -> Result<usize> {
        let value = self.take(1)?[0];
        usize::try_from(value).map_err(|_| damaged(format!("it has a size of {value}")))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f64>> {
        Ok(self.take(count)?.into_iter().map(f64::from_bits).collect())
    }
}

/// What settings may still take.
struct Budget {
    bytes: u64,
    gates: u64,
}

impl Budget {
    fn setting(&mut self, n_qubits: usize, gates: u64) -> Result<()> {
        let (n, row) = (n_qubits as u64, limbs(n_qubits) as u64);
        spend(&mut self.bytes, SETTINGS_BUDGET, SETTING + 48 * n * row, "bytes of the settings of a tally")?;
        let work = gates.saturating_mul(row);
        spend(&mut self.gates, GATES_BUDGET, work, "gates times 64 qubits of the settings of a tally")
    }
}

fn spend(left: &mut u64, limit: u64, needed: u64, what: &'static str) -> Result<()> {
    *left = left.checked_sub(needed).ok_or_else(|| Error::Limit {
        what: what.into(),
        needed: (limit - *left).saturating_add(needed),
        limit,
        remedy: "count with fewer settings, or narrower ones".into(),
    })?;
    Ok(())
}

fn take_blocks(n: usize, values: &mut Values<'_>, cancel: &Cancel) -> Result<Vec<Block>> {
    let (mut lists, mut left) = (Vec::new(), Budget { bytes: SETTINGS_BUDGET, gates: GATES_BUDGET });
    let n_lists = values.size()?;
    for _ in 0..n_lists {
        cancel.check()?;
        let (k, count) = (values.size()?, values.size()?);
        if k == 0 || k > n || (k > MAX_BLOCK_QUBITS && (k < n || n_lists > 1)) {
            return Err(damaged(format!("it has settings of {k} qubits for {n}, in one of {n_lists} lists")));
        }
        let probabilities = values.floats(count)?;
        let settings =
            (0..count).map(|_| take_setting(k, values, &mut left, cancel)).collect::<Result<_>>()?;
        let list = Block::new((0..k).collect(), settings, probabilities);
        lists.push(list.map_err(|e| damaged(e.to_string()))?);
    }
    let mut blocks = Vec::new();
    for _ in 0..values.size()? {
        let list = values.size()?;
        let list =
            lists.get(list).ok_or_else(|| damaged(format!("a block has list {list} of {}", lists.len())))?;
        let qubits = values.take(list.qubits().len())?.into_iter().map(|q| q as usize);
        blocks.push(list.moved(qubits).map_err(|e| damaged(e.to_string()))?);
    }
    Ok(blocks)
}

fn take_setting(k: usize, values: &mut Values<'_>, left: &mut Budget, cancel: &Cancel) -> Result<Setting> {
    cancel.check()?;
    let count = values.take(1)?[0];
    let setting = if count == LETTERS {
        let (x, z) = (values.take(limbs(k))?, values.take(limbs(k))?);
        PauliWord::from_bits(k, &x, &z).and_then(Setting::of_letters)
    } else {
        let gates = values.take(usize::try_from(count).unwrap_or(usize::MAX))?;
        left.setting(k, count)?;
        let gate = |&code: &u64| {
            let clifford = *Clifford::ALL
                .get((code & 0xFF) as usize)
                .ok_or_else(|| damaged(format!("gate {} does not exist", code & 0xFF)))?;
            let wire = |i: usize| (code >> (8 + WIRE * i as u32)) as usize & ((1 << WIRE) - 1);
            let wires: Vec<usize> = (0..clifford.n_wires()).map(wire).collect();
            if gate_code(clifford, &wires) != code {
                return Err(damaged(format!("gate {code:#x} has bits that mean nothing")));
            }
            CliffordGate::new(clifford, &wires)
        };
        let gates = gates.iter().map(gate).collect::<Result<Vec<_>>>();
        gates.and_then(|gates| Setting::from_gates_watched(k, gates, cancel))
    };
    setting.map_err(|e| match e {
        Error::Corrupt { .. } | Error::Limit { .. } | Error::Memory { .. } | Error::Interrupted => e,
        other => damaged(other.to_string()),
    })
}
