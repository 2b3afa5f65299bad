//! Pauli words, lists of words, real sums of words.
//!
//! | module | holds |
//! |---|---|
//! | `commuting` | whether the words of a list commute |
//! | [`word`] | [`Letter`], [`Phase`], the owned [`PauliWord`] and its borrowed view [`WordRef`] |
//! | [`words`] | [`Words`]: many words of one width, as two flat planes of rows |
//! | [`sum`] | [`PauliSum`]: a real combination of words, sorted and without duplicates |
//! | [`sums`] | [`Sums`]: several sums over one shared list of words |
//!
//! Invariant: a word carries no phase; it is the Hermitian product of its letters, `Y = i X Z` included. Padding
//! bits are zero. Words are ordered by width, then by their x row, then by their z row, both compared `u64` by
//! `u64` from qubit 0 upwards: an order that is cheap, total and the same everywhere.

mod commuting;
pub mod sum;
pub mod sums;
pub mod word;
pub mod words;

pub use sum::PauliSum;
pub use sums::Sums;
pub use word::{Letter, PauliWord, Phase, WordRef};
pub use words::Words;
