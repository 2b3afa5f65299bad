//! `Machine::submit`, with length and checksum repaired: otherwise it refuses nearly everything as damaged.

use efl_core::pauli::PauliSum;
use efl_core::stabiliser::Setting;
use efl_fleet::machine::{Machine, Options};
use efl_fleet::packet::{Bits, MAX_BYTES, Packet, Span, encode};
use efl_fleet::pending::Ticket;
use efl_fleet::reader::{Answer, Entry, Query, Reader, Scratch, Slopes};
use efl_fleet::sequence::Sequence;
use efl_fleet::tally::Tally;
use efl_fleet::version::{Shape, Version};
use std::sync::{Arc, OnceLock};

const FLEET: u64 = 7;

/// A version in which every query teaches, one in which some do, a gentle one, and one that is counted at once.
pub(crate) fn readers() -> &'static [Arc<Reader>; 4] {
    static READERS: OnceLock<[Arc<Reader>; 4]> = OnceLock::new();
    READERS.get_or_init(|| {
        let sum = |label: &str| PauliSum::from_labels([(label, 0.5)]).expect("a label");
        let setting = |letters: &str| Setting::product(letters).expect("letters");
        [0, 1, 2, 3].map(|number| {
            let answer_shots = if number == 2 { 0 } else { 5 };
            let shape = Shape { n_qubits: 3, answer_shots, teach_shots: 6, settings: 2 };
            let teach = if number == 1 { 0.4 } else { 1.0 };
            let version = Version::new(FLEET, number, 5, shape, &[1.0, 2.0], teach, b"").expect("a version");
            let entry = |letters: &str, label: &str| Entry {
                setting: setting(letters),
                readings: vec![(0, sum(label)), (1, sum(label))],
                values: if number == 2 { vec![(0, sum(label))] } else { vec![] },
            };
            let entries = [entry("XYZ", "XYI"), entry("ZZZ", "ZIZ")];
            let answer = Answer { setting: setting("ZZZ"), shots: 5, values: vec![(0, sum("ZII"))] };
            let answers = if number == 2 { vec![] } else { vec![answer] };
            let constant = (number == 3).then(|| vec![1.0]);
            let reader = Reader::new(version, 1, &entries, &answers, &Slopes::identity(2), constant, None);
            Arc::new(reader.expect("a reader"))
        })
    })
}

/// A learner of these versions, with two replicas.
fn machine() -> Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    let made = MACHINE.get_or_init(|| {
        let (n_outputs, n_parameters, keep, pending, quota) = (1, 2, 4, 100, 60);
        let options =
            Options { fleet: FLEET, n_outputs, n_parameters, keep, pending, quota, buckets: 2, replicas: 4 };
        let mut machine = Machine::new(options).expect("bounds");
        readers().iter().for_each(|reader| machine.publish(reader.clone()).expect("the next version"));
        (0..2).for_each(|replica| assert_eq!(machine.join(replica), Ok(1)));
        machine
    });
    made.clone()
}

/// Packets of every version, from both replicas.
pub fn seeds() -> Vec<Vec<u8>> {
    let packet = |(i, reader): (usize, &Arc<Reader>)| {
        let version = reader.version();
        let span = Span { replica: i as u64 % 2, incarnation: 1, first: 0, queries: 9, dropped: 0 };
        let teaching = Sequence::new(version, span.replica, 1).teaching(0, 9, 9);
        let shape = version.shape();
        let bits = |shots: u16| (0..teaching * 3 * usize::from(shots)).map(|i| (i / 3 % 2) as u8).collect();
        let (answers, teaches): (Vec<u8>, Vec<u8>) = (bits(shape.answer_shots), bits(shape.teach_shots));
        encode(version, &span, Bits::Bytes(&answers), Bits::Bytes(&teaches)).expect("a packet")
    };
    readers().iter().enumerate().map(packet).collect()
}

/// Submits; nothing may be lost or counted twice, and what is accepted is written as it was read.
pub fn run(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() >= 68 {
        bytes[..4].copy_from_slice(b"EFLP");
        let length = bytes.len() as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        let body = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&crc);
    }
    let mut machine = machine();
    let receipt = machine.submit(&bytes);
    let counts = machine.counts();
    assert_eq!(counts.balance(), 0, "queries are lost");
    assert_eq!(counts.packets, u64::from(receipt.refused.is_none()));
    assert!(machine.nbytes() < 1 << 20, "{} bytes are held", machine.nbytes());
    if receipt.refused.is_some() {
        assert_eq!(counts.admitted, 0, "queries of a refused packet");
        return;
    }
    assert!(machine.submit(&bytes).refused.is_some(), "the same packet was taken twice");
    assert!(bytes.len() <= MAX_BYTES);
    let packet = Packet::decode(&bytes).expect("it was accepted");
    let reader = &readers()[packet.version as usize];
    let Span { replica, incarnation, .. } = packet.span;
    let (mut answers, mut teaches, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
    let shape = packet.shape;
    for query in Query::all(reader.version(), &packet.span, packet.body) {
        let (answer, teach) = query.planes.split_at(shape.answer_bytes());
        for (planes, shots, rows) in
            [(answer, shape.answer_shots, &mut answers), (teach, shape.teach_shots, &mut teaches)]
        {
            let (shots, plane) = (usize::from(shots), usize::from(shots).div_ceil(8));
            let bit = |t: usize, q: usize| planes[q * plane + t / 8] >> (t % 8) & 1;
            rows.extend((0..shots).flat_map(|t| (0..3).map(move |q| bit(t, q))));
        }
        let found = reader.values(&query, &mut Scratch::default()).to_vec();
        assert!(found.iter().all(|value| value.abs() <= 1.0));
        tickets.push(Ticket { replica, incarnation, sequence: query.number });
    }
    let again = encode(reader.version(), &packet.span, Bits::Bytes(&answers), Bits::Bytes(&teaches));
    assert!(again.expect("what was accepted") == bytes, "other bytes came back");
    machine.weights(&tickets, &vec![0.5; tickets.len()], None).expect("a weight for each");
    assert_eq!((machine.counts().pending, machine.counts().balance()), (0, 0));
    for (_, _, tally) in machine.tallies(0, 3) {
        assert!(&Tally::from_bytes(&tally.to_bytes()).expect("bytes of our own") == tally);
    }
}
