//! Tallies as bytes: little-endian, versioned, exact length, CRC-32 at the end.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLTALLY` |
//! | 8 | format (u32), ensemble kind (u32: 0 uniform, 1 biased, 2 blocks, 3 an allocated list) |
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
//! Letters are written as format 1, which older versions read; blocks as format 2, an allocated list as format 3.
//!
//! The same tally always gives the same bytes. Nothing is trusted on the way in: every length is checked against what is left
//! before anything is allocated, settings have a budget, and counts must satisfy `minus <= revealed <= shots`.

use super::Tally;
use crate::bits::words_for;
use crate::ensemble::{Block, Ensemble};
use crate::error::{Error, Result};
use crate::gates::Clifford;
use crate::gates::CliffordGate;
use crate::pauli::{PauliWord, Words};
use crate::stabiliser::Setting;

const MAGIC: &[u8; 8] = b"EFLTALLY";
/// Newest format written and read.
pub const FORMAT: u32 = 3;
const HEADER: usize = 40;
/// Bytes that the settings of a tally may take in memory: a few gates on very many qubits are few bytes here.
const SETTINGS_BUDGET: u64 = 1 << 30;
/// In the place of a number of gates: letters follow.
const LETTERS: u64 = u64::MAX;
/// Bits of a wire.
const WIRE: u32 = 28;

impl Tally {
    /// The tally as bytes; see the module documentation for the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let n = self.words.n_qubits();
        let (format, kind) = match self.ensemble.kind() {
            "uniform" => (1u32, 0u32),
            "biased" => (1, 1),
            _ if self.allocated => (3, 3),
            _ => (2, 2),
        };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        let mut put = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
        [n, self.words.len(), self.shots.len()].into_iter().for_each(|v| put(v as u64));
        match kind {
            0 => {}
            1 => (0..n)
                .filter_map(|q| self.ensemble.letter_probabilities(q))
                .flatten()
                .for_each(|p| put(p.to_bits())),
            _ => put_blocks(self.ensemble.block_list(), &mut put),
        }
        self.words.x_rows().iter().chain(self.words.z_rows()).for_each(|&v| put(v));
        self.shots.iter().for_each(|&v| put(v));
        self.counts.iter().flatten().for_each(|&v| put(v));
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Tally::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
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
        if !matches!((format, kind), (1, 0 | 1) | (2, 2) | (3, 3)) {
            return Err(damaged(format!("format {format} with ensemble {kind} does not exist")));
        }
        let (values, rest) = bytes[16..body].as_chunks::<8>();
        let mut values = Values(values);
        let [n, count, buckets] = [values.size()?, values.size()?, values.size()?];
        let wrong =
            || damaged(format!("{body} bytes do not hold {count} words of {n} qubits in {buckets} buckets"));
        let counted = || {
            let words = count.checked_mul(words_for(n))?.checked_mul(2)?;
            let counts = buckets.checked_mul(count)?.checked_mul(2)?;
            words.checked_add(buckets)?.checked_add(counts)
        };
        let counted = counted().ok_or_else(wrong)?;
        let letters = if kind == 1 { n.checked_mul(3).ok_or_else(wrong)? } else { 0 };
        let expected = counted.checked_add(letters).ok_or_else(wrong)?;
        let length = values.0.len();
        if n == 0 || buckets == 0 || !rest.is_empty() || expected > length || (kind < 2 && expected < length)
        {
            return Err(wrong());
        }
        let ensemble = match kind {
            0 => Ensemble::uniform(n),
            1 => {
                let rows = values.floats(letters)?;
                Ensemble::biased(rows.as_chunks::<3>().0.to_vec())
            }
            _ => {
                let blocks = take_blocks(n, &mut values)?;
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
        let (x, z) = (values.take(count * words_for(n))?, values.take(count * words_for(n))?);
        let words = Words::from_rows(n, x, z).map_err(|e| damaged(e.to_string()))?;
        let shots = values.take(buckets)?;
        let counts: Vec<[u64; 2]> = values.take(2 * buckets * count)?.as_chunks::<2>().0.to_vec();
        if shots.iter().try_fold(0u64, |sum, &s| sum.checked_add(s)).is_none_or(|total| total >= 1 << 63) {
            return Err(damaged("it claims more than 2^63 snapshots"));
        }
        for (i, &[revealed, minus]) in counts.iter().enumerate() {
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

fn put_blocks(blocks: &[Block], put: &mut impl FnMut(u64)) {
    // Blocks that have one list in common, as random ones have, write it once.
    let mut lists: Vec<&Block> = Vec::new();
    let mut list_of = Vec::new();
    for block in blocks {
        let known = lists.iter().position(|list| list.shares_list(block));
        list_of.push(known.unwrap_or(lists.len()));
        if known.is_none() {
            lists.push(block);
        }
    }
    put(lists.len() as u64);
    for list in lists {
        put(list.qubits().len() as u64);
        put(list.settings().len() as u64);
        list.probabilities().iter().for_each(|p| put(p.to_bits()));
        list.settings().iter().for_each(|setting| put_setting(setting, put));
    }
    put(blocks.len() as u64);
    for (block, list) in blocks.iter().zip(list_of) {
        put(list as u64);
        block.qubits().iter().for_each(|&q| put(q as u64));
    }
}

fn put_setting(setting: &Setting, put: &mut impl FnMut(u64)) {
    if let Some(letters) = setting.letters() {
        put(LETTERS);
        letters.x().iter().chain(letters.z()).for_each(|&v| put(v));
        return;
    }
    let gates = setting.gates();
    put(gates.len() as u64);
    gates.iter().for_each(|gate| put(gate_code(gate.clifford(), gate.wires())));
}

fn gate_code(clifford: Clifford, wires: &[usize]) -> u64 {
    wires.iter().zip(0..).fold(clifford as u64, |code, (&q, i)| code | (q as u64) << (8 + WIRE * i))
}

/// Numbers that are left to read.
struct Values<'a>(&'a [[u8; 8]]);

impl Values<'_> {
    fn take(&mut self, count: usize) -> Result<Vec<u64>> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err(damaged(format!("{} numbers are left where it has {count}", self.0.len())));
        };
        self.0 = rest;
        Ok(taken.iter().map(|&value| u64::from_le_bytes(value)).collect())
    }

    fn size(&mut self) -> Result<usize> {
        let value = self.take(1)?[0];
        usize::try_from(value).map_err(|_| damaged(format!("it has a size of {value}")))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f64>> {
        Ok(self.take(count)?.into_iter().map(f64::from_bits).collect())
    }
}

fn take_blocks(n: usize, values: &mut Values<'_>) -> Result<Vec<Block>> {
    let (mut lists, mut left) = (Vec::new(), SETTINGS_BUDGET);
    for _ in 0..values.size()? {
        let (k, count) = (values.size()?, values.size()?);
        if k == 0 || k > n {
            return Err(damaged(format!("it has settings of {k} qubits for {n}")));
        }
        let probabilities = values.floats(count)?;
        let settings = (0..count).map(|_| take_setting(k, values, &mut left)).collect::<Result<_>>()?;
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

/// `left` is how many bytes settings may still take.
fn take_setting(k: usize, values: &mut Values<'_>, left: &mut u64) -> Result<Setting> {
    let count = values.take(1)?[0];
    let setting = if count == LETTERS {
        let (x, z) = (values.take(words_for(k))?, values.take(words_for(k))?);
        PauliWord::from_bits(k, &x, &z).and_then(Setting::of_letters)
    } else {
        let needed = 48 * (k as u64).saturating_mul(words_for(k) as u64); // six rows for each qubit
        *left = left.checked_sub(needed).ok_or_else(|| Error::Limit {
            what: "bytes of the settings of a tally".into(),
            needed: SETTINGS_BUDGET - *left + needed,
            limit: SETTINGS_BUDGET,
            remedy: "count with fewer settings, or narrower ones".into(),
        })?;
        let gates = values.take(usize::try_from(count).unwrap_or(usize::MAX))?;
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
        gates.iter().map(gate).collect::<Result<Vec<_>>>().and_then(|gates| Setting::from_gates(k, gates))
    };
    setting.map_err(|e| match e {
        Error::Corrupt { .. } | Error::Limit { .. } => e,
        other => damaged(other.to_string()),
    })
}
