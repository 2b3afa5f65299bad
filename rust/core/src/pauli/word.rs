//! One Pauli word: a letter per qubit, no phase.
//!
//! [`WordRef`] borrows two packed rows and has all the algebra; [`PauliWord`] owns its rows and delegates, as
//! `String` does to `str`. Invariant: both rows have `limbs(n_qubits)` entries and zero padding bits.
//! Cost: everything is linear in the number of `u64`, except [`WordRef::support`], linear in the weight.

use crate::bits::{check_qubits, limbs, tail_mask};
use crate::error::{Error, Result};
use num_complex::Complex64;
use std::fmt;

/// A single-qubit Pauli letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    /// The identity, `(x, z) = (0, 0)`.
    I,
    /// The bit flip, `(1, 0)`.
    X,
    /// Both, `(1, 1)`.
    Y,
    /// The phase flip, `(0, 1)`.
    Z,
}

impl Letter {
    /// The letter with these bits.
    #[inline]
    pub const fn from_bits(x: bool, z: bool) -> Self {
        match (x, z) {
            (false, false) => Letter::I,
            (true, false) => Letter::X,
            (true, true) => Letter::Y,
            (false, true) => Letter::Z,
        }
    }

    /// The letter that a capital `I`, `X`, `Y` or `Z` names.
    pub const fn from_char(letter: char) -> Option<Self> {
        match letter {
            'I' => Some(Letter::I),
            'X' => Some(Letter::X),
            'Y' => Some(Letter::Y),
            'Z' => Some(Letter::Z),
            _ => None,
        }
    }

    /// Whether it flips the bit: true for X and Y.
    #[inline]
    pub const fn x(self) -> bool {
        matches!(self, Letter::X | Letter::Y)
    }

    /// Whether it flips the phase: true for Z and Y.
    #[inline]
    pub const fn z(self) -> bool {
        matches!(self, Letter::Y | Letter::Z)
    }

    /// The capital letter.
    pub const fn to_char(self) -> char {
        match self {
            Letter::I => 'I',
            Letter::X => 'X',
            Letter::Y => 'Y',
            Letter::Z => 'Z',
        }
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_char())
    }
}

/// A power of the imaginary unit: the phase of a product of Pauli words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Phase(u8);

impl Phase {
    /// The phase `1`.
    pub const ONE: Phase = Phase(0);

    /// `i` to the `power`.
    #[inline]
    pub const fn new(power: u32) -> Self {
        Phase((power & 3) as u8)
    }

    /// The power of `i`, 0 to 3.
    #[inline]
    pub const fn power(self) -> u8 {
        self.0
    }

    /// The product of two phases.
    #[inline]
    pub const fn multiply(self, other: Phase) -> Phase {
        Phase((self.0 + other.0) & 3)
    }

    /// The phase as a complex number.
    pub const fn to_complex(self) -> Complex64 {
        match self.0 {
            0 => Complex64::new(1.0, 0.0),
            1 => Complex64::new(0.0, 1.0),
            2 => Complex64::new(-1.0, 0.0),
            _ => Complex64::new(0.0, -1.0),
        }
    }
}

/// A Pauli word that borrows its rows. See [`PauliWord`] for the one that owns them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WordRef<'a> {
    n_qubits: usize,
    x: &'a [u64],
    z: &'a [u64],
}

impl<'a> WordRef<'a> {
    /// A view of two rows that are known to have the right length and zero padding.
    #[inline]
    pub(crate) fn from_rows_unchecked(n_qubits: usize, x: &'a [u64], z: &'a [u64]) -> Self {
        debug_assert!(x.len() == limbs(n_qubits) && z.len() == x.len());
        WordRef { n_qubits, x, z }
    }

    /// Number of qubits, identities included.
    #[inline]
    pub fn n_qubits(self) -> usize {
        self.n_qubits
    }

    /// The bits that say X or Y.
    #[inline]
    pub fn x(self) -> &'a [u64] {
        self.x
    }

    /// The bits that say Z or Y.
    #[inline]
    pub fn z(self) -> &'a [u64] {
        self.z
    }

    /// Number of letters other than I.
    #[inline]
    pub fn weight(self) -> usize {
        self.x.iter().zip(self.z).map(|(x, z)| (x | z).count_ones() as usize).sum()
    }

    /// The letter on qubit `q`; I past the end.
    #[inline]
    pub fn letter(self, q: usize) -> Letter {
        if q >= self.n_qubits {
            return Letter::I;
        }
        let bit = |row: &[u64]| row[q / 64] >> (q % 64) & 1 == 1;
        Letter::from_bits(bit(self.x), bit(self.z))
    }

    /// The qubits with a letter other than I, ascending, with that letter.
    pub fn support(self) -> impl Iterator<Item = (usize, Letter)> + 'a {
        self.x.iter().zip(self.z).enumerate().flat_map(|(index, (&x, &z))| {
            let mut left = x | z;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((index * 64 + bit as usize, Letter::from_bits(x >> bit & 1 == 1, z >> bit & 1 == 1)))
            })
        })
    }

    /// Whether every letter is I.
    #[inline]
    pub fn is_identity(self) -> bool {
        self.x.iter().chain(self.z).all(|&word| word == 0)
    }

    /// Whether the two words commute as operators.
    pub fn commutes_with(self, other: WordRef<'_>) -> Result<bool> {
        self.check_width(other)?;
        Ok(self.anticommuting_letters(other).is_multiple_of(2))
    }

    /// Whether the letters commute on every qubit, so that one product basis measures both.
    pub fn qubit_wise_commutes(self, other: WordRef<'_>) -> Result<bool> {
        self.check_width(other)?;
        Ok(self.anticommuting_letters(other) == 0)
    }

    /// The product `self * other` as a phase and a word.
    pub fn multiply(self, other: WordRef<'_>) -> Result<(Phase, PauliWord)> {
        self.check_width(other)?;
        let width = self.x.len();
        let mut rows = vec![0; 2 * width].into_boxed_slice();
        let mut power = 0u32;
        for i in 0..width {
            let (x, z) = (self.x[i] ^ other.x[i], self.z[i] ^ other.z[i]);
            power = power.wrapping_add(product_power(self.x[i], self.z[i], other.x[i], other.z[i]));
            rows[i] = x;
            rows[width + i] = z;
        }
        Ok((Phase::new(power), PauliWord { n_qubits: self.n_qubits, rows }))
    }

    /// The word with the letters on `qubits` kept and I elsewhere. A qubit may be named more than once.
    pub fn restrict(self, qubits: &[usize]) -> Result<PauliWord> {
        let mut word = PauliWord::identity(self.n_qubits);
        for &q in qubits {
            check_wire("qubits", q, self.n_qubits)?;
            word.set(q, self.letter(q));
        }
        Ok(word)
    }

    /// A copy that owns its rows.
    pub fn to_word(self) -> PauliWord {
        PauliWord { n_qubits: self.n_qubits, rows: [self.x, self.z].concat().into_boxed_slice() }
    }

    fn anticommuting_letters(self, other: WordRef<'_>) -> u32 {
        let rows = self.x.iter().zip(self.z).zip(other.x.iter().zip(other.z));
        rows.map(|((ax, az), (bx, bz))| ((ax & bz) ^ (az & bx)).count_ones()).sum()
    }

    pub(crate) fn check_width(self, other: WordRef<'_>) -> Result<()> {
        check_width("other", self.n_qubits, other.n_qubits)
    }
}

/// The power of `i` (mod 4, as a wrapping integer) in the product of the letters of two `u64` of two words.
///
/// A word is `i^|x&z| X^x Z^z`; moving `Z^az` past `X^bx` costs `(-1)^|az&bx|`.
#[inline]
pub(crate) fn product_power(ax: u64, az: u64, bx: u64, bz: u64) -> u32 {
    let y = |x: u64, z: u64| (x & z).count_ones();
    (y(ax, az) + y(bx, bz) + 2 * y(az, bx)).wrapping_sub(y(ax ^ bx, az ^ bz))
}

/// Refuses a qubit outside the register.
pub(crate) fn check_wire(argument: &'static str, q: usize, n_qubits: usize) -> Result<()> {
    if q < n_qubits {
        return Ok(());
    }
    Err(Error::invalid(argument, format!("qubits below {n_qubits}"), q.to_string()))
}

/// Refuses words of another width.
pub(crate) fn check_width(argument: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::shape(argument, format!("{expected} qubits"), format!("{found} qubits")))
}

/// Refuses rows of the wrong length or with bits past the last qubit.
pub(crate) fn check_row(argument: &'static str, n_qubits: usize, row: &[u64]) -> Result<()> {
    let width = limbs(n_qubits);
    if row.len() != width {
        return Err(Error::shape(
            argument,
            format!("{width} u64 for {n_qubits} qubits"),
            row.len().to_string(),
        ));
    }
    match row.last() {
        Some(&last) if last & !tail_mask(n_qubits, width - 1) != 0 => Err(Error::invalid(
            argument,
            format!("zero bits from qubit {n_qubits} on"),
            format!("{last:#x} in the last word"),
        )),
        _ => Ok(()),
    }
}

impl fmt::Display for WordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.n_qubits).try_for_each(|q| write!(f, "{}", self.letter(q)))
    }
}

impl fmt::Debug for WordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WordRef({self})")
    }
}

impl<'a> From<&'a PauliWord> for WordRef<'a> {
    fn from(word: &'a PauliWord) -> Self {
        word.view()
    }
}

/// A Pauli word that owns its rows. Its label has one character per qubit, qubit 0 first.
///
/// ```
/// use efl_core::pauli::PauliWord;
/// let word = PauliWord::from_label("XIZY")?;
/// assert_eq!((word.n_qubits(), word.weight()), (4, 3));
/// let (phase, product) = word.multiply(&PauliWord::from_label("YIII")?)?;
/// assert_eq!((phase.power(), product.to_string().as_str()), (1, "ZIZY"));
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PauliWord {
    n_qubits: usize,
    /// The x row followed by the z row.
    rows: Box<[u64]>,
}

impl PauliWord {
    /// The identity on `n_qubits` qubits.
    pub fn identity(n_qubits: usize) -> Self {
        PauliWord { n_qubits, rows: vec![0; 2 * limbs(n_qubits)].into_boxed_slice() }
    }

    /// Reads a label such as `"XIZY"`; character `i` is the letter of qubit `i`.
    pub fn from_label(label: &str) -> Result<Self> {
        let expected = "one of the capital letters I, X, Y, Z per qubit";
        if label.is_empty() {
            return Err(Error::invalid("label", expected, "an empty label"));
        }
        check_qubits(label.chars().count())?;
        let mut word = PauliWord::identity(label.chars().count());
        for (q, character) in label.chars().enumerate() {
            let letter = Letter::from_char(character)
                .ok_or_else(|| Error::invalid("label", expected, format!("{character:?} at position {q}")))?;
            word.set(q, letter);
        }
        Ok(word)
    }

    /// The word with the given letters on the given qubits and I elsewhere; each qubit at most once.
    pub fn from_sparse(n_qubits: usize, letters: impl IntoIterator<Item = (usize, Letter)>) -> Result<Self> {
        check_qubits(n_qubits)?;
        let mut word = PauliWord::identity(n_qubits);
        let mut seen = vec![0u64; limbs(n_qubits)];
        for (q, letter) in letters {
            check_wire("letters", q, n_qubits)?;
            let bit = 1u64 << (q % 64);
            if seen[q / 64] & bit != 0 {
                return Err(Error::invalid("letters", "each qubit at most once", format!("qubit {q} twice")));
            }
            seen[q / 64] |= bit;
            word.set(q, letter);
        }
        Ok(word)
    }

    /// The word with these packed rows; their length and their padding are checked.
    pub fn from_bits(n_qubits: usize, x: &[u64], z: &[u64]) -> Result<Self> {
        check_row("x", n_qubits, x)?;
        check_row("z", n_qubits, z)?;
        Ok(WordRef::from_rows_unchecked(n_qubits, x, z).to_word())
    }

    /// The borrowed view, which has all the algebra.
    #[inline]
    pub fn view(&self) -> WordRef<'_> {
        let (x, z) = self.rows.split_at(self.rows.len() / 2);
        WordRef::from_rows_unchecked(self.n_qubits, x, z)
    }

    /// Number of qubits, identities included.
    #[inline]
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// The bits that say X or Y.
    #[inline]
    pub fn x(&self) -> &[u64] {
        self.view().x()
    }

    /// The bits that say Z or Y.
    #[inline]
    pub fn z(&self) -> &[u64] {
        self.view().z()
    }

    /// Number of letters other than I.
    pub fn weight(&self) -> usize {
        self.view().weight()
    }

    /// The letter on qubit `q`; I past the end.
    pub fn letter(&self, q: usize) -> Letter {
        self.view().letter(q)
    }

    /// The qubits with a letter other than I, ascending, with that letter.
    pub fn support(&self) -> impl Iterator<Item = (usize, Letter)> + '_ {
        self.view().support()
    }

    /// Whether every letter is I.
    pub fn is_identity(&self) -> bool {
        self.view().is_identity()
    }

    /// Whether the two words commute as operators.
    pub fn commutes_with(&self, other: &PauliWord) -> Result<bool> {
        self.view().commutes_with(other.view())
    }

    /// Whether the letters commute on every qubit, so that one product basis measures both.
    pub fn qubit_wise_commutes(&self, other: &PauliWord) -> Result<bool> {
        self.view().qubit_wise_commutes(other.view())
    }

    /// The product `self * other` as a phase and a word.
    pub fn multiply(&self, other: &PauliWord) -> Result<(Phase, PauliWord)> {
        self.view().multiply(other.view())
    }

    /// The word with the letters on `qubits` kept and I elsewhere. A qubit may be named more than once.
    pub fn restrict(&self, qubits: &[usize]) -> Result<PauliWord> {
        self.view().restrict(qubits)
    }

    /// Writes a letter over qubit `q`, which the caller has checked.
    fn set(&mut self, q: usize, letter: Letter) {
        let (x, z) = self.rows.split_at_mut(self.rows.len() / 2);
        for (row, bit) in [(x, letter.x()), (z, letter.z())] {
            row[q / 64] = row[q / 64] & !(1 << (q % 64)) | u64::from(bit) << (q % 64);
        }
    }
}

impl fmt::Display for PauliWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for PauliWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PauliWord({self})")
    }
}

/// Whether two words of one width anticommute.
#[inline]
pub(crate) fn anticommute(a: WordRef<'_>, b: WordRef<'_>) -> bool {
    let rows = a.x().iter().zip(a.z()).zip(b.x().iter().zip(b.z()));
    rows.fold(0, |odd, ((ax, az), (bx, bz))| odd ^ (ax & bz) ^ (az & bx)).count_ones() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(label: &str) -> PauliWord {
        PauliWord::from_label(label).unwrap()
    }

    #[test]
    fn labels_round_trip_and_bad_ones_are_located() {
        let long = "XIZYIIZ".repeat(31);
        assert_eq!(word(&long).to_string(), long);
        assert_eq!(word(&long).n_qubits(), 217);
        let error = PauliWord::from_label("XYz").unwrap_err().to_string();
        assert!(error.contains("'z' at position 2"), "{error}");
        assert!(PauliWord::from_label("").is_err());
        assert!(PauliWord::from_label("X_").is_err());
    }

    #[test]
    fn sparse_letters_are_checked() {
        let sparse = PauliWord::from_sparse(70, [(69, Letter::Y), (0, Letter::X)]).unwrap();
        assert_eq!(sparse.support().collect::<Vec<_>>(), [(0, Letter::X), (69, Letter::Y)]);
        assert_eq!((sparse.x(), sparse.z()), ([1, 32].as_slice(), [0, 32].as_slice()));
        assert!(PauliWord::from_sparse(70, [(70, Letter::X)]).is_err());
        assert!(PauliWord::from_sparse(3, [(1, Letter::X), (1, Letter::I)]).is_err());
    }

    #[test]
    fn bits_past_the_end_are_refused() {
        assert!(PauliWord::from_bits(3, &[7], &[0]).is_ok());
        assert!(PauliWord::from_bits(3, &[8], &[0]).is_err());
        assert!(PauliWord::from_bits(3, &[0], &[8]).is_err());
        assert!(PauliWord::from_bits(65, &[0], &[0]).is_err());
    }

    #[test]
    fn the_products_of_letters_are_the_pauli_table() {
        for (a, b, power, product) in [
            ("X", "Y", 1, "Z"),
            ("Y", "Z", 1, "X"),
            ("Z", "X", 1, "Y"),
            ("Y", "X", 3, "Z"),
            ("Y", "Y", 0, "I"),
        ] {
            let (phase, result) = word(a).multiply(&word(b)).unwrap();
            assert_eq!((phase.power(), result.to_string().as_str()), (power, product), "{a} {b}");
        }
        assert!(!word("XX").commutes_with(&word("ZI")).unwrap());
        assert!(word("XX").commutes_with(&word("ZZ")).unwrap());
        assert!(!word("XX").qubit_wise_commutes(&word("ZZ")).unwrap());
        assert!(word("XI").qubit_wise_commutes(&word("XZ")).unwrap());
        assert!(word("X").multiply(&word("XX")).is_err());
    }

    #[test]
    fn restriction_keeps_the_letters_it_is_told_to() {
        assert_eq!(word("XYZX").restrict(&[1, 3, 1]).unwrap(), word("IYIX"));
        assert!(word("XYZX").restrict(&[4]).is_err());
        assert!(word("II").is_identity() && word("XY").letter(7) == Letter::I);
    }
}
