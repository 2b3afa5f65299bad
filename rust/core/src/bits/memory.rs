//! How much memory a computation may take: half of what the machine has left.
//!
//! An allocation that fails ends a Rust process, and one that the system grants but cannot back ends it later. So what
//! grows with the input, not with its size, is announced to a [`Held`] before it grows, and refused with an error that a
//! caller can catch. [`room`](super::room) serves what has a known size.
//!
//! Invariant: together, all that is held by a [`Held`] takes at most half of the memory that was left without it, as the
//! system, the control group and the limit on address space say; where nothing says so, of [`UNKNOWN`].
//! Cost: an atomic addition per growth; the system is asked once per [`STEP`] bytes.

use crate::error::{Error, Result};
use std::fs::read_to_string;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory of a machine that does not say how much it has left.
const UNKNOWN: u64 = 8 << 30;
/// Growth after which the system is asked again.
const STEP: u64 = 64 << 20;

/// Bytes that all [`Held`] hold.
static HELD: AtomicU64 = AtomicU64::new(0);
/// Up to where [`HELD`] may grow before the system is asked again.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Bytes that can be taken without driving the machine, the container or the process out of memory.
pub fn available() -> u64 {
    let sources = [machine(), control_group(), address_space()];
    sources.into_iter().flatten().min().unwrap_or(UNKNOWN)
}

/// What one computation may take: half of what is available.
pub fn budget() -> u64 {
    available() / 2
}

/// Refuses what takes more than the [`budget`].
pub fn check(what: &'static str, bytes: u64) -> Result<()> {
    // Small requests are not worth asking the system.
    if bytes > STEP / 16 && bytes > budget() {
        return Err(Error::Memory { what: what.into(), bytes: bytes.into() });
    }
    Ok(())
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The number after a key in lines such as `MemAvailable:  123 kB`, as bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = read_to_string(file).ok()?;
    number(text.lines().find_map(|line| line.strip_prefix(key))?)?.checked_mul(1024)
}

fn machine() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// What the control group of the process (a container) leaves; files in its cache can be dropped.
fn control_group() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let path =
        |of: &str| groups.lines().find_map(|line| line.split_once(of).map(|(_, path)| path.to_owned()));
    let left = |folder: String, limit: &str, used: &str, cache: &str| {
        let read = |name: &str| read_to_string(format!("{folder}/{name}")).ok();
        let limit = number(&read(limit)?)?;
        let dropped = read("memory.stat")?.lines().find_map(|line| number(line.strip_prefix(cache)?));
        Some(limit.saturating_sub(number(&read(used)?)?.saturating_sub(dropped.unwrap_or(0))))
    };
    let modern = |path: &str| {
        let folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
        left(folder, "memory.max", "memory.current", "inactive_file ")
    };
    let older = |path: &str| {
        let folder = format!("/sys/fs/cgroup/memory{}", path.trim_end_matches('/'));
        left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
    };
    // In a container the path may be that of the host, which is not mounted: then the root is the group's own.
    let both = [
        path("0::").and_then(|path| modern(&path)).or_else(|| modern("")),
        path(":memory:").and_then(|path| older(&path)).or_else(|| older("")),
    ];
    both.into_iter().flatten().min()
}

fn address_space() -> Option<u64> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    let limit = number(limits.lines().find_map(|line| line.strip_prefix("Max address space"))?)?;
    Some(limit.saturating_sub(kilobytes("/proc/self/status", "VmSize:")?))
}

/// What one growing structure holds; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(u64);

impl Held {
    /// Announces `bytes` more.
    pub(crate) fn add(&mut self, what: &'static str, bytes: u64) -> Result<()> {
        let before = HELD.fetch_add(bytes, Ordering::Relaxed);
        self.0 += bytes;
        let wanted = before.saturating_add(bytes);
        if wanted <= ASKED.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What is held has been taken from what is available, or will be soon.
        let limit = (available() + before) / 2;
        if wanted > limit && bytes > 0 && wanted > STEP / 16 {
            return Err(Error::Memory { what: what.into(), bytes: self.0.into() });
        }
        ASKED.store(wanted.saturating_add(STEP).min(limit), Ordering::Relaxed);
        Ok(())
    }

    /// Room for `more` values past the end of a list, which at least doubles if it has to grow.
    pub(crate) fn reserve<T>(&mut self, what: &'static str, list: &mut Vec<T>, more: usize) -> Result<()> {
        let wanted = list.len().saturating_add(more);
        if wanted <= list.capacity() {
            return Ok(());
        }
        let capacity = wanted.max(2 * list.capacity());
        let bytes = |count: usize| count as u64 * size_of::<T>() as u64;
        self.add(what, bytes(capacity - list.capacity()))?;
        let refused = |_| Error::Memory { what: what.into(), bytes: bytes(capacity).into() };
        list.try_reserve_exact(capacity - list.len()).map_err(refused)
    }

    /// Room for one more value.
    #[inline]
    pub(crate) fn push<T>(&mut self, what: &'static str, list: &mut Vec<T>, value: T) -> Result<()> {
        if list.len() == list.capacity() {
            self.reserve(what, list, 1)?;
        }
        list.push(value);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let left = HELD.fetch_sub(self.0, Ordering::Relaxed).saturating_sub(self.0);
        ASKED.fetch_min(left.saturating_add(STEP), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_and_given_back() {
        let mut held = Held::default();
        let mut list = Vec::<u64>::new();
        let error = held.reserve("a list", &mut list, 1 << 56).unwrap_err();
        assert!(matches!(error, Error::Memory { .. }), "{error}");
        assert_eq!(list.capacity(), 0);
        drop(held);
        let mut held = Held::default();
        (0..100_000).try_for_each(|i| held.push("a list", &mut list, i)).unwrap();
        assert_eq!((list.len(), list[99_999]), (100_000, 99_999));
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert!(available() > 1 << 20 && budget() <= available());
    }
}
