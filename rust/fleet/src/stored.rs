//! Fields of stored bytes: written one after the other, read with checks.
//!
//! All numbers are little-endian. A list begins with its length.
//!
//! Invariant: reading never panics, and allocates no more than the bytes that are there can fill.
//! Cost: a copy.

use efl_core::{Error, Result};

/// Bytes that grow.
#[derive(Debug, Default)]
pub(crate) struct Put(pub(crate) Vec<u8>);

impl Put {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// The bits of a number, which may be NaN.
    pub(crate) fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    pub(crate) fn len(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub(crate) fn f64s(&mut self, values: &[f64]) {
        self.len(values.len());
        values.iter().for_each(|value| self.f64(*value));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

/// What is left to read of something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(crate) fn new(what: &'static str, rest: &'a [u8]) -> Self {
        Take { what, rest }
    }

    /// Says that what is read is damaged.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::corrupt(self.what, reason.into())
    }

    /// Refuses what is read unless it is so.
    pub(crate) fn check(&self, sound: bool, reason: impl FnOnce() -> String) -> Result<()> {
        if sound { Ok(()) } else { Err(self.damaged(reason())) }
    }

    /// What another part of the crate says of what is read.
    pub(crate) fn sound<T>(&self, found: Result<T>) -> Result<T> {
        found.map_err(|error| self.damaged(error.to_string()))
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8]> {
        let (found, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.damaged("it ends too early"))?;
        self.rest = rest;
        Ok(found)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut found = [0; N];
        found.copy_from_slice(self.raw(N)?);
        Ok(found)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[value]| value)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        self.u64().map(f64::from_bits)
    }

    /// A number that fits into a `usize`.
    pub(crate) fn size(&mut self) -> Result<usize> {
        let found = self.u64()?;
        usize::try_from(found).map_err(|_| self.damaged(format!("{found} is too large")))
    }

    /// The length of a list whose members take at least so many bytes.
    pub(crate) fn len(&mut self, each: usize) -> Result<usize> {
        let count = self.size()?;
        let fits = count.checked_mul(each.max(1)).is_some_and(|bytes| bytes <= self.rest.len());
        self.check(fits, || format!("{count} members of a list do not fit into it"))?;
        Ok(count)
    }

    pub(crate) fn f64s(&mut self) -> Result<Vec<f64>> {
        (0..self.len(8)?).map(|_| self.f64()).collect()
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.len(1)?;
        self.raw(count)
    }

    /// Checks that all has been read.
    pub(crate) fn end(self) -> Result<()> {
        self.check(self.rest.is_empty(), || format!("{} bytes are left over", self.rest.len()))
    }
}

/// Bytes before what is sealed.
const SEAL: usize = 24;

/// Puts a mark, a format, the length and a checksum around bytes.
pub(crate) fn sealed(mark: [u8; 8], format: u32, body: Put) -> Vec<u8> {
    let mut put = Put(Vec::with_capacity(SEAL + body.0.len() + 4));
    put.0.extend_from_slice(&mark);
    put.u32(format);
    put.u32(0);
    put.bytes(&body.0);
    let crc = crc32fast::hash(&put.0);
    put.u32(crc);
    put.0
}

/// What [`sealed`] has sealed, if it is intact: of this format or of a former one, which this one reads as well.
pub(crate) fn opened<'a>(
    what: &'static str,
    mark: [u8; 8],
    format: u32,
    bytes: &'a [u8],
) -> Result<Take<'a>> {
    let mut take = Take::new(what, bytes);
    let found = take.array::<8>()?;
    take.check(found == mark, || "it does not begin with its mark".to_owned())?;
    let (found, reserved) = (take.u32()?, take.u32()?);
    if found > format {
        return Err(Error::NewerFormat { what: what.into(), found, supported: format });
    }
    take.check(found >= 1 && reserved == 0, || format!("format {found} does not exist"))?;
    let body = take.bytes()?;
    let crc = take.u32()?;
    take.end()?;
    let expected = crc32fast::hash(&bytes[..bytes.len() - 4]);
    take.check(crc == expected, || "the checksum does not match (truncated or altered)".to_owned())?;
    Ok(Take::new(what, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_every_flip_of_a_seal_is_seen() {
        let mut body = Put::default();
        body.f64s(&[1.0, f64::NAN]);
        body.bytes(b"abc");
        let bytes = sealed(*b"EFLTEST\0", 3, body);
        let read = |bytes: &[u8]| -> Result<(Vec<f64>, Vec<u8>)> {
            let mut take = opened("test", *b"EFLTEST\0", 3, bytes)?;
            let found = (take.f64s()?, take.bytes()?.to_vec());
            take.end()?;
            Ok(found)
        };
        let (numbers, text) = read(&bytes).unwrap();
        assert!(numbers[0] == 1.0 && numbers[1].is_nan() && text == b"abc");
        (0..bytes.len()).for_each(|end| drop(read(&bytes[..end]).unwrap_err()));
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&other).is_err(), "bit {bit}");
        }
        assert!(matches!(opened("test", *b"EFLTEST\0", 2, &bytes), Err(Error::NewerFormat { found: 3, .. })));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_anything_is_allocated() {
        let mut put = Put::default();
        put.len(usize::MAX);
        assert!(Take::new("test", &put.0).f64s().is_err());
        assert!(Take::new("test", &put.0).bytes().is_err());
    }
}
