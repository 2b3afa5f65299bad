//! Packets: what a replica sends of consecutive queries, as planes of bits.
//!
//! All numbers are little-endian.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLP`, format (u16) = 1, kind (u16) = 0 |
//! | 8 | length of the packet in bytes (u32), qubits n (u16), answer shots a (u16) |
//! | 16 | fleet (u64) |
//! | 24 | version (u32), hash of the version (u32) |
//! | 32 | replica (u64) |
//! | 40 | incarnation (u32), queries (u32) |
//! | 48 | sequence of the first query (u64) |
//! | 56 | teach shots t (u16), teach settings (u16), queries dropped directly before the first (u32) |
//! | 64 | for each query that teaches: n planes of ceil(a/8) bytes, then n planes of ceil(t/8) bytes |
//! | end - 4 | CRC-32 of everything before |
//!
//! A plane has the bits of one qubit: shot i is bit `i % 8` of byte `i / 8`, padding bits are zero. Teach shots are those of
//! the first setting, then those of the second, and so on. Which queries teach, and with which entries, follows from the
//! version (`sequence`) and is not sent. A query of 48 + 16 shots of 10 qubits takes 80 bytes.
//!
//! Invariant: what [`Packet::decode`] and [`Packet::check`] accept has exactly one encoding, at most [`MAX_BYTES`] and
//! [`MAX_QUERIES`]; nothing is allocated for what is not accepted.
//! Cost: decoding is a checksum and a look at every padded byte.

use crate::sequence::Sequence;
use crate::version::{Shape, Version};
use efl_core::{Error, Result};

/// Bytes before the planes.
pub const HEADER: usize = 64;
/// Bytes after them.
pub const TRAILER: usize = 4;
/// Most bytes of a packet.
pub const MAX_BYTES: usize = 1 << 20;
/// Most queries of a packet, those that teach nothing included.
pub const MAX_QUERIES: u32 = 1 << 20;
/// Sequences and incarnations are below these powers of two, so that both of a replica fit into 64 bits.
pub const SEQUENCE_BITS: u32 = 40;
/// See [`SEQUENCE_BITS`].
pub const INCARNATION_BITS: u32 = 64 - SEQUENCE_BITS;

const MAGIC: [u8; 4] = *b"EFLP";
const FORMAT: u16 = 1;
const ANSWERS: u16 = 0;

/// Whose queries a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Name of the replica.
    pub replica: u64,
    /// Which of its lives, as the learner counts them.
    pub incarnation: u32,
    /// Sequence of the first query.
    pub first: u64,
    /// Number of queries, those that teach nothing included.
    pub queries: u32,
    /// Queries directly before the first that are never sent.
    pub dropped: u32,
}

impl Span {
    /// The sequence after the last query.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.queries)
    }

    fn check(&self) -> Result<()> {
        let wrong = |argument: &'static str, expected: String, found: u64| {
            Err(Error::invalid(argument, expected, found.to_string()))
        };
        if self.queries == 0 || self.queries > MAX_QUERIES {
            return wrong("queries", format!("1 to {MAX_QUERIES}"), self.queries.into());
        }
        if self.first.saturating_add(u64::from(self.queries)) >= 1 << SEQUENCE_BITS {
            return wrong("first", format!("sequences below 2^{SEQUENCE_BITS} - 1"), self.first);
        }
        if u64::from(self.dropped) > self.first {
            let expected = format!("at most the {} queries before the first", self.first);
            return wrong("dropped", expected, self.dropped.into());
        }
        if self.incarnation == 0 || self.incarnation >> INCARNATION_BITS != 0 {
            let expected = format!("1 to 2^{INCARNATION_BITS} - 1");
            return wrong("incarnation", expected, self.incarnation.into());
        }
        Ok(())
    }
}

/// Measured bits, shot after shot.
#[derive(Debug, Clone, Copy)]
pub enum Bits<'a> {
    /// A byte, 0 or 1, for every qubit.
    Bytes(&'a [u8]),
    /// Packed rows: qubit q is bit `q % 64` of limb `q / 64`.
    Rows(&'a [u64]),
}

impl Bits<'_> {
    /// Values of one shot.
    fn width(&self, n_qubits: usize) -> usize {
        match self {
            Bits::Bytes(_) => n_qubits,
            Bits::Rows(_) => n_qubits.div_ceil(64),
        }
    }

    fn len(&self) -> usize {
        match self {
            Bits::Bytes(values) => values.len(),
            Bits::Rows(values) => values.len(),
        }
    }

    /// Checks number and values of the bits of `shots` shots.
    fn check(&self, name: &'static str, shots: usize, n_qubits: usize) -> Result<()> {
        let width = self.width(n_qubits);
        if self.len() != shots * width {
            let expected = format!("{shots} shots of {n_qubits} qubits ({} values)", shots * width);
            return Err(Error::shape(name, expected, format!("{} values", self.len())));
        }
        let at = |shot: usize, found: String| {
            let expected = match self {
                Bits::Bytes(_) => "bits, 0 or 1".to_owned(),
                Bits::Rows(_) => format!("rows of {n_qubits} bits, zero above"),
            };
            Err(Error::invalid(format!("{name}[shot {shot}]"), expected, found))
        };
        match self {
            Bits::Bytes(values) => match values.iter().position(|bit| *bit > 1) {
                Some(i) => at(i / width, values[i].to_string()),
                None => Ok(()),
            },
            Bits::Rows(values) => {
                let used = n_qubits % 64;
                let over = |row: &[u64]| used > 0 && row[width - 1] >> used != 0;
                match values.chunks_exact(width).position(over) {
                    Some(shot) => at(shot, format!("{:#x}", values[shot * width + width - 1])),
                    None => Ok(()),
                }
            }
        }
    }

    /// Appends the planes of `shots` shots from `start` on.
    fn planes(&self, start: usize, shots: usize, n_qubits: usize, out: &mut Vec<u8>) {
        let (plane, base) = (shots.div_ceil(8), out.len());
        out.resize(base + n_qubits * plane, 0);
        let out = &mut out[base..];
        for i in 0..shots {
            let (byte, bit) = (i / 8, i % 8);
            match self {
                Bits::Bytes(values) => {
                    let row = &values[(start + i) * n_qubits..][..n_qubits];
                    row.iter().enumerate().for_each(|(q, &value)| out[q * plane + byte] |= value << bit);
                }
                Bits::Rows(values) => {
                    let width = n_qubits.div_ceil(64);
                    let row = &values[(start + i) * width..][..width];
                    let value = |q: usize| (row[q / 64] >> (q % 64) & 1) as u8;
                    (0..n_qubits).for_each(|q| out[q * plane + byte] |= value(q) << bit);
                }
            }
        }
    }
}

/// The packet of some queries of a version. `answers` and `teaches` hold the shots of the queries that teach, query after
/// query; of the latter those of a setting follow each other.
pub fn encode(version: &Version, span: &Span, answers: Bits<'_>, teaches: Bits<'_>) -> Result<Vec<u8>> {
    span.check()?;
    let shape = version.shape();
    let n = usize::from(shape.n_qubits);
    let sequence = Sequence::new(version, span.replica, span.incarnation);
    let teaching = sequence.teaching(span.first, span.queries, MAX_QUERIES as usize);
    let length = HEADER + teaching * shape.stride() + TRAILER;
    if length > MAX_BYTES {
        let expected = format!("at most {} that teach, in packets of {MAX_BYTES} bytes", shape.max_queries());
        return Err(Error::invalid("queries", expected, teaching.to_string()));
    }
    let (answer_shots, teach_shots) = (usize::from(shape.answer_shots), usize::from(shape.teach_shots));
    answers.check("answers", teaching * answer_shots, n)?;
    teaches.check("teaches", teaching * teach_shots, n)?;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&MAGIC);
    [FORMAT, ANSWERS].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    [shape.n_qubits, shape.answer_shots].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes.extend_from_slice(&version.fleet().to_le_bytes());
    [version.number(), version.hash()].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes.extend_from_slice(&span.replica.to_le_bytes());
    [span.incarnation, span.queries].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes.extend_from_slice(&span.first.to_le_bytes());
    [shape.teach_shots, shape.settings].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes.extend_from_slice(&span.dropped.to_le_bytes());
    for query in 0..teaching {
        answers.planes(query * answer_shots, answer_shots, n, &mut bytes);
        teaches.planes(query * teach_shots, teach_shots, n, &mut bytes);
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// A packet whose bytes are intact; what they mean is checked against a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the fleet learns.
    pub fleet: u64,
    /// Number of the version.
    pub version: u32,
    /// Its hash.
    pub hash: u32,
    /// Qubits and shots.
    pub shape: Shape,
    /// Whose queries.
    pub span: Span,
    /// The planes, query after query.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the header, and checks all that can be checked without the version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < HEADER + TRAILER || bytes.len() > MAX_BYTES {
            let reason =
                format!("{} bytes, where {} to {MAX_BYTES} are allowed", bytes.len(), HEADER + TRAILER);
            return Err(damaged(reason));
        }
        let (payload, trailer) = bytes.split_at(bytes.len() - TRAILER);
        let mut fields = Fields(payload);
        if fields.take::<4>()? != MAGIC {
            return Err(damaged("it does not begin with the mark of a packet"));
        }
        let (format, kind) = (fields.u16()?, fields.u16()?);
        if format > FORMAT {
            let (found, supported) = (format.into(), FORMAT.into());
            return Err(Error::NewerFormat { what: "packet".into(), found, supported });
        }
        if (format, kind) != (FORMAT, ANSWERS) {
            return Err(damaged(format!("format {format} of kind {kind} does not exist")));
        }
        let length = fields.u32()?;
        if length as usize != bytes.len() {
            return Err(damaged(format!("it claims {length} bytes and has {}", bytes.len())));
        }
        if crc32fast::hash(payload).to_le_bytes() != trailer {
            return Err(damaged("the checksum does not match (truncated or altered)"));
        }
        let (n_qubits, answer_shots) = (fields.u16()?, fields.u16()?);
        let (fleet, version, hash) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let (replica, incarnation, queries, first) =
            (fields.u64()?, fields.u32()?, fields.u32()?, fields.u64()?);
        let (teach_shots, settings, dropped) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let shape = Shape { n_qubits, answer_shots, teach_shots, settings };
        let span = Span { replica, incarnation, first, queries, dropped };
        shape.check().and_then(|()| span.check()).map_err(|e| damaged(e.to_string()))?;
        Ok(Packet { fleet, version, hash, shape, span, body: fields.0 })
    }

    /// Checks that it is of the version and holds what its sequence says; returns how many of its queries teach.
    pub fn check(&self, version: &Version) -> Result<usize> {
        if (self.fleet, self.version, self.hash) != (version.fleet(), version.number(), version.hash()) {
            let expected = format!("a packet of version {} of the fleet", version.number());
            return Err(Error::invalid("packet", expected, format!("one of version {}", self.version)));
        }
        if self.shape != version.shape() {
            return Err(damaged(format!("it has {:?}, and its version {:?}", self.shape, version.shape())));
        }
        let sequence = Sequence::new(version, self.span.replica, self.span.incarnation);
        // As few bytes can claim very many queries, no more are looked at than the bytes can hold, and one.
        let (found, stride) = (self.body.len(), self.shape.stride());
        let teaching = sequence.teaching(self.span.first, self.span.queries, found / stride + 1);
        if found != teaching * stride {
            let reason =
                format!("{found} bytes of planes do not hold the queries that teach, of {stride} each");
            return Err(damaged(reason));
        }
        if !self.padding_is_zero() {
            return Err(damaged("padding bits are set"));
        }
        Ok(teaching)
    }

    fn padding_is_zero(&self) -> bool {
        let clean = |planes: &[u8], shots: u16| {
            let (plane, used) = (usize::from(shots).div_ceil(8), shots % 8);
            used == 0 || planes.chunks_exact(plane).all(|plane| plane[plane.len() - 1] >> used == 0)
        };
        self.body.chunks_exact(self.shape.stride()).all(|query| {
            let (answers, teaches) = query.split_at(self.shape.answer_bytes());
            clean(answers, self.shape.answer_shots) && clean(teaches, self.shape.teach_shots)
        })
    }
}

fn damaged(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::corrupt("packet", reason)
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged("it ends too early"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
