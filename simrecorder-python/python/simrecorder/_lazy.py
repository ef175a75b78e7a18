"""Views as iterators, and as arrays and tables of xarray, dask and pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._simrecorder import View

# The approximate number of bytes that are read at once.
_BATCH_BYTES = 4 << 20


def iterate(view: View) -> Iterator[Any]:
    """The records in order, read in batches."""
    count = len(view)
    record_bytes = view.nbytes // max(count, 1)
    batch = max(_BATCH_BYTES // max(record_bytes, 1), 1)
    if view.kind != "array":
        batch = min(batch, 1024)
    for start in range(0, count, batch):
        yield from view[start : start + batch]


def to_xarray(view: View) -> Any:
    """A `DataArray` that reads on use."""
    import xarray

    from ._xarray import lazy_variable

    variable = lazy_variable(view)
    coords = {name: (name, values) for name, values in view.coords.items()}
    name = view.key.rpartition("/")[2]
    return xarray.DataArray(variable, coords=coords, name=name, fastpath=False)


def to_dask(view: View, chunks: Any = None) -> Any:
    """A dask array, with the chunks of the series unless others are given."""
    import dask.array

    if view.kind != "array":
        raise TypeError(f"'{view.key}' is a series of kind {view.kind}, not of arrays of one shape")
    if chunks is None:
        chunks = tuple(max(1, min(chunk, size)) for chunk, size in zip(view.chunks, view.shape))
    meta = np.empty((0,) * view.ndim, view.dtype)
    return dask.array.from_array(view, chunks=chunks, name=False, meta=meta, asarray=True)


def to_pandas(view: View) -> Any:
    """A `Series`, or a `DataFrame` with a column for each element of the records."""
    import pandas

    index = None
    if view.ndim and view.dims[0] in view.coords:
        index = pandas.Index(view.coords[view.dims[0]], name=view.dims[0])
    if view.ndim == 1:
        return pandas.Series(np.asarray(view), index=index, name=view.key)
    if view.ndim == 2:
        columns = view.coords.get(view.dims[1])
        frame = pandas.DataFrame(np.asarray(view), index=index, columns=columns)
        return frame.rename_axis(columns=view.dims[1] if columns is not None else None)
    message = f"pandas has no table for the {view.ndim} axes of '{view.key}'; use to_xarray()"
    raise ValueError(message)
