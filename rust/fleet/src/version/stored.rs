//! Versions as bytes: all but the content, of which the hash is left.

use super::{Shape, Version};
use crate::stored::{Put, Take};
use efl_core::Result;

impl Version {
    pub(crate) fn put(&self, put: &mut Put) {
        put.u64(self.fleet);
        put.u32(self.number);
        put.u64(self.seed);
        let Shape { n_qubits, answer_shots, teach_shots, settings } = self.shape;
        [n_qubits, answer_shots, teach_shots, settings].into_iter().for_each(|field| put.u16(field));
        // A threshold of zero is never kept, so it can mean "always".
        put.u64(self.teach.unwrap_or(0));
        put.u32(self.hash);
        put.len(self.ends.len());
        self.ends.iter().for_each(|end| put.u64(*end));
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let (fleet, number, seed) = (take.u64()?, take.u32()?, take.u64()?);
        let [n_qubits, answer_shots, teach_shots, settings] =
            [take.u16()?, take.u16()?, take.u16()?, take.u16()?];
        let shape = Shape { n_qubits, answer_shots, teach_shots, settings };
        take.sound(shape.check())?;
        let (teach, hash) = (Some(take.u64()?).filter(|below| *below != 0), take.u32()?);
        let ends = (0..take.len(8)?).map(|_| take.u64()).collect::<Result<Vec<u64>>>()?;
        let ascend = ends.first() != Some(&0) && ends.windows(2).all(|pair| pair[0] < pair[1]);
        take.check(ascend, || "its entries do not have positive shares".to_owned())?;
        Ok(Version { fleet, number, seed, shape, ends, teach, hash })
    }
}
