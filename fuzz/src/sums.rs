//! `Tally::from_bytes` of a fleet, with the checksum repaired.

use crate::packets::{self, readers};
use efl_fleet::packet::Packet;
use efl_fleet::tally::Tally;

/// Tallies of some queries, and of none.
pub fn seeds() -> Vec<Vec<u8>> {
    let packets = packets::seeds();
    let tally = |(i, bytes): (usize, &Vec<u8>)| {
        let (reader, packet) = (&readers()[i], Packet::decode(bytes).expect("a packet"));
        let teaching = packet.check(reader.version()).expect("of its version");
        let weights = vec![0.3; teaching];
        reader.tally(&packet, &weights, Some(&weights)).expect("a weight for each").to_bytes()
    };
    packets.iter().enumerate().map(tally).chain([Tally::new(2, 1).to_bytes()]).collect()
}

/// Reads; what is accepted is written back as it was, merges with itself and has means.
pub fn run(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() >= 60 {
        bytes[..8].copy_from_slice(b"EFLSUMS\0");
        let body = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&crc);
    }
    let Ok(mut tally) = Tally::from_bytes(&bytes) else { return };
    assert!(tally.to_bytes() == bytes, "other bytes came back");
    let same = tally.clone();
    if tally.merge(&same).is_ok() {
        assert_eq!(tally.queries(), 2 * same.queries());
    } else {
        assert!(tally == same, "a merge that failed has changed something");
    }
    for mean in tally.gradient().into_iter().chain([tally.loss()]).chain(tally.values()) {
        assert!(mean.stderr.is_nan() || mean.stderr >= 0.0);
    }
}
