//! Fewer settings than the optimum has: as few as are nearly as good, or no more than are wanted.
//!
//! Every circuit and setting costs something: a compilation and a transfer on hardware, time everywhere. Most of an
//! optimum's settings have small shares and hardly matter. What has the smallest share goes, as long as every word
//! stays revealed and every row measured, and the shares of the others are optimised again.
//!
//! Invariant: the estimate stays unbiased: a row leaves one of its ways only if another one is left.
//! Cost: a solution for the shares per step; a step takes a quarter or a third of what is too much.

use super::allocate::Direct;
use super::search::{Found, Search};
use crate::bits::parallel::Cancel;
use crate::error::Result;

/// What settings that are hardly needed may cost, in shots.
const SLACK: f64 = 1.005;

impl Search<'_> {
    /// The design without what hardly matters.
    pub(crate) fn thin(&self, mut found: Found, cancel: &Cancel) -> Result<Found> {
        let most = SLACK * found.shares.value;
        let mut direct = self.direct.to_vec();
        let mut count = found.families.len() / 4;
        while count > 0 {
            match self.step(&found, &direct, count, true, cancel)? {
                Some((fewer, left)) if fewer.shares.value <= most => (found, direct) = (fewer, left),
                _ => count /= 4,
            }
        }
        Ok(found)
    }

    /// The design with at most `most` circuits and settings, or how many are left when no more can go.
    pub(crate) fn limit(
        &self,
        mut found: Found,
        most: usize,
        cancel: &Cancel,
    ) -> Result<std::result::Result<Found, usize>> {
        let mut direct = self.direct.to_vec();
        while runs(&found) > most {
            let excess = runs(&found) - most;
            match self.step(&found, &direct, excess.div_ceil(3), false, cancel)? {
                Some((fewer, left)) => (found, direct) = (fewer, left),
                None => return Ok(Err(runs(&found))),
            }
        }
        Ok(Ok(found))
    }

    /// The design with `count` runs fewer, if any can go (settings of the final state only?), and what the direct measurements are still for.
    fn step(
        &self,
        found: &Found,
        direct: &[Direct],
        count: usize,
        settings_only: bool,
        cancel: &Cancel,
    ) -> Result<Option<(Found, Vec<Direct>)>> {
        let (mut fewer, mut direct) = (found.clone(), direct.to_vec());
        if !Thinning::new(self, &mut fewer, &mut direct).remove(count, settings_only) {
            return Ok(None);
        }
        let search = Search { direct: &direct, ..*self };
        fewer.shares = search.solve(&fewer.families, Some(&fewer.shares), self.effort / 16, false, cancel)?;
        // What measures nothing any more has a share that no step has taken away.
        let idle = fewer.shares.direct.iter_mut().zip(&direct).filter(|(_, d)| d.rows.is_empty());
        idle.for_each(|(share, _)| *share = 0.0);
        search.prune(&mut fewer.families, &mut fewer.shares);
        Ok(Some((fewer, direct)))
    }
}

/// How many circuits and settings are run: an echo or a shift is two circuits.
pub(crate) fn runs(found: &Found) -> usize {
    found.families.len() + 2 * found.shares.direct.iter().filter(|share| **share > 0.0).count()
}

/// What is left of a design.
struct Thinning<'a> {
    search: &'a Search<'a>,
    found: &'a mut Found,
    direct: &'a mut [Direct],
    /// For every word the families that reveal it.
    revealed: Vec<usize>,
    /// For every word the rows that read it in settings.
    readers: Vec<Vec<u32>>,
}

impl<'a> Thinning<'a> {
    fn new(search: &'a Search<'a>, found: &'a mut Found, direct: &'a mut [Direct]) -> Self {
        let sums = search.sums;
        let mix = &mut found.shares.mix;
        let weights = search.objective.weights();
        (0..mix.len()).filter(|&r| weights[r] == 0.0).for_each(|r| mix[r] = [0.0; 3]);
        // A way that a row does not use is closed to it.
        for measurement in direct.iter_mut() {
            let way = measurement.way as usize;
            measurement.rows.retain(|(r, _)| mix[*r as usize][way] > 0.0);
        }
        let mut revealed = vec![0; sums.words().len()];
        found.families.iter().flat_map(|f| &f.members).for_each(|&c| revealed[c as usize] += 1);
        let mut readers = vec![Vec::new(); sums.words().len()];
        for r in (0..sums.len()).filter(|&r| mix[r][0] > 0.0) {
            let (columns, coefficients) = sums.row(r);
            let read = columns.iter().zip(coefficients).filter(|(_, v)| **v != 0.0);
            read.for_each(|(&c, _)| readers[c as usize].push(r as u32));
        }
        Thinning { search, found, direct, revealed, readers }
    }

    /// Removes up to `count` runs, those with the smallest shares first; says whether there were any.
    fn remove(&mut self, count: usize, settings_only: bool) -> bool {
        let families = self.found.shares.families.iter().enumerate().map(|(k, share)| (*share, false, k));
        let direct = self.found.shares.direct.iter().enumerate().map(|(k, share)| (share / 2.0, true, k));
        let mut order: Vec<(f64, bool, usize)> =
            families.chain(direct).filter(|(share, ..)| *share > 0.0).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let (mut left, mut gone) = (count as isize, vec![false; self.found.families.len()]);
        for (_, is_direct, k) in order {
            if left <= 0 {
                break;
            }
            if is_direct && !settings_only && self.remove_direct(k) {
                left -= 2;
            } else if !is_direct && self.remove_family(k) {
                gone[k] = true;
                left -= 1;
            }
        }
        let mut kept = gone.iter();
        self.found.families.retain(|_| !kept.next().unwrap_or(&false));
        let mut kept = gone.iter();
        self.found.shares.families.retain(|_| !kept.next().unwrap_or(&false));
        left < count as isize
    }

    /// Rows that read a word of this family alone leave the settings, if they can.
    fn remove_family(&mut self, family: usize) -> bool {
        let members = self.found.families[family].members.clone();
        let sole = members.iter().filter(|&&c| self.revealed[c as usize] == 1);
        let mut leaving: Vec<u32> = sole.flat_map(|&c| self.readers[c as usize].clone()).collect();
        leaving.sort_unstable();
        leaving.dedup();
        if !leaving.iter().all(|&r| self.leave(r as usize, 0, true)) {
            return false;
        }
        leaving.iter().for_each(|&r| {
            self.leave(r as usize, 0, false);
        });
        members.iter().for_each(|&c| self.revealed[c as usize] -= 1);
        true
    }

    /// Its rows leave this way, in all measurements of its kind.
    fn remove_direct(&mut self, index: usize) -> bool {
        let way = self.direct[index].way as usize;
        let rows: Vec<usize> = self.direct[index].rows.iter().map(|(r, _)| *r as usize).collect();
        if !rows.iter().all(|&r| self.leave(r, way, true)) {
            return false;
        }
        rows.iter().for_each(|&r| {
            self.leave(r, way, false);
        });
        self.found.shares.direct[index] = 0.0;
        true
    }

    /// Whether a row has another way than this one, for which it then leaves it unless this is a `trial`.
    fn leave(&mut self, row: usize, way: usize, trial: bool) -> bool {
        let mix = &mut self.found.shares.mix[row];
        let rest: f64 = mix.iter().sum::<f64>() - mix[way];
        if rest <= 0.0 || trial {
            return rest > 0.0;
        }
        mix[way] = 0.0;
        mix.iter_mut().for_each(|part| *part /= rest);
        if way == 0 {
            self.search.sums.row(row).0.iter().for_each(|&c| {
                self.readers[c as usize].retain(|r| *r as usize != row);
            });
        } else {
            let own = self.direct.iter_mut().filter(|d| d.way as usize == way);
            own.for_each(|measurement| measurement.rows.retain(|(r, _)| *r as usize != row));
        }
        true
    }
}
