//! What can go wrong: whatever it is, it ends the measurement and is printed.

pub type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
