//! The file of frames, as it is written: it only grows.
//!
//! Before each frame are 16 bytes: its length, and a hash of length and place by a key that is kept elsewhere. So the length
//! of a frame that was not written to its end is known, no bytes that a replica has chosen pass for a frame, and frames of
//! another file are none of this one.
//!
//! Invariant: a frame that was appended is on the disk, as far as that keeps its word; after an error nobody knows what is.
//! Cost: a write and a sync for each frame.

use blake2b_simd::Params;
use std::fs::File;
use std::io::{Error, Result, Write};
use std::path::Path;

/// Bytes before a frame.
const HEAD: u64 = 16;

/// The file, and where its next frame goes.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    key: Vec<u8>,
    end: u64,
}

impl Log {
    /// A file that is there, and ends at some place.
    pub(super) fn open(path: &Path, key: &[u8], end: u64) -> Result<Self> {
        Ok(Log { file: File::options().append(true).open(path)?, key: key.to_vec(), end })
    }

    /// Where the next frame goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Makes a frame durable.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<()> {
        let found = self.file.metadata()?;
        // Somebody else writes, or a write has failed.
        if found.is_file() && found.len() != self.end {
            return Err(Error::other(format!(
                "expected {} bytes, as written, got {}",
                self.end,
                found.len()
            )));
        }
        let length = (frame.len() as u64).to_le_bytes();
        let mut head = [0; HEAD as usize];
        head[..8].copy_from_slice(&self.end.to_le_bytes());
        head[8..].copy_from_slice(&length);
        // As Python reads it: hashlib.blake2b(place + length, digest_size=8, key=key).
        let hash = Params::new().hash_length(8).key(&self.key).hash(&head);
        head[..8].copy_from_slice(&length);
        head[8..].copy_from_slice(hash.as_bytes());
        self.file.write_all(&head)?;
        self.file.write_all(frame)?;
        self.file.sync_data()?;
        self.end += HEAD + frame.len() as u64;
        Ok(())
    }
}
