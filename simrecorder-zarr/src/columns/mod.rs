//! The columns of series as arrays: their chunks are entries of the storage, which keeps their
//! tails apart.

pub(crate) mod changes;
pub(crate) mod encoded;
pub(crate) mod reading;
#[cfg(test)]
mod tests;
