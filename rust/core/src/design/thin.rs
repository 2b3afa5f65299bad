//! Fewer settings than the optimum has: as few as are nearly as good, or no more than are wanted.
//!
//! Every circuit and setting costs something: a compilation and a transfer on hardware, time everywhere. Most of an
//! optimum's settings have small shares and hardly matter. What has the smallest share goes, as long as every word
//! stays revealed and every row measured, and the shares of the others are optimised again.
//!
//! Invariant: the estimate stays unbiased: a row leaves one of its routes only if another one is left.
//! Cost: a solution for the shares per step; a step takes a quarter or a third of what is too much.

use super::allocate::DirectMeasurement;
use super::route::{Mix, Route};
use super::search::{ColumnGeneration, ListDesign};
use crate::bits::parallel::Cancel;
use crate::error::Result;

/// What settings that are hardly needed may cost, in shots.
const SLACK: f64 = 1.005;

impl ColumnGeneration<'_> {
    /// The design without what hardly matters.
    pub(crate) fn thin(&self, mut found: ListDesign, cancel: &Cancel) -> Result<ListDesign> {
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

    /// The design with at most `most` circuits and settings, or with as few as are possible.
    pub(crate) fn limit(&self, mut found: ListDesign, most: usize, cancel: &Cancel) -> Result<ListDesign> {
        let mut direct = self.direct.to_vec();
        while found.runs() > most {
            let excess = found.runs() - most;
            match self.step(&found, &direct, excess.div_ceil(3), false, cancel)? {
                Some((fewer, left)) => (found, direct) = (fewer, left),
                None => break,
            }
        }
        Ok(found)
    }

    /// The design with `count` runs fewer, if any can go, and what the direct measurements are still for; only settings
    /// of the final state go if `settings_only`.
    fn step(
        &self,
        found: &ListDesign,
        direct: &[DirectMeasurement],
        count: usize,
        settings_only: bool,
        cancel: &Cancel,
    ) -> Result<Option<(ListDesign, Vec<DirectMeasurement>)>> {
        let (mut fewer, mut direct) = (found.clone(), direct.to_vec());
        if !Thinning::new(self, &mut fewer, &mut direct).remove(count, settings_only) {
            return Ok(None);
        }
        let search = ColumnGeneration { direct: &direct, ..*self };
        fewer.shares = search.solve(&fewer.families, Some(&fewer.shares), self.effort / 16, false, cancel)?;
        // What measures nothing any more has a share that no step has taken away.
        let idle = fewer.shares.direct.iter_mut().zip(&direct).filter(|(_, d)| d.rows.is_empty());
        idle.for_each(|(share, _)| *share = 0.0);
        search.prune(&mut fewer.families, &mut fewer.shares);
        Ok(Some((fewer, direct)))
    }
}

/// What is left of a design.
struct Thinning<'a> {
    search: &'a ColumnGeneration<'a>,
    design: &'a mut ListDesign,
    direct: &'a mut [DirectMeasurement],
    /// For every word the families that reveal it.
    revealed: Vec<usize>,
    /// For every word the rows that read it in settings.
    readers: Vec<Vec<u32>>,
}

impl<'a> Thinning<'a> {
    fn new(
        search: &'a ColumnGeneration<'a>,
        design: &'a mut ListDesign,
        direct: &'a mut [DirectMeasurement],
    ) -> Self {
        let sums = search.sums;
        let mix = &mut design.shares.mix;
        let weights = search.objective.weights();
        (0..mix.len()).filter(|&r| weights[r] == 0.0).for_each(|r| mix[r] = Mix::NONE);
        // A route that a row does not use is closed to it.
        for measurement in direct.iter_mut() {
            let route = measurement.route;
            measurement.rows.retain(|(r, _)| mix[*r as usize][route] > 0.0);
        }
        let mut revealed = vec![0; sums.words().len()];
        design.families.iter().flat_map(|f| &f.members).for_each(|&c| revealed[c as usize] += 1);
        let mut readers = vec![Vec::new(); sums.words().len()];
        for r in (0..sums.len()).filter(|&r| mix[r][Route::Settings] > 0.0) {
            let (columns, coefficients) = sums.row(r);
            let read = columns.iter().zip(coefficients).filter(|(_, v)| **v != 0.0);
            read.for_each(|(&c, _)| readers[c as usize].push(r as u32));
        }
        Thinning { search, design, direct, revealed, readers }
    }

    /// Removes up to `count` runs, those with the smallest shares first; says whether there were any.
    fn remove(&mut self, count: usize, settings_only: bool) -> bool {
        let families = self.design.shares.families.iter().enumerate().map(|(k, share)| (*share, false, k));
        let direct = self.design.shares.direct.iter().enumerate().map(|(k, share)| (share / 2.0, true, k));
        let mut order: Vec<(f64, bool, usize)> =
            families.chain(direct).filter(|(share, ..)| *share > 0.0).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let (mut left, mut gone) = (count as isize, vec![false; self.design.families.len()]);
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
        self.design.families.retain(|_| !kept.next().unwrap_or(&false));
        let mut kept = gone.iter();
        self.design.shares.families.retain(|_| !kept.next().unwrap_or(&false));
        left < count as isize
    }

    /// Rows that read a word of this family alone leave the settings, if they can.
    fn remove_family(&mut self, family: usize) -> bool {
        let members = self.design.families[family].members.clone();
        let sole = members.iter().filter(|&&c| self.revealed[c as usize] == 1);
        let mut leaving: Vec<u32> = sole.flat_map(|&c| self.readers[c as usize].clone()).collect();
        leaving.sort_unstable();
        leaving.dedup();
        if !leaving.iter().all(|&r| self.can_leave(r as usize, Route::Settings)) {
            return false;
        }
        leaving.iter().for_each(|&r| self.leave(r as usize, Route::Settings));
        members.iter().for_each(|&c| self.revealed[c as usize] -= 1);
        true
    }

    /// The rows of an echo or a shift leave its route, in all measurements of it, if they can.
    fn remove_direct(&mut self, index: usize) -> bool {
        let route = self.direct[index].route;
        let rows: Vec<usize> = self.direct[index].rows.iter().map(|(r, _)| *r as usize).collect();
        if !rows.iter().all(|&r| self.can_leave(r, route)) {
            return false;
        }
        rows.iter().for_each(|&r| self.leave(r, route));
        self.design.shares.direct[index] = 0.0;
        true
    }

    /// Whether a row has another route than this one.
    fn can_leave(&self, row: usize, route: Route) -> bool {
        let mix = &self.design.shares.mix[row];
        mix.total() - mix[route] > 0.0
    }

    /// Takes a row off a route: the others carry it, and what is measured by this route is no more for it.
    fn leave(&mut self, row: usize, route: Route) {
        let mix = &mut self.design.shares.mix[row];
        let rest = mix.total() - mix[route];
        mix[route] = 0.0;
        mix.divide(rest);
        if route == Route::Settings {
            self.search.sums.row(row).0.iter().for_each(|&c| {
                self.readers[c as usize].retain(|r| *r as usize != row);
            });
        } else {
            let own = self.direct.iter_mut().filter(|d| d.route == route);
            own.for_each(|measurement| measurement.rows.retain(|(r, _)| *r as usize != row));
        }
    }
}
