//! How large a circuit is, in gates.
//!
//! Invariant: gates of disjoint wires share depth. Cost: linear in the number of gates.

use super::Operation;
use crate::gates::CliffordGate;

/// How large a circuit is. A rotation about a word of weight w counts as one gate, `2 (w - 1)` two-qubit gates and a
/// depth of `2 (w - 1) + 1`; any other gate on k wires as `k - 1` two-qubit gates and a depth of one. What a device does by itself does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Number of gates.
    pub gates: usize,
    /// Number of two-qubit gates.
    pub two_qubit_gates: usize,
    /// Longest sequence of gates, one after the other.
    pub depth: usize,
}

impl Size {
    /// The larger of each figure.
    pub(crate) fn largest(self, other: Size) -> Size {
        Size {
            gates: self.gates.max(other.gates),
            two_qubit_gates: self.two_qubit_gates.max(other.two_qubit_gates),
            depth: self.depth.max(other.depth),
        }
    }

    /// The size of some operations and of the gates of a setting after them.
    pub(crate) fn of<'o>(
        n_qubits: usize,
        operations: impl IntoIterator<Item = &'o Operation>,
        rotation: &[CliffordGate],
    ) -> Self {
        let mut size = Size::default();
        let mut clock = vec![0; n_qubits];
        let mut add = |wires: &[usize], two_qubit_gates: usize| {
            let start = wires.iter().map(|&q| clock[q]).max().unwrap_or_default();
            let lasts = if wires.len() == two_qubit_gates + 1 { 1 } else { two_qubit_gates + 1 };
            wires.iter().for_each(|&q| clock[q] = start + lasts);
            size.gates += 1;
            size.two_qubit_gates += two_qubit_gates;
            size.depth = size.depth.max(start + lasts);
        };
        for operation in operations.into_iter().filter(|operation| !operation.is_by_device()) {
            let wires: Vec<usize> = operation.wires().collect();
            let links = wires.len().saturating_sub(1);
            let is_rotation = matches!(operation, Operation::Rotation { .. });
            add(&wires, if is_rotation { 2 * links } else { links });
        }
        rotation.iter().for_each(|gate| add(gate.wires(), gate.wires().len() - 1));
        size
    }
}
