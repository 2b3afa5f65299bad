//! Queries that wait, as bytes: batches in the order of their admission.

use super::{Batch, Pending, USED};
use crate::stored::{Put, Take};
use efl_core::Result;

impl Pending {
    pub(crate) fn put(&self, put: &mut Put) {
        put.u64(self.admitted);
        put.len(self.batches.len());
        for (id, batch) in &self.batches {
            put.u64(*id);
            put.u32(batch.version);
            put.u64(batch.replica);
            put.u32(batch.incarnation);
            put.u64(batch.first);
            put.u32(batch.stride as u32);
            put.len(batch.offsets.len());
            batch.offsets.iter().for_each(|offset| put.u32(*offset));
            put.bytes(&batch.body);
        }
    }

    /// Reads batches of versions, whose bytes of a query `stride` says.
    pub(crate) fn read(take: &mut Take<'_>, stride: impl Fn(u32) -> Option<usize>) -> Result<Self> {
        let mut pending = Pending { admitted: take.u64()?, ..Pending::default() };
        for _ in 0..take.len(44)? {
            let (id, version, replica) = (take.u64()?, take.u32()?, take.u64()?);
            let (incarnation, first, found) = (take.u32()?, take.u64()?, take.u32()? as usize);
            let offsets = (0..take.len(4)?).map(|_| take.u32()).collect::<Result<Vec<u32>>>()?;
            let body = take.bytes()?.to_vec();
            let open = offsets.iter().filter(|offset| **offset & USED == 0).count();
            let later = pending.batches.last_key_value().is_none_or(|(last, _)| *last < id);
            let ascend = offsets.windows(2).all(|pair| pair[0] & !USED < pair[1] & !USED);
            let filled = found.checked_mul(offsets.len()) == Some(body.len());
            take.check(
                later
                    && id < pending.admitted
                    && open > 0
                    && ascend
                    && filled
                    && stride(version) == Some(found),
                || format!("batch {id} of queries that wait does not fit its version"),
            )?;
            let batch = Batch { version, replica, incarnation, first, offsets, body, stride: found, open };
            pending.open += open;
            *pending.held.entry(replica).or_default() += open;
            pending.bytes += batch.body.len();
            let twice = pending.index.insert(batch.key(), id);
            take.check(twice.is_none(), || format!("batch {id} of queries is there twice"))?;
            pending.batches.insert(id, batch);
        }
        Ok(pending)
    }
}
