//! Ensembles: how measurement settings are drawn, and how often a word is revealed.
//!
//! | kind | settings | probability of revealing a word |
//! |---|---|---|
//! | uniform | a letter per qubit, X, Y or Z alike | `3^-weight` |
//! | biased | a letter per qubit, with probabilities | product over the support |
//! | settings | one of a list, product or Clifford | sum over the settings that reveal it |
//! | blocks | for each of several blocks of qubits, one of a list | product over the blocks |
//! | global Clifford | one of all stabiliser bases of all qubits, all alike; its readout twirled or not | `1 / (2^n + 1)` |
//!
//! A list is the case of one block with all qubits. Blocks are drawn independently, so every probability is a product
//! over blocks, and [`Ensemble::random_blocks`] (all stabiliser bases of each block) is a list like any other.
//!
//! Invariant: blocks partition the qubits; see [`Block`] for the rest.
//! Cost: O(weight) per word for letters, a look-up per block for blocks, O(settings) for a list of wide settings.

mod bases;
mod block;
mod predict;
mod response;

pub(crate) use bases::all_bases;
pub(crate) use block::LocalParity;
pub use block::{Block, MAX_BLOCK_QUBITS};
pub use predict::MAX_EXACT_QUBITS;
pub use response::Response;

use crate::bits::check_qubits;
use crate::bits::philox::{philox, unit_interval};
use crate::error::{Error, Result};
use crate::pauli::{Letter, WordRef};
use crate::stabiliser::Setting;
use std::sync::Arc;

/// How far probabilities may sum from one before they are refused.
const SUM_TOLERANCE: f64 = 1e-9;
/// Stream of the key, so that an allocation shares no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"allocate");

/// A distribution over measurement settings.
///
/// ```
/// use efl_core::ensemble::Ensemble;
/// use efl_core::stabiliser::Setting;
/// use efl_core::pauli::PauliWord;
/// let uniform = Ensemble::uniform(3)?;
/// let word = PauliWord::from_label("XIZ")?;
/// assert_eq!(uniform.reveal_probability(word.view())?, 1.0 / 9.0);
/// let list = Ensemble::settings(vec![Setting::product("XYZ")?, Setting::product("ZZZ")?], vec![0.75, 0.25])?;
/// assert_eq!(list.reveal_probability(word.view())?, 0.75);
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    n_qubits: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Uniform,
    Biased(Arc<[[f64; 3]]>),
    Blocks(Arc<[Block]>),
    GlobalClifford {
        /// Whether what is read is mixed before the readout, see [`crate::stabiliser`].
        twirled: bool,
    },
}

impl Ensemble {
    /// X, Y and Z with probability 1/3 each on every qubit.
    pub fn uniform(n_qubits: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        Ok(Ensemble { n_qubits, kind: Kind::Uniform })
    }

    /// The probabilities of X, Y and Z for each qubit.
    pub fn biased(probabilities: Vec<[f64; 3]>) -> Result<Self> {
        check_qubits(probabilities.len())?;
        for (q, row) in probabilities.iter().enumerate() {
            let place = format!("probabilities[{q}]");
            check_probabilities(|_| place.clone(), &place, row)?;
        }
        Ok(Ensemble { n_qubits: probabilities.len(), kind: Kind::Biased(probabilities.into()) })
    }

    /// One of a list of settings of all qubits, setting `f` with probability `probabilities[f]`.
    pub fn settings(settings: Vec<Setting>, probabilities: Vec<f64>) -> Result<Self> {
        let n_qubits = settings.first().map_or(1, Setting::n_qubits);
        let block = Block::new((0..n_qubits).collect(), settings, probabilities)?;
        Ok(Ensemble { n_qubits, kind: Kind::Blocks([block].into()) })
    }

    /// A setting for each block, drawn independently. The blocks have 1 to 4 qubits and partition the register.
    pub fn blocks(n_qubits: usize, blocks: Vec<Block>) -> Result<Self> {
        check_qubits(n_qubits)?;
        let mut owner = vec![None; n_qubits];
        for (b, block) in blocks.iter().enumerate() {
            if block.qubits().is_empty() || !block.is_narrow() {
                return Err(Error::invalid(
                    format!("blocks[{b}]"),
                    format!(
                        "1 to {MAX_BLOCK_QUBITS} qubits (a list of settings of all qubits may have more)"
                    ),
                    format!("{} qubits", block.qubits().len()),
                ));
            }
            for &q in block.qubits() {
                let claimed = match owner.get_mut(q) {
                    None => Some(format!("qubit {q}")),
                    Some(owner) => owner.replace(b).map(|a| format!("qubit {q}, which blocks[{a}] has")),
                };
                if let Some(found) = claimed {
                    return Err(Error::invalid(
                        format!("blocks[{b}]"),
                        format!("qubits below {n_qubits} that no other block has"),
                        found,
                    ));
                }
            }
        }
        if let Some(q) = owner.iter().position(Option::is_none) {
            return Err(Error::invalid("blocks", "a block for every qubit", format!("none with qubit {q}")));
        }
        Ok(Ensemble { n_qubits, kind: Kind::Blocks(blocks.into()) })
    }

    /// Contiguous blocks of `qubits_per_block` qubits (the last one may have fewer), each measured in a random
    /// stabiliser basis, all bases alike: random Clifford gates on every block. A word is revealed with
    /// probability `1 / (2^k + 1)` for every block of `k` qubits that it touches.
    pub fn random_blocks(n_qubits: usize, qubits_per_block: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        if !(1..=MAX_BLOCK_QUBITS).contains(&qubits_per_block) {
            return Err(Error::invalid(
                "qubits_per_block",
                format!("1 to {MAX_BLOCK_QUBITS}"),
                qubits_per_block.to_string(),
            ));
        }
        let block = |first: usize| {
            let qubits = first..(first + qubits_per_block).min(n_qubits);
            all_bases(qubits.len()).moved(qubits)
        };
        let blocks = (0..n_qubits).step_by(qubits_per_block).map(block).collect::<Result<Vec<Block>>>()?;
        Ok(Ensemble { n_qubits, kind: Kind::Blocks(blocks.into()) })
    }

    /// A random stabiliser basis of all qubits, all alike: what a uniformly random Clifford circuit measures. Unlike in a
    /// list, each is drawn from the address of its snapshot.
    pub fn global_clifford(n_qubits: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        Ok(Ensemble { n_qubits, kind: Kind::GlobalClifford { twirled: false } })
    }

    /// [`Ensemble::global_clifford`] with random CNOTs and Paulis before every readout, which are undone in its bits: a
    /// readout that errs then leaves the same part of every word.
    pub fn twirled_clifford(n_qubits: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        Ok(Ensemble { n_qubits, kind: Kind::GlobalClifford { twirled: true } })
    }

    /// A random stabiliser basis of all qubits, of which there are at most four, as a list.
    pub fn clifford(n_qubits: usize) -> Result<Self> {
        if !(1..=MAX_BLOCK_QUBITS).contains(&n_qubits) {
            return Err(Error::invalid(
                "n_qubits",
                format!(
                    "1 to {MAX_BLOCK_QUBITS} (for more, global_clifford, random_blocks, or settings with a list)"
                ),
                n_qubits.to_string(),
            ));
        }
        Self::random_blocks(n_qubits, n_qubits)
    }

    /// Number of qubits of every setting.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Whether settings are drawn from all stabiliser bases, which makes no list.
    pub fn is_global(&self) -> bool {
        matches!(self.kind, Kind::GlobalClifford { .. })
    }

    /// Whether the readouts of these bases are twirled.
    pub fn is_twirled(&self) -> bool {
        self.kind == Kind::GlobalClifford { twirled: true }
    }

    /// `"uniform"`, `"biased"`, `"settings"`, `"blocks"` or `"global_clifford"`.
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Uniform => "uniform",
            Kind::Biased(_) => "biased",
            Kind::Blocks(_) if self.single().is_some() => "settings",
            Kind::Blocks(_) => "blocks",
            Kind::GlobalClifford { .. } => "global_clifford",
        }
    }

    /// The probabilities of X, Y and Z on qubit `q`, when settings are drawn letter by letter.
    pub fn letter_probabilities(&self, q: usize) -> Option<[f64; 3]> {
        match &self.kind {
            Kind::Uniform => (q < self.n_qubits).then_some([1.0 / 3.0; 3]),
            Kind::Biased(rows) => rows.get(q).copied(),
            Kind::Blocks(_) | Kind::GlobalClifford { .. } => None,
        }
    }

    /// The blocks; none when settings are drawn letter by letter or from all bases.
    pub fn block_list(&self) -> &[Block] {
        match &self.kind {
            Kind::Blocks(blocks) => blocks,
            _ => &[],
        }
    }

    /// The block of an ensemble of kind "settings", whose qubits are those of the register in order.
    pub fn single(&self) -> Option<&Block> {
        match self.block_list() {
            [block] if block.is_register(self.n_qubits) => Some(block),
            _ => None,
        }
    }

    /// Whether snapshots of one have the same meaning in the other: only probabilities may differ.
    pub(crate) fn same_settings(&self, other: &Ensemble) -> bool {
        let (a, b) = (self.block_list(), other.block_list());
        let same = |(a, b): (&Block, &Block)| a.qubits() == b.qubits() && a.same_settings(b);
        let alike = self.is_global() == other.is_global() && self.is_twirled() == other.is_twirled();
        alike && self.n_qubits == other.n_qubits && a.len() == b.len() && a.iter().zip(b).all(same)
    }

    /// The probability that a snapshot reveals `word`: 1 for the identity.
    pub fn reveal_probability(&self, word: WordRef<'_>) -> Result<f64> {
        crate::pauli::word::check_width("word", self.n_qubits, word.n_qubits())?;
        Ok(self.reveal(word))
    }

    /// What a snapshot says of a word of the right width.
    pub(crate) fn response(&self, word: WordRef<'_>) -> Response {
        Response::ideal(self.reveal(word))
    }

    /// [`Ensemble::reveal_probability`] of a word of the right width.
    pub(crate) fn reveal(&self, word: WordRef<'_>) -> f64 {
        match &self.kind {
            // Division by an exact integer power, so that 3^w comes out exactly on inversion.
            Kind::Uniform => 1.0 / 3f64.powi(word.weight() as i32),
            Kind::Biased(rows) => word.support().map(|(q, letter)| of_letter(&rows[q], letter)).product(),
            Kind::Blocks(blocks) => blocks.iter().map(|block| block.reveal_probability(word)).product(),
            Kind::GlobalClifford { .. } if word.is_identity() => 1.0,
            Kind::GlobalClifford { .. } => all_bases_reveal(self.n_qubits),
        }
    }

    /// The probability that one snapshot reveals both words: with `c` their coefficients and `h` their reveal
    /// probabilities, the variance of a sum per snapshot is `sum c c' Pr[both] / (h h') <Q Q'> - <O>^2`.
    pub fn pair_probability(&self, a: WordRef<'_>, b: WordRef<'_>) -> Result<f64> {
        for (argument, word) in [("a", a), ("b", b)] {
            crate::pauli::word::check_width(argument, self.n_qubits, word.n_qubits())?;
        }
        if let Kind::Blocks(blocks) = &self.kind {
            return Ok(blocks.iter().map(|block| block.pair_probability(a, b)).product());
        }
        if self.is_global() {
            return Ok(match (a.is_identity() || a == b, b.is_identity()) {
                (true, _) => self.reveal(b),
                (_, true) => self.reveal(a),
                _ if crate::pauli::word::anticommute(a, b) => 0.0,
                _ => all_bases_reveal(self.n_qubits) * all_bases_reveal(self.n_qubits - 1),
            });
        }
        let rows = || a.x().iter().zip(a.z()).zip(b.x().iter().zip(b.z()));
        if rows().any(|((ax, az), (bx, bz))| ((ax ^ bx) | (az ^ bz)) & (ax | az) & (bx | bz) != 0) {
            return Ok(0.0); // two letters on one qubit
        }
        let beyond = b.support().filter(|(q, _)| a.letter(*q) == Letter::I);
        Ok(match &self.kind {
            Kind::Biased(rows) => {
                self.reveal(a) * beyond.map(|(q, l)| of_letter(&rows[q], l)).product::<f64>()
            }
            _ => 1.0 / 3f64.powi((a.weight() + beyond.count()) as i32),
        })
    }

    /// How many of `shots` snapshots each setting of a list gets: `shots` times its probability, rounded down or up
    /// at random so that the expectation is exact. The counts sum to `shots`.
    pub fn allocate(&self, shots: u64, seed: u64) -> Result<Vec<u64>> {
        let Some(block) = self.single() else {
            return Err(Error::invalid(
                "ensemble",
                "a list of settings (only those can be given fixed numbers of shots)",
                format!("a {} ensemble", self.kind()),
            ));
        };
        if shots >= 1 << 53 {
            return Err(Error::invalid("shots", "less than 2^53", shots.to_string()));
        }
        let offset = unit_interval(philox([seed, STREAM], [0; 4])[0]);
        let total: f64 = block.probabilities().iter().sum();
        let last = block.probabilities().iter().rposition(|p| *p > 0.0);
        let (mut sum, mut before) = (0.0, 0);
        let counts = block.probabilities().iter().enumerate().map(|(f, p)| {
            sum += p;
            // A grid of points `shots` apart by one, shifted at random: each setting gets those within its share.
            let grid = (shots as f64 * (sum / total) + offset).floor() as u64;
            let edge = if Some(f) >= last { shots } else { grid.min(shots) };
            let count = edge - before;
            before = edge;
            count
        });
        Ok(counts.collect())
    }
}

/// The part of the stabiliser bases of `n` qubits that reveals a word.
fn all_bases_reveal(n: usize) -> f64 {
    1.0 / (2f64.powi(n as i32) + 1.0)
}

fn of_letter(row: &[f64; 3], letter: Letter) -> f64 {
    match letter {
        Letter::X => row[0],
        Letter::Y => row[1],
        Letter::Z => row[2],
        Letter::I => 1.0,
    }
}

/// Refuses what is not a distribution; `place` names an entry, `whole` all of them.
fn check_probabilities(place: impl Fn(usize) -> String, whole: &str, probabilities: &[f64]) -> Result<()> {
    if let Some(i) = probabilities.iter().position(|p| !(p.is_finite() && *p >= 0.0)) {
        return Err(Error::invalid(
            place(i),
            "finite numbers that are not negative",
            probabilities[i].to_string(),
        ));
    }
    let sum: f64 = probabilities.iter().sum();
    if (sum - 1.0).abs() <= SUM_TOLERANCE {
        return Ok(());
    }
    let shown = match probabilities {
        [_, _, _] => format!("{probabilities:?}, which sums to {sum}"),
        _ => format!("{} numbers that sum to {sum}", probabilities.len()),
    };
    Err(Error::invalid(
        whole.to_owned(),
        format!("{} numbers that sum to 1", count(probabilities.len())),
        shown,
    ))
}

fn count(length: usize) -> String {
    if length == 3 { "three".to_owned() } else { length.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::PauliWord;

    #[test]
    fn reveal_probability_is_a_product_over_the_support() {
        let word = PauliWord::from_label("XIYZ").unwrap();
        let uniform = Ensemble::uniform(4).unwrap();
        assert_eq!(1.0 / uniform.reveal(word.view()), 27.0);
        let biased =
            Ensemble::biased(vec![[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]);
        assert!((biased.unwrap().reveal(word.view()) - 0.15).abs() < 1e-15);
    }

    #[test]
    fn probabilities_are_checked() {
        for bad in [[0.5, 0.5, 0.5], [-0.5, 1.0, 0.5], [f64::NAN, 0.5, 0.5], [f64::INFINITY, 0.0, 0.0]] {
            assert!(Ensemble::biased(vec![[1.0, 0.0, 0.0], bad]).is_err(), "{bad:?}");
        }
        assert!(Ensemble::uniform(0).is_err());
        assert!(Ensemble::biased(vec![]).is_err());
        let z = || Setting::product("Z").unwrap();
        assert!(Ensemble::settings(vec![], vec![]).is_err());
        assert!(Ensemble::settings(vec![z()], vec![0.5]).is_err());
        assert!(Ensemble::settings(vec![z(), z()], vec![1.0]).is_err());
        assert!(Ensemble::settings(vec![z(), Setting::product("ZZ").unwrap()], vec![0.5, 0.5]).is_err());
        assert!(Ensemble::clifford(5).is_err());
        assert!(Ensemble::random_blocks(5, 0).is_err());
    }

    #[test]
    fn blocks_partition_the_register() {
        let block = |qubits: &[usize]| {
            let setting = Setting::product(&"Z".repeat(qubits.len())).unwrap();
            Block::new(qubits.to_vec(), vec![setting], vec![1.0]).unwrap()
        };
        assert_eq!(Ensemble::blocks(3, vec![block(&[2, 0]), block(&[1])]).unwrap().kind(), "blocks");
        assert_eq!(Ensemble::blocks(2, vec![block(&[0, 1])]).unwrap().kind(), "settings");
        assert_eq!(Ensemble::blocks(2, vec![block(&[1, 0])]).unwrap().kind(), "blocks");
        for bad in [vec![block(&[0, 1])], vec![block(&[0, 1]), block(&[1, 2])], vec![block(&[0, 1, 2, 3])]] {
            assert!(Ensemble::blocks(3, bad).is_err());
        }
        assert!(Ensemble::blocks(5, vec![block(&[0, 1, 2, 3, 4])]).is_err());
    }

    #[test]
    fn shots_are_allocated_without_bias() {
        let labels = ["X", "Y", "Z", "X"];
        let settings: Vec<_> = labels.iter().map(|l| Setting::product(l).unwrap()).collect();
        let q = [0.37, 0.0, 0.6, 0.03];
        let list = Ensemble::settings(settings, q.to_vec()).unwrap();
        let (shots, runs) = (11u64, 4000);
        let mut sums = [0u64; 4];
        for seed in 0..runs {
            let counts = list.allocate(shots, seed).unwrap();
            assert_eq!(counts.iter().sum::<u64>(), shots);
            for (f, &count) in counts.iter().enumerate() {
                let exact = shots as f64 * q[f];
                assert!(count as f64 >= exact.floor() && count as f64 <= exact.ceil(), "{counts:?}");
                sums[f] += count;
            }
        }
        for (f, &sum) in sums.iter().enumerate() {
            // A Bernoulli variable per run: 4 sigma of its mean, a false-alarm rate of 2e-4 for all settings.
            let bound = 4.0 * 0.5 / f64::from(runs as u32).sqrt();
            assert!((sum as f64 / runs as f64 - shots as f64 * q[f]).abs() < bound, "{f}: {sum}");
        }
        assert!(Ensemble::uniform(1).unwrap().allocate(10, 0).is_err());
    }
}
