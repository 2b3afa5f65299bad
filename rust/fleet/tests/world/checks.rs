//! What has to be true at the end: all that was acknowledged is there once, and sums are those of the queries, added up in
//! another way.

use super::disk::Written;
use super::{Commit, VERSIONS, World, key, keys};
use efl_fleet::journal::{Applied, Event, Recorder, Replay};
use efl_fleet::machine::Outcome;
use efl_fleet::packet::Packet;
use efl_fleet::reader::{Query, Scratch, Weights};
use efl_fleet::tally::Tally;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// The network and the disk are well again: what still waits is handed over.
    pub(crate) fn heal(&mut self) {
        self.zombie = None;
        if self.learner.has_failed {
            drop(self.crash());
            self.zombie = None;
        }
        self.commit(Commit::Succeeds);
        if self.learner.has_failed {
            drop(self.crash());
            self.zombie = None;
        }
        self.flying.clear();
        for worker in 0..self.workers.len() {
            let mut tries = 0;
            while !self.workers[worker].queue.is_empty() {
                self.send(worker);
                let message = self.flying.pop().expect("it was sent");
                self.arrive(message);
                self.commit(Commit::Succeeds);
                tries += 1;
                assert!(tries < 200, "a packet is never taken");
            }
        }
    }

    pub(crate) fn check(&mut self) {
        let written = self.disk.written();
        let mut admitted: BTreeMap<(u64, u32, u64), usize> = BTreeMap::new();
        for (i, bytes) in written.packets.iter().enumerate() {
            for query in keys(&Packet::decode(bytes).expect("it was admitted").span) {
                assert!(admitted.insert(query, i).is_none(), "{query:?} was admitted twice");
            }
        }
        assert!(
            self.told.queries.iter().all(|query| admitted.contains_key(query)),
            "an acknowledged query is lost"
        );
        assert!(self.told.versions.is_subset(&written.versions), "a version that was handed out is lost");
        let (taught, taken, machine) = self.replayed();
        assert!(
            self.told.taught.iter().all(|query| taught.contains_key(query)),
            "an acknowledged weight is lost"
        );
        for (name, incarnation) in &self.told.incarnations {
            assert!(machine.machine().follows(*name).is_some_and(|(last, _)| last >= *incarnation));
        }
        let counts = machine.machine().counts();
        assert_eq!((counts.admitted, counts.taught), (admitted.len() as u64, taught.len() as u64));
        self.seen.taught += counts.taught;
        self.check_sums(&written, &admitted, &taught, &taken, &machine);
    }

    /// What the whole journal says: weights that taught, contributions that were taken, and the machine at its end.
    #[expect(clippy::type_complexity, reason = "three results of one walk")]
    fn replayed(&self) -> (BTreeMap<(u64, u32, u64), (Vec<f64>, f64)>, BTreeMap<u32, Tally>, Recorder) {
        let (mut taught, mut taken, mut replay) = (BTreeMap::new(), BTreeMap::new(), Replay::new());
        for frame in &self.disk.frames {
            let seen = |_, event: &Event<'_>, applied: Applied, _: &_| match (event, applied) {
                (Event::Weights { tickets, weights, losses }, Applied::Weighed(outcomes)) => {
                    let each = weights.len().checked_div(tickets.len()).unwrap_or(0);
                    let losses = losses.as_ref().expect("they were given");
                    for (i, ticket) in
                        tickets.iter().enumerate().filter(|(i, _)| outcomes[*i] == Outcome::Taught)
                    {
                        let own = (weights[i * each..][..each].to_vec(), losses[i]);
                        assert!(taught.insert(key(ticket), own).is_none(), "{ticket:?} has taught twice");
                    }
                }
                (_, Applied::Taken(tallies)) => {
                    tallies.into_iter().for_each(|(version, _, tally)| merge(&mut taken, version, &tally));
                }
                _ => {}
            };
            replay.frame(frame, seen).expect("an undamaged journal");
        }
        (taught, taken, replay.finish().expect("it has begun"))
    }

    /// Sums of each version: one query after the other from the packets on the disk, and as they were counted.
    fn check_sums(
        &self,
        written: &Written,
        admitted: &BTreeMap<(u64, u32, u64), usize>,
        taught: &BTreeMap<(u64, u32, u64), (Vec<f64>, f64)>,
        taken: &BTreeMap<u32, Tally>,
        recorder: &Recorder,
    ) {
        let mut expected: BTreeMap<u32, Tally> = BTreeMap::new();
        let mut scratch = Scratch::default();
        for (query, (weights, loss)) in taught.iter().rev() {
            let packet = Packet::decode(&written.packets[admitted[query]]).expect("it was admitted");
            let reader = &self.versions[packet.version as usize].1;
            let mut queries = Query::all(reader.version(), &packet.span, packet.body);
            let found = queries.find(|one| one.number == query.2).expect("it teaches");
            let weights = Weights::new(weights, reader.n_outputs(), 1).expect("one for each output");
            let contribution =
                reader.contribute(&found, weights, *loss, &mut scratch).expect("it was counted");
            let empty = || Tally::new(reader.n_parameters(), reader.n_outputs());
            assert!(expected.entry(packet.version).or_insert_with(empty).add(&contribution));
        }
        let mut found = taken.clone();
        for (version, _, tally) in recorder.machine().tallies(0, VERSIONS) {
            merge(&mut found, version, tally);
        }
        // A version that was given up has taken its sums with it, all but those that were handed out.
        let held: BTreeSet<u32> =
            recorder.machine().versions().map(|reader| reader.version().number()).collect();
        for version in held {
            assert!(found.get(&version) == expected.get(&version), "version {version} has other sums");
        }
    }
}

fn merge(sums: &mut BTreeMap<u32, Tally>, version: u32, tally: &Tally) {
    match sums.get_mut(&version) {
        Some(sum) => sum.merge(tally).expect("few queries"),
        None => drop(sums.insert(version, tally.clone())),
    }
}
