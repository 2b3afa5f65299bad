//! Group commit: what was acknowledged is in the file, in its order, and nothing is after a write that failed.

use efl_core::Result;
use efl_fleet::journal::{Batch, Commits, Event, Frame, Recorder};
use efl_fleet::machine::Options;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const HEAD: usize = 16;
const KEY: [u8; 16] = [7; 16];

/// An empty file, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("efl-commits-{}-{name}", std::process::id()));
        File::create(&path).unwrap();
        Place(path)
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let (bytes, mut at, mut frames) = (fs::read(&self.0).unwrap(), 0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            frames.push(bytes[at + HEAD..at + HEAD + length].to_vec());
            at += HEAD + length;
        }
        frames
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// A machine whose notes are what happens.
struct Busy {
    recorder: Mutex<Recorder>,
    commits: Commits,
}

impl Busy {
    fn at(place: &Place) -> Self {
        let options = Options {
            fleet: 1,
            n_outputs: 1,
            n_parameters: 1,
            keep: 1,
            pending: 1,
            quota: 1,
            buckets: 1,
            replicas: 1,
        };
        let recorder = Mutex::new(Recorder::new(options).unwrap());
        Busy { recorder, commits: Commits::open(&place.0, &KEY, 0).unwrap() }
    }

    fn batch(&self) -> Option<Batch> {
        let cut = self.recorder.lock().unwrap().cut()?;
        let (frame, end) = cut.framed();
        self.recorder.lock().unwrap().bring_back(cut, end);
        Some((frame, end.next))
    }

    /// Writes something down, and says whether it was acknowledged.
    fn note(&self, body: &[u8]) -> bool {
        let wanted = {
            let mut recorder = self.recorder.lock().unwrap();
            recorder.note(200, body).unwrap();
            recorder.recorded()
        };
        let told = self.commits.wait(wanted, || self.batch());
        assert!(!told.is_durable || self.commits.durable() >= wanted);
        told.is_durable
    }
}

#[test]
fn many_share_a_write_and_find_what_they_were_told() {
    const CALLERS: u32 = 16;
    const EACH: u32 = 50;
    let place = Place::new("many");
    let busy = Busy::at(&place);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let busy = &busy;
            scope.spawn(move || {
                for i in 0..EACH {
                    assert!(busy.note(&(caller * EACH + i).to_le_bytes()));
                }
            });
        }
    });
    let (mut found, mut next) = (Vec::new(), 0);
    for frame in place.frames() {
        let frame = Frame::decode(&frame).unwrap();
        assert_eq!(frame.first, next);
        next = frame.end.next;
        for event in frame.events().collect::<Result<Vec<_>>>().unwrap() {
            if let Event::Note { body, .. } = event {
                found.push(u32::from_le_bytes(body.try_into().unwrap()));
            }
        }
    }
    assert_eq!(next, busy.commits.durable());
    assert_eq!(place.frames().len() as u64, busy.commits.commits());
    assert_eq!(fs::metadata(&place.0).unwrap().len(), busy.commits.end());
    for caller in 0..CALLERS {
        let own: Vec<u32> = found.iter().copied().filter(|i| i / EACH == caller).collect();
        assert_eq!(own, (caller * EACH..(caller + 1) * EACH).collect::<Vec<_>>());
    }
    assert_eq!(found.len() as u32, CALLERS * EACH);
}

#[test]
fn one_alone_writes_each() {
    let place = Place::new("alone");
    let busy = Busy::at(&place);
    assert!((0..10).all(|i| busy.note(&[i])));
    assert_eq!(busy.commits.commits(), 10);
    assert!(
        busy.commits.wait(busy.commits.durable(), || unreachable!("nothing is to be written")).is_durable
    );
}

/// All who wait are told, and whoever comes later.
#[test]
fn nothing_is_acknowledged_after_a_failure() {
    type Harm = fn(&Busy, &Place);
    let harms: [(&str, Harm); 3] = [
        ("written", |_, place| {
            File::options().append(true).open(&place.0).unwrap().write_all(b"by somebody else").unwrap();
        }),
        ("told", |busy, _| busy.commits.fail("no reason".to_owned())),
        ("closed", |busy, _| busy.commits.close()),
    ];
    for (name, harm) in harms {
        let place = Place::new(name);
        let busy = Busy::at(&place);
        let acknowledged = thread::scope(|scope| {
            let caller = || {
                let mut count = 0_u64;
                while busy.note(b"more") {
                    count += 1;
                }
                count
            };
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(caller)).collect();
            thread::sleep(Duration::from_millis(20));
            harm(&busy, &place);
            callers.into_iter().map(|caller| caller.join().unwrap()).sum::<u64>()
        });
        assert!(busy.commits.failure().is_some());
        assert!(!busy.note(b"later"));
        // The first event is that the machine is there.
        assert!(acknowledged < busy.commits.durable());
    }
}
