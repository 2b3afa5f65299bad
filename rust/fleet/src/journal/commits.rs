//! Group commit: one of those who wait makes durable what has happened, for all, while others prepare what comes next.
//!
//! Nobody waits for a batch to fill: one is written at a time, and the next has all that came meanwhile. So a caller alone
//! waits for one sync, many share one, and the slower the disk, the more do. Who has written tells one of those who came too
//! late, who writes next, and the first of the others; each of these tells the one after him.
//!
//! Invariant: [`Commits::wait`] returns well when all that is before an event is on the disk; frames are written in the order
//! in which they were made. After a write that failed nothing is written any more: nobody knows what of it is on the disk
//! until it is read again.
//! Cost: a sync for a batch; a wake for each who waits.

use super::log::Log;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};

/// A frame, and the number of the event behind it.
pub type Batch = (Vec<u8>, u64);

/// A file of frames, and who waits until something is in it.
#[derive(Debug)]
pub struct Commits {
    /// How many events are on the disk; read without a lock by those who are told.
    durable: AtomicU64,
    end: AtomicU64,
    /// `None` once it is closed. Only who has the turn writes.
    log: Mutex<Option<Log>>,
    turn: Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    is_taken: bool,
    failure: Option<String>,
    waiting: Vec<Arc<Waiter>>,
    commits: u64,
}

/// Who waits for an event.
#[derive(Debug)]
struct Waiter {
    wanted: u64,
    thread: Thread,
    is_told: AtomicBool,
    /// Whom he tells.
    next: Mutex<Option<Arc<Waiter>>>,
}

impl Waiter {
    fn tell(&self) {
        self.is_told.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// What somebody was told; dropped, it tells the next.
///
/// All at once would want the same lock, that of an interpreter, and take turns at it. So it is to be dropped when that is
/// held: then each wakes while the one before him works.
#[derive(Debug)]
#[must_use]
pub struct Told {
    /// Whether all that he waited for is on the disk; else nothing is written any more.
    pub is_durable: bool,
    next: Option<Arc<Waiter>>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            next.tell();
        }
    }
}

impl Commits {
    /// Goes on with a file of frames, which ends at some place.
    pub fn open(path: &Path, key: &[u8], end: u64) -> io::Result<Self> {
        let log = Log::open(path, key, end)?;
        Ok(Commits {
            durable: AtomicU64::new(0),
            end: AtomicU64::new(end),
            log: Mutex::new(Some(log)),
            turn: Mutex::new(Turn::default()),
        })
    }

    /// Says how many events the file holds, before anybody waits.
    pub fn resume(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
    }

    /// How many events are on the disk.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Where the next frame goes.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Frames so far.
    pub fn commits(&self) -> u64 {
        self.turn().commits
    }

    /// Why nothing is written any more, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.turn().failure.clone()
    }

    /// Writes nothing any more; the first reason stays.
    pub fn fail(&self, reason: String) {
        let mut turn = self.turn();
        turn.failure.get_or_insert(reason);
        let waiting = std::mem::take(&mut turn.waiting);
        drop(turn);
        tell_all(waiting);
    }

    /// Lets go of the file, when nobody writes.
    pub fn close(&self) {
        *self.log.lock().expect("no write has panicked") = None;
    }

    /// Returns when all events before one are on the disk, or when they will not be. `batch` makes a frame of all that has
    /// happened since the last one.
    pub fn wait(&self, wanted: u64, batch: impl Fn() -> Option<Batch>) -> Told {
        let mut told = Told { is_durable: true, next: None };
        while self.durable() < wanted {
            let mut turn = self.turn();
            if self.durable() >= wanted {
                break; // until then somebody else had the turn
            }
            if turn.failure.is_some() {
                told.is_durable = false;
                break;
            }
            if !turn.is_taken {
                turn.is_taken = true;
                drop(turn);
                self.end_turn(self.write(batch()));
                continue;
            }
            let waiter = Arc::new(Waiter {
                wanted,
                thread: thread::current(),
                is_told: AtomicBool::new(false),
                next: Mutex::default(),
            });
            turn.waiting.push(waiter.clone());
            drop(turn);
            while !waiter.is_told.load(Ordering::Acquire) {
                thread::park();
            }
            told.next = waiter.next.lock().expect("nothing panics with it").take();
        }
        told
    }

    fn write(&self, batch: Option<Batch>) -> Result<u64, String> {
        let (frame, next) = batch.ok_or("what has happened went into another frame")?;
        match self.log.lock().expect("no write has panicked").as_mut() {
            Some(log) => {
                log.append(&frame).map_err(|error| error.to_string())?;
                self.end.store(log.end(), Ordering::Release);
                Ok(next)
            }
            None => Err("it was closed".to_owned()),
        }
    }

    /// Tells one of those who came too late that it is his turn, and the first of those who are done.
    fn end_turn(&self, written: Result<u64, String>) {
        let mut turn = self.turn();
        turn.is_taken = false;
        match written {
            Ok(next) => {
                turn.commits += 1;
                self.durable.store(next, Ordering::Release);
            }
            Err(reason) => {
                turn.failure.get_or_insert(reason);
            }
        }
        let (durable, has_failed) = (self.durable(), turn.failure.is_some());
        let (done, mut left): (Vec<_>, Vec<_>) =
            turn.waiting.drain(..).partition(|waiter| waiter.wanted <= durable || has_failed);
        let writes_next = left.pop();
        turn.waiting = left;
        drop(turn);
        writes_next.iter().for_each(|waiter| waiter.tell());
        tell_all(done);
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().expect("nothing panics in a turn")
    }
}

/// Tells the first, who tells the second, and so on.
fn tell_all(waiting: Vec<Arc<Waiter>>) {
    let mut first: Option<Arc<Waiter>> = None;
    for waiter in waiting.into_iter().rev() {
        *waiter.next.lock().expect("nothing panics with it") = first.replace(waiter.clone());
    }
    first.iter().for_each(|waiter| waiter.tell());
}
