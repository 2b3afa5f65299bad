//! What a method is: how it finds its design, what the design costs, and what is run.
//!
//! Invariant: a design depends on the circuit, the angles and the design it starts from, never on the number of threads.

use super::candidates::Candidates;
use super::method::Method;
use super::not_applicable::NotApplicable;
use super::solver::Solver;
use crate::bits::parallel::Cancel;
use crate::circuit::Size;
use crate::design::families::Family;
use crate::design::search::ListDesign;
use crate::design::{Mix, Route};
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::experiment::{Pair, Readings};
use crate::stabiliser::Setting;
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

/// How a method finds its design.
pub(super) trait Approach: Sync {
    /// The best design at the angles of a solver.
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution>;

    /// The methods whose designs the search starts from where there is no plan before.
    fn starts_from(&self) -> &'static [Method] {
        &[]
    }

    /// The solution once all methods have been solved, given those of every method by its index.
    fn settle(&self, _: &Solver<'_>, own: Solution, _: &[Solution]) -> Result<Solution> {
        Ok(own)
    }
}

/// Where a search starts.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    /// What the method had in the plan before, if there was one.
    pub(super) former: Option<&'a Solution>,
    /// Without a plan before, what the methods of [`Approach::starts_from`] have found.
    pub(super) earlier: &'a [Solution],
}

impl Start<'_> {
    /// The families that a search for a list of settings starts from: those of the plan before, or of the last of the
    /// earlier methods that has some.
    pub(super) fn list(&self) -> Option<Cow<'_, ListDesign>> {
        match self.former {
            Some(former) => former.list().map(Cow::Borrowed),
            None => self.earlier.iter().rev().find_map(Solution::list).map(|list| Cow::Owned(list.alone())),
        }
    }
}

/// What a method comes to at some angles.
#[derive(Debug, Clone)]
pub(super) enum Solution {
    /// A design that can be run.
    Design(Arc<dyn Design>),
    /// No design, but none costs less than this.
    Bound(f64, NotApplicable),
    /// No design.
    Absent(NotApplicable),
}

impl Solution {
    pub(super) fn of(design: impl Design + 'static) -> Self {
        Solution::Design(Arc::new(design))
    }

    pub(super) fn design(&self) -> Option<&dyn Design> {
        match self {
            Solution::Design(design) => Some(&**design),
            Solution::Bound(..) | Solution::Absent(_) => None,
        }
    }

    pub(super) fn list(&self) -> Option<&ListDesign> {
        self.design()?.list()
    }

    /// Why there is no design.
    pub(super) fn reason(&self) -> Option<&NotApplicable> {
        match self {
            Solution::Design(_) => None,
            Solution::Bound(_, reason) | Solution::Absent(reason) => Some(reason),
        }
    }
}

/// How a method measures: what its shots cost and what is run.
pub(super) trait Design: Debug + Send + Sync {
    /// The variance of one shot of every row at the angles of a solver, infinite where a row that is needed there is
    /// not measured.
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>>;

    /// How many different circuits and settings are run; `None` where a setting is drawn for every shot.
    fn runs(&self) -> Option<usize>;

    /// The figures of its row in the table.
    fn figures(&self, structure: &Candidates, cancel: &Cancel) -> Result<Figures>;

    /// The distribution of its settings, if all shots are of the final state.
    fn ensemble(&self, structure: &Candidates, cancel: &Cancel) -> Result<Option<Ensemble>>;

    /// What its experiments are made from, each with its share of the shots; `None` where there is no list of them.
    fn sources<'p>(&'p self, structure: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>>;

    /// The same design with other shares of its sources, and other weights of the routes of each derivative; none where
    /// its shares are what it is.
    fn with_shares(&self, _: &[f64], _: Option<&[Mix]>) -> Option<Arc<dyn Design>> {
        None
    }

    /// The design without what holds at its own angles only; none where that is itself.
    fn of_all_angles(&self) -> Option<Arc<dyn Design>> {
        None
    }

    /// The families and shares, where that is what the design consists of: searches can start from them.
    fn list(&self) -> Option<&ListDesign> {
        None
    }
}

/// What a row of the table says of a design, beside its variances and the number of its settings.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Different circuits before the measurement.
    pub(super) circuits: usize,
    /// The largest circuit that is added to the original one.
    pub(super) extra: Size,
    /// Whether all shots are of the final state.
    pub(super) served: bool,
}

/// What an experiment is made from.
#[derive(Clone, Copy)]
pub(super) enum Source<'p> {
    /// A setting of the final state, whose words are pooled with those of the other families.
    Family(&'p Family),
    /// A setting of the final state with readings of its own.
    Setting(&'p Setting, &'p Readings),
    /// One of two circuits, the one that turns by a positive angle or the other.
    Turned {
        /// The two circuits.
        pair: &'p dyn Pair,
        /// The route that they are of.
        route: Route,
        /// Whether this is the one that turns by a positive angle.
        plus: bool,
    },
}

impl<'p> Source<'p> {
    /// Both circuits of a pair, which halve its share.
    pub(super) fn both(pair: &'p dyn Pair, route: Route, share: f64) -> [(Source<'p>, f64); 2] {
        [false, true].map(|plus| (Source::Turned { pair, route, plus }, share / 2.0))
    }
}

/// The size of the rotation of a setting.
pub(super) fn size_of(setting: &Setting) -> Size {
    Size { gates: setting.gates().len(), two_qubit_gates: setting.two_qubit_gates(), depth: setting.depth() }
}
