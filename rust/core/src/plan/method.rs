//! The methods of measuring a gradient, by name.
//!
//! Invariant: the order of the table is that of preference among equals, here and in Python.

/// Makes the enum and its names out of one table.
macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $name:literal;)*) => {
        /// The methods of measuring a gradient, in the order of preference among equals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* $method),*
        }

        impl Method {
            /// Every method, in the order of preference among equals.
            pub const ALL: [Method; [$($name),*].len()] = [$(Method::$method),*];

            /// The name of the method.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Method::$method => $name),*
                }
            }
        }
    };
}

methods! {
    /// A random letter per qubit and snapshot.
    Uniform = "uniform";
    /// Letters with the best probabilities.
    Biased = "biased";
    /// A list of product settings.
    Product = "product";
    /// A list of Clifford settings.
    Clifford = "clifford";
    /// Clifford settings of small blocks, drawn independently.
    Block = "block";
    /// One setting per observable word, where all trainable generators commute.
    Commuting = "commuting";
    /// The layered echo.
    Echo = "echo";
    /// Settings, echoes and shifts together.
    Mixture = "mixture";
    /// Parameter-shift: relevant gates only, shots where they help most.
    ShiftPruned = "shift-pruned";
    /// Parameter-shift as general tools do it: every gate that is wired to the observable, equal shots.
    Shift = "shift";
}

impl Method {
    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The place of the method in [`Method::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
