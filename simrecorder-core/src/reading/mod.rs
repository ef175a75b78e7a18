//! Reading: views, selections, coordinates, iteration, copying regions of elements, and the tree of keys.

pub(crate) mod coordinate;
pub(crate) mod envelope;
pub(crate) mod group;
pub(crate) mod nearest;
pub(crate) mod ragged_array;
pub(crate) mod record_iter;
pub(crate) mod region_copy;
pub(crate) mod selected_view;
pub(crate) mod selection;
pub(crate) mod statistics;
pub(crate) mod tree;
pub(crate) mod view;
