//! The response: what one shot says of a word.
//!
//! A shot reveals the word with a known probability, and the sign that it then shows has the mean `contrast * <Q>`. The
//! contrast is one for an ideal readout; a calibrated or a gentle one has less. A revealed sign divided by
//! [`Response::factor`] (and nothing in the other shots) is an unbiased reading of `<Q>`.
//!
//! Every protocol enters estimates, predictions and designs by this type alone.
//!
//! Invariant: probability and contrast are in (0, 1], or the word is never revealed and both factors say so: an infinite
//! second moment.

/// What one shot says of a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    reveal: f64,
    contrast: f64,
}

impl Response {
    /// The response of an ideal readout that reveals the word with probability `reveal`.
    ///
    /// ```
    /// use efl_core::ensemble::Response;
    /// let response = Response::ideal(0.25);
    /// assert_eq!((response.factor(), response.second_moment()), (0.25, 4.0));
    /// assert_eq!(response.with_contrast(0.5).second_moment(), 16.0); // a weaker reading costs its square
    /// ```
    pub const fn ideal(reveal: f64) -> Self {
        Response { reveal, contrast: 1.0 }
    }

    /// The response with another contrast: the mean of the revealed sign over `<Q>`.
    pub const fn with_contrast(self, contrast: f64) -> Self {
        Response { contrast, ..self }
    }

    /// The probability that a shot reveals the word.
    pub const fn reveal(self) -> f64 {
        self.reveal
    }

    /// The mean of a revealed sign, over `<Q>`.
    pub const fn contrast(self) -> f64 {
        self.contrast
    }

    /// What a sign is divided by: the mean over all shots of the sign, or zero where nothing is revealed, over `<Q>`.
    pub fn factor(self) -> f64 {
        self.reveal * self.contrast
    }

    /// The second moment of a reading, and its variance on the maximally mixed state; infinite for a word that is never
    /// revealed.
    pub fn second_moment(self) -> f64 {
        1.0 / (self.reveal * self.contrast * self.contrast)
    }

    /// Whether any shot reveals the word.
    pub fn is_revealed(self) -> bool {
        self.reveal > 0.0
    }
}
