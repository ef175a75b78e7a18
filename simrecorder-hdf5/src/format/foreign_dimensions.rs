//! Dimension names of other software: from dimension scales, as in netCDF-4, or from labels.

use hdf5_metno_sys::h5i::H5Iget_name;
use hdf5_metno_sys::h5r::hobj_ref_t;
use serde_json::Value as Json;
use simrecorder_core::Result;

use crate::format::attributes;
use crate::format::scales::{
    LABELS, NO_VARIABLE, dereference, is_link_name, is_scale, read_scales, scale_name,
};
use crate::library::{Handle, has_link, locked, reference};

/// Longer names are not keys.
const MAX_PATH: usize = 1 << 12;

/// The names of the axes of the dataset at `path`; `None` if no axis has a name. Damaged data gives
/// no names.
pub(crate) fn dimension_names(
    dataset: &Handle,
    path: &str,
    axes: usize,
) -> Option<Vec<Option<String>>> {
    let own = path.rsplit('/').next().unwrap_or_default();
    if axes == 1 && is_scale(dataset).unwrap_or(false) {
        return Some(vec![Some(own.to_owned())]);
    }
    let scales = read_scales(dataset).unwrap_or_default();
    let labels = attributes::read_named(dataset, LABELS).ok().flatten();
    let label = |axis: usize| {
        let label = labels.as_ref().and_then(Json::as_array)?.get(axis)?;
        label.as_str().filter(|label| !label.is_empty())
    };
    let mut names: Vec<Option<String>> = Vec::with_capacity(axes);
    for axis in 0..axes {
        let scale = scales
            .get(axis)
            .filter(|&&scale| scale != 0 && scales.len() == axes);
        let name = scale.and_then(|&scale| link_name(dataset, path, scale).ok().flatten());
        let name = name.or_else(|| label(axis).map(str::to_owned));
        // netCDF allows one dimension twice, for example in a covariance matrix.
        names.push(name.filter(|name| !names.iter().flatten().any(|other| other == name)));
    }
    names.iter().any(Option::is_some).then_some(names)
}

/// The name of the link to a scale, which is netCDF's name of the dimension. Most scales are in the
/// group of the dataset or above it, under the name that they contain; libhdf5 searches the whole
/// file for others.
fn link_name(dataset: &Handle, path: &str, scale: hobj_ref_t) -> Result<Option<String>> {
    let object = dereference(dataset, scale)?;
    let said = scale_name(&object)?;
    let said = said.filter(|name| is_link_name(name) && !name.starts_with(NO_VARIABLE));
    if let Some(name) = said {
        let mut at = path;
        while let Some((group, _)) = at.rsplit_once('/') {
            let link = format!("{group}/{name}");
            if has_link(dataset, &link)? && reference(dataset, &link)? == scale {
                return Ok(Some(name));
            }
            at = group;
        }
    }
    let mut path = vec![0_u8; MAX_PATH];
    // SAFETY: there is room for the given number of bytes, the last of which is a NUL.
    let len = locked(|| unsafe { H5Iget_name(object.id(), path.as_mut_ptr().cast(), path.len()) });
    let len = usize::try_from(len).unwrap_or(0);
    let path = path
        .get(..len)
        .and_then(|path| std::str::from_utf8(path).ok());
    let name = path.and_then(|path| path.rsplit('/').next());
    Ok(name.filter(|name| is_link_name(name)).map(str::to_owned))
}
