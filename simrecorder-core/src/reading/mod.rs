//! Reading: views, selections, iteration, and copying regions of elements.

pub(crate) mod group;
pub(crate) mod ragged_array;
pub(crate) mod record_iter;
pub(crate) mod region_copy;
pub(crate) mod selected_view;
pub(crate) mod selection;
pub(crate) mod view;
