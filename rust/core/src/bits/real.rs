//! Functions of real numbers that give the same bits on every machine.
//!
//! The standard library asks the C library of the system for sines and powers, and C libraries differ in the last bit: with
//! the CPU (glibc has variants with and without fused multiply-add), with the version, with the system. Here they
//! are Rust code, compiled with the rest. Sums, products, quotients and roots are exactly rounded everywhere and need
//! no such care; `f64::powi` is a chain of products.
//!
//! Invariant: nothing else in the crate calls a function of the C library whose result is not exactly rounded; the
//! lint `clippy::disallowed_methods` holds it. Cost: a sine and a cosine some 15 ns together, a power some 30 ns.

/// Sine and cosine of an angle in radians, each within one unit in the last place.
#[inline]
pub fn sin_cos(angle: f64) -> (f64, f64) {
    libm::sincos(angle)
}

/// `base` to the power of `exponent`.
#[inline]
pub fn power(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// How often `value`, finite and not negative, must be halved to be at most `most`.
pub fn halvings(mut value: f64, most: f64) -> u32 {
    let mut count = 0;
    while value > most {
        value /= 2.0;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_every_other_machine() {
        // Of musl, from which the code descends; glibc differs on some of such numbers.
        let bits = |values: (f64, f64)| (values.0.to_bits(), values.1.to_bits());
        let mut sum = 0u64;
        for k in 0..10_000 {
            let angle = (f64::from(k) - 5000.0) * 0.01307;
            let (sin, cos) = sin_cos(angle);
            assert!((sin * sin + cos * cos - 1.0).abs() < 4e-16);
            assert!((sin - sine(angle)).abs() < 3e-16, "{angle}");
            let (a, b) = bits((sin, cos));
            sum = sum.rotate_left(5) ^ a.wrapping_mul(3) ^ b ^ power(1.0 + f64::from(k), 0.61).to_bits();
        }
        assert_eq!(sum, 0xbf81_6972_b83a_248f, "{sum:#x}");
    }

    #[allow(clippy::disallowed_methods, reason = "the twin, of the C library")]
    fn sine(angle: f64) -> f64 {
        angle.sin()
    }

    #[test]
    fn halvings_are_counted() {
        assert_eq!([0.0, 0.25, 0.26, 0.5, 1e7].map(|v| halvings(v, 0.25)), [0, 0, 1, 1, 26]);
    }
}
