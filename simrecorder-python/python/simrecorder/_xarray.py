"""The engine `simrecorder` of xarray, and lazy variables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from xarray import Dataset, DataTree, Variable
from xarray.backends import AbstractDataStore, BackendArray, BackendEntrypoint
from xarray.core import indexing

from ._errors import KeyNotFoundError
from ._places import as_source
from ._simrecorder import Recorder, View

_SCHEMES = ("zarr:", "zarr+dir:", "hdf5:", "redis:", "rediss:", "redis+unix:")


class LazyArray(BackendArray):
    """The elements of a view, read on use."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.shape = view.shape
        self.dtype = view.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        read = self.view[key]
        if self.view.kind == "array":
            return read
        # A record is one element, even if it is an array or a list.
        if isinstance(key[0], (int, np.integer)):
            return _boxed(read)
        array = np.empty(len(read), dtype=object)
        for index, record in enumerate(read):
            array[index] = record
        return array


def _boxed(value: Any) -> Any:
    """An array without axes, with any object as its element."""
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def lazy_variable(view: View, dims: Iterable[str] | None = None) -> Variable:
    """A variable that reads on use. In dask, it has the chunks of the series."""
    dims = tuple(view.dims if dims is None else dims)
    data = indexing.LazilyIndexedArray(LazyArray(view))
    chunks = {dim: max(1, min(chunk, size)) for dim, chunk, size in zip(dims, view.chunks, view.shape)}
    return Variable(dims, data, attrs=view.attrs, encoding={"preferred_chunks": chunks})


class SimrecorderBackend(BackendEntrypoint):
    """Opens any recording as of one commit, even while it is being written."""

    description = "Open recordings of simrecorder, even while they are being written"
    url = "https://github.com/simrecorder/simrecorder"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "group")
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: str | os.PathLike[Any] | Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        **decoders: Any,
    ) -> Dataset:
        """The series and values of a group, by default those of the root."""
        groups = _load(filename_or_obj, group, only_root=True)
        return _decoded(groups["/"], drop_variables, decoders)

    def open_datatree(
        self,
        filename_or_obj: str | os.PathLike[Any] | Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        **decoders: Any,
    ) -> DataTree:
        """All groups, as of one commit."""
        return DataTree.from_dict(
            self.open_groups_as_dict(
                filename_or_obj, drop_variables=drop_variables, group=group, **decoders
            )
        )

    def open_groups_as_dict(
        self,
        filename_or_obj: str | os.PathLike[Any] | Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        **decoders: Any,
    ) -> dict[str, Dataset]:
        """All groups by path, as of one commit."""
        groups = _load(filename_or_obj, group)
        return {path: _decoded(one, drop_variables, decoders) for path, one in groups.items()}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a recording of simrecorder, by its contents."""
        if isinstance(filename_or_obj, Recorder):
            return True
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        text = os.fspath(filename_or_obj)
        if text.startswith(_SCHEMES):
            return True
        path = Path(text).expanduser()
        if (path / "data.mdb").is_file():
            return True
        try:
            if (path / "zarr.json").is_file():
                return b'"simrecorder' in (path / "zarr.json").read_bytes()
            # An HDF5 recording that is not closed yet; other engines do not see all of it.
            return path.with_name(path.name + ".journal").is_file()
        except OSError:
            return False


class _Group:
    """A group: its attributes, and its variables."""

    def __init__(self, path: str, attrs: dict[str, Any]) -> None:
        self.path = path
        self.attrs = attrs
        self.variables: dict[str, Variable] = {}
        # The lengths of dimensions. Those of coordinates come first.
        self.lengths: dict[str, int] = {}
        # The groups above and below. In a tree, a dimension has the same length in all of them.
        self.relatives: list[_Group] = []

    def add(self, name: str, content: Any, attrs: dict[str, Any]) -> None:
        """Adds a series or a value. Raises the error of one that cannot be read."""
        if isinstance(content, BaseException):
            raise content
        if isinstance(content, View):
            self.variables[name] = lazy_variable(content, self._dims(name, content.dims, content.shape))
            return
        value, names = content
        if not isinstance(value, (np.ndarray, np.generic, str, bytes)):
            # A list or a dict: one object.
            value = _boxed(value)
        shape = np.shape(value)
        given = names or [None] * len(shape)
        dims = [dim or f"dim_{axis}" for axis, dim in enumerate(given)]
        self.variables[name] = Variable(self._dims(name, dims, shape), value, attrs=attrs)

    def _dims(self, name: str, dims: Iterable[str], shape: tuple[int, ...]) -> list[str]:
        """The names of dimensions. Each has one length in the group."""
        named = []
        for axis, (dim, size) in enumerate(zip(dims, shape)):
            if dim == f"dim_{axis}" or not self._can_have(dim, size):
                dim = f"{name}_dim_{axis}"
            while not self._can_have(dim, size):
                dim += "_"
            self.lengths[dim] = size
            named.append(dim)
        return named

    def _can_have(self, dim: str, size: int) -> bool:
        return all(group.lengths.get(dim, size) == size for group in [self, *self.relatives])


def _load(source: Any, group: str | None, *, only_root: bool = False) -> dict[str, _Group]:
    """A group and all groups below it, by relative path, as of one commit."""
    root = (group or "").strip("/")
    try:
        nodes = as_source(source).nodes(root)
    except KeyNotFoundError as error:
        # Like other engines.
        raise OSError(str(error)) from error
    groups: dict[str, _Group] = {}
    contents: list[tuple[str, str, Any, dict[str, Any]]] = []
    for key, kind, content, attrs in nodes:
        path = key[len(root) :].strip("/")
        if kind == "group":
            attrs.pop("simrecorder_timeline", None)
            if not only_root or not path:
                groups["/" + path] = _Group(path, attrs)
        else:
            parent, _, name = path.rpartition("/")
            contents.append(("/" + parent, name, content, attrs))
    for one in groups.values():
        one.relatives = [other for other in groups.values() if _is_above(one, other) or _is_above(other, one)]
    # Coordinates come first: their lengths are those of the dimensions.
    contents.sort(key=lambda one: not _is_coordinate(one[1], one[2]))
    for parent, name, content, attrs in contents:
        if parent in groups:
            groups[parent].add(name, content, attrs)
    return groups


def _is_above(group: _Group, other: _Group) -> bool:
    return group is not other and (not group.path or other.path.startswith(group.path + "/"))


def _is_coordinate(name: str, content: Any) -> bool:
    if isinstance(content, View):
        return content.dims == (name,)
    return isinstance(content, tuple) and list(content[1] or []) == [name]


class _Loaded(AbstractDataStore):
    """A group as the decoders of xarray expect it."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    def get_variables(self) -> dict[str, Variable]:
        return self._group.variables

    def get_attrs(self) -> dict[str, Any]:
        return self._group.attrs


def _decoded(group: _Group, drop: str | Iterable[str] | None, decoders: dict[str, Any]) -> Dataset:
    from xarray.backends.store import StoreBackendEntrypoint

    decoders = {name: value for name, value in decoders.items() if value is not None}
    return StoreBackendEntrypoint().open_dataset(_Loaded(group), drop_variables=drop, **decoders)
