//! Pushed words times words of an observable, as index arithmetic that any coefficients can be put into.
//!
//! Invariant: products are added slot by slot, in the order in which they were found.
//! Cost: 8 bytes per product, which is what takes the time: they are read once from end to end.

use crate::bits::memory::Held;
use crate::bits::parallel::Cancel;
use crate::error::Result;

/// Slots between two looks at the flag that asks to stop.
const SLOTS: usize = 256;

/// The products of one pushed generator with one observable.
#[derive(Debug, Clone)]
pub(super) struct Products {
    /// The factor of each word of the observable, and the opposite: a sign that is looked up costs no branch.
    factors: Vec<[f64; 2]>,
    /// Where the products of each slot end.
    ends: Vec<usize>,
    products: Vec<Product>,
}

#[derive(Debug, Clone, Copy)]
struct Product {
    /// Position in the row.
    entry: u32,
    /// Twice the word of the observable, and one more for the opposite factor.
    factor: u32,
}

impl Products {
    /// None yet, of words with these factors.
    pub(super) fn of(factors: Vec<f64>) -> Self {
        let factors = factors.into_iter().map(|factor| [factor, -factor]).collect();
        Products { factors, ends: Vec::new(), products: Vec::new() }
    }

    /// One more, of this slot or a later one than before. The weight is the factor at its place, or the opposite.
    pub(super) fn push(
        &mut self,
        slot: usize,
        place: usize,
        entry: usize,
        weight: f64,
        held: &mut Held,
    ) -> Result<()> {
        let opposite = usize::from(weight != self.factors[place][0]);
        self.ends.resize(self.ends.len().max(slot + 1), self.products.len());
        let product = Product { entry: entry as u32, factor: (2 * place + opposite) as u32 };
        held.push(super::template::WHAT, &mut self.products, product)?;
        self.ends[slot] = self.products.len();
        Ok(())
    }

    /// Entries get other positions.
    pub(super) fn move_to(&mut self, places: &[u32]) {
        self.products.iter_mut().for_each(|product| product.entry = places[product.entry as usize]);
    }

    pub(super) fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.products.shrink_to_fit();
    }

    /// Adds all products to a row, given the coefficients of the slots.
    pub(super) fn add(&self, slots: &[f64], row: &mut [f64], cancel: &Cancel) -> Result<()> {
        let (factors, mut start) = (self.factors.as_flattened(), 0);
        for (slot, (&end, &coefficient)) in self.ends.iter().zip(slots).enumerate() {
            if slot % SLOTS == 0 {
                cancel.check()?;
            }
            for product in &self.products[start..end] {
                row[product.entry as usize] += factors[product.factor as usize] * coefficient;
            }
            start = end;
        }
        Ok(())
    }
}
