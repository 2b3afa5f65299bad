//! What is fuzzed: bytes and text from outside, on their way into the core and the fleet.
//!
//! A target takes any bytes. It panics when a promise is broken: what is accepted is written back as it was read, and
//! can be used. It must never abort, and never take long.

pub mod labels;
pub mod mutate;
pub mod packets;
pub mod sums;
pub mod tally;

/// A target: what makes valid inputs, and what tries any.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Tries one.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 4] = [
    Target { name: "tally", seeds: tally::seeds, run: tally::run },
    Target { name: "labels", seeds: labels::seeds, run: labels::run },
    Target { name: "packets", seeds: packets::seeds, run: packets::run },
    Target { name: "sums", seeds: sums::seeds, run: sums::run },
];
