//! Pauli words, lists of words, real sums of words.
