//! What everyone needs who speaks to MongoDB: what its errors are, and how they are told.

pub mod codes;
pub mod describe;
pub mod errors;
pub mod heard;
pub mod hosts;
pub mod identity;
pub mod privileges;
