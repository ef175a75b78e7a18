//! The columns of series as arrays. Their chunks are entries of the storage, which stores their
//! tails separately.

pub(crate) mod changes;
pub(crate) mod encoded;
pub(crate) mod reading;
#[cfg(test)]
mod tests;
