//! The learner's side of a fleet: from the bits that replicas send to sums over queries.
//!
//! A replica answers a query with some of its shots and teaches with the others. What it teaches with, an entry of the
//! version's roster, follows from an integer sequence that it does not choose, so nothing about it is sent.
//!
//! ```text
//! version (shares, shots, seed) ──> sequence: which entry a query runs ──> packet: planes of bits
//!      │                                                                        │ join, admit
//!      v                                                                        v
//! reader (masks, coefficients) ──────────────────────> machine: pending, weights, one reading per query
//!                                                                                │ integers
//!                                                                                v
//!                                                     tally: sums per (version, bucket) ──> gradient, error bars
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`version`] | how the shots of a query are split, shares as integers, the hash that packets repeat |
//! | [`sequence`] | which entry a teach setting is: spread evenly over each query, independent between queries |
//! | [`packet`] | the bytes that cross: fixed layout, exact length, checked before they are believed |
//! | [`reader`] | what bits mean: bit-sliced masks over the shots of a query |
//! | [`tally`] | exact sums over queries, which merge by addition |
//! | [`codec`] | tallies as bytes |
//! | [`registry`] | who has joined, and what is expected of each next |
//! | [`pending`] | queries that wait for weights, bounded, oldest out first |
//! | [`journal`] | what has happened to a machine, as bytes, and the machine that it makes |
//! | [`machine`] | the state machine of a learner: refusals and counters, no clock, no thread, no IO |
//!
//! What holds everywhere:
//!
//! - A query counts once, under the version that it was answered with. A version never changes.
//! - Sums over queries are integers: merged in any order, on any number of threads, they have the same bits.
//! - Bytes from outside are checked before anything is allocated for them, and a refusal changes nothing but a counter.
//! - `admitted = taught + expired + pending + answered only`, exactly, after every call.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod codec;
pub mod journal;
pub mod machine;
mod masks;
pub mod packet;
pub mod pending;
pub mod reader;
pub mod registry;
pub mod sequence;
mod stored;
pub mod tally;
pub mod version;
