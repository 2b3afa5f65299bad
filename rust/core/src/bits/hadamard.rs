//! The Walsh-Hadamard transform.
//!
//! Invariant: twice is `2^n` times the identity. Cost: `n 2^n` additions, in place.

/// The Walsh-Hadamard transform in place: probabilities become expectation values of parities.
pub(crate) fn hadamard(values: &mut [f64]) {
    let mut stride = 1;
    while stride < values.len() {
        for pair in values.chunks_exact_mut(2 * stride) {
            let (low, high) = pair.split_at_mut(stride);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        stride *= 2;
    }
}
