//! The routes to a derivative, and what there is one of per route.
//!
//! Invariant: a row is the average of its routes by weights that sum to one, or are all zero where it is not measured.
//! Cost: none.

use std::ops::{Index, IndexMut};

/// A kind of measurement that can give a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Settings on the final state.
    Settings,
    /// The layered echo.
    Echo,
    /// Parameter-shift.
    Shift,
}

impl Route {
    /// Every route.
    pub const ALL: [Route; 3] = [Route::Settings, Route::Echo, Route::Shift];
}

/// Something for every route: `parts[Route::Echo]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerRoute<T>([T; 3]);

/// The weights of the routes of a row.
pub type Mix = PerRoute<f64>;

impl<T> PerRoute<T> {
    /// What a function says of every route.
    pub fn of(of: impl FnMut(Route) -> T) -> Self {
        PerRoute(Route::ALL.map(of))
    }

    /// The parts, in the order of [`Route::ALL`].
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The parts, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl Mix {
    /// The row is not measured.
    pub const NONE: Mix = PerRoute([0.0; 3]);

    /// The row is measured by one route alone.
    pub fn only(route: Route) -> Self {
        PerRoute::of(|other| if other == route { 1.0 } else { 0.0 })
    }

    /// The sum of the weights.
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Divides every weight.
    pub fn divide(&mut self, by: f64) {
        self.0.iter_mut().for_each(|part| *part /= by);
    }
}

impl<T> Index<Route> for PerRoute<T> {
    type Output = T;

    fn index(&self, route: Route) -> &T {
        &self.0[route as usize]
    }
}

impl<T> IndexMut<Route> for PerRoute<T> {
    fn index_mut(&mut self, route: Route) -> &mut T {
        &mut self.0[route as usize]
    }
}
