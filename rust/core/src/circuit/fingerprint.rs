//! What tells circuits apart: their gates and which parameters feed them, not the values of these.
//!
//! Invariant: equal for circuits with the same operations. Cost: 15 ns for every number of an operation.

use super::{Angle, Circuit, Operation};
use crate::bits::fingerprint::Fingerprint;
use crate::gates::Matrix;

impl Circuit {
    /// The fingerprint of the gates and of how parameters and inputs feed them.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut found = Fingerprint::default();
        found.add(self.n_qubits() as u64);
        found.add(self.operations().len() as u64);
        self.operations().iter().for_each(|operation| add(&mut found, operation));
        found
    }
}

fn add(found: &mut Fingerprint, operation: &Operation) {
    match operation {
        Operation::Rotation { letters, angle } => {
            found.add(0);
            let number = |x: bool, z: bool| u64::from(x) | u64::from(z) << 1;
            found.add_all(letters.iter().map(|(q, l)| (*q as u64) << 2 | number(l.x(), l.z())));
            add_angle(found, *angle);
        }
        Operation::Permutation { wires, matrix, .. } => {
            found.add(1);
            add_wires(found, wires);
            add_matrix(found, matrix);
        }
        Operation::Transfer { wires, matrix: Some(matrix), by_device, .. } => {
            found.add(if *by_device { 5 } else { 2 });
            add_wires(found, wires);
            add_matrix(found, matrix);
        }
        Operation::Transfer { wires, forward, by_device, .. } => {
            found.add(if *by_device { 6 } else { 3 });
            add_wires(found, wires);
            let codes = 1 << (2 * wires.len());
            let entries = (0..codes).flat_map(|a| (0..codes).map(move |b| (a, b)));
            entries.for_each(|(a, b)| found.add_real(forward.value(a, b as u32)));
        }
        Operation::Evolution { wires, generator, angle } => {
            found.add(4);
            add_wires(found, wires);
            found.add_all(generator.iter().map(|(code, _)| *code as u64));
            generator.iter().for_each(|(_, weight)| found.add_real(*weight));
            add_angle(found, *angle);
        }
    }
}

fn add_wires(found: &mut Fingerprint, wires: &[usize]) {
    found.add_all(wires.iter().map(|wire| *wire as u64));
}

fn add_matrix(found: &mut Fingerprint, matrix: &Matrix) {
    for entry in matrix.entries() {
        found.add_real(entry.re);
        found.add_real(entry.im);
    }
}

fn add_angle(found: &mut Fingerprint, angle: Angle) {
    let (kind, index, numbers) = match angle {
        Angle::Fixed(angle) => (0, 0, [0.0, angle]),
        Angle::Trainable { parameter, scale, offset } => (1, parameter, [scale, offset]),
        Angle::Input { input, scale, offset } => (2, input, [scale, offset]),
    };
    found.add(kind);
    found.add(index as u64);
    numbers.into_iter().for_each(|number| found.add_real(number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Clifford;
    use crate::pauli::Letter;

    fn circuit(change: usize) -> Circuit {
        let mut made = Circuit::new(3, 2).unwrap();
        let wires = if change == 1 { [1, 0] } else { [0, 1] };
        made.clifford(if change == 2 { Clifford::Cz } else { Clifford::Cnot }, &wires).unwrap();
        let letter = if change == 3 { Letter::X } else { Letter::Y };
        let angle = match change {
            4 => Angle::parameter(1),
            5 => Angle::Trainable { parameter: 0, scale: 1.0, offset: 0.5 },
            6 => Angle::Fixed(1.0),
            _ => Angle::parameter(0),
        };
        made.rotation([(if change == 7 { 2 } else { 0 }, letter)], angle).unwrap();
        made
    }

    #[test]
    fn every_change_shows() {
        assert_eq!(circuit(0).fingerprint(), circuit(0).fingerprint());
        let mut all: Vec<Fingerprint> = (0..8).map(|change| circuit(change).fingerprint()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
