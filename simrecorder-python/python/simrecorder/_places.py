"""Opening recordings by path and URL."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ._errors import LockedError, TypeMismatchError
from ._simrecorder import Recorder, Store

_URL = re.compile(r"[a-z][a-z0-9+.-]+:")

# The recordings that views of other processes opened here, by process and location.
_opened: WeakValueDictionary[tuple[int, str], Store] = WeakValueDictionary()


def location_of(place: str | os.PathLike[str]) -> str:
    """The same place for a process with another working directory."""
    text = os.fspath(place)
    if _URL.match(text) and not os.path.exists(text):
        scheme, _, path = text.partition(":")
        if scheme in {"zarr", "zarr+dir", "hdf5"}:
            path, mark, options = path.partition("?")
            return f"{scheme}:{os.path.abspath(os.path.expanduser(path))}"
        return text
    return os.path.abspath(os.path.expanduser(text))


def open_store(
    place: str | os.PathLike[str],
    mode: str,
    *,
    durability: str | None = None,
    chunk_bytes: int | None = None,
    compression: str | None = None,
) -> Store:
    """Opens the store at a path or URL."""
    if os.fspath(place) == "memory:":
        return Store.in_memory()
    arguments = (place, mode, location_of(place), durability, chunk_bytes, compression)
    try:
        return Store(*arguments)
    except LockedError:
        # It may be locked by an unused recorder in a reference cycle.
        gc.collect()
        return Store(*arguments)


def open_for_views(location: str) -> Store:
    """The recording of a view that another process pickled."""
    key = os.getpid(), location
    store = _opened.get(key)
    if store is None:
        _opened[key] = store = open_store(location, "read")
    return store


def as_store(given: Any) -> Store:
    """The store for an argument of a recorder, opened for writing."""
    if isinstance(given, Store):
        return given
    if isinstance(given, (str, os.PathLike)):
        return open_store(given, "open-or-create")
    if hasattr(given, "_store_for_recorder"):
        return given._store_for_recorder()
    message = f"create recorder: a store must be a path, a URL or a data store, not {type(given).__name__}"
    raise TypeMismatchError(message)


def as_source(given: Any) -> Store:
    """The store to read from: the store of a recorder, or the one at a path or URL."""
    if isinstance(given, Recorder):
        return given._flushed_store()
    if isinstance(given, (str, os.PathLike)):
        return open_store(given, "read")
    return as_store(given)


def create(place: str | os.PathLike[str], **options: Any) -> Recorder:
    """Creates a recording at a free path, and opens it for recording.

    The extension names the format: `.mdb` (Zarr in LMDB), `.zarr` (Zarr in a directory), `.h5` or `.hdf5`. The
    options are those of `Recorder`, and `durability` ("power" or "process"), `chunk_bytes` and `compression`
    ("none", "fast", "small", "lossy:1e-3") of the store. Raises `FileExistsError` if the path exists.

    >>> recorder = simrecorder.create("run.mdb")
    >>> recorder.record("net/rate", 0.5)
    >>> recorder.close()
    """
    return _recorder(place, "create-new", options)


def open(place: str | os.PathLike[str], **options: Any) -> Recorder:
    """Opens a recording for reading: one of simrecorder, a Zarr directory, an HDF5 file, or a Redis URL.

    It is recognised by its contents, and can be read while it is being written. Raises `FileNotFoundError` if there is
    none.

    >>> with simrecorder.create("run.zarr") as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.open("run.zarr")["net/rate"][:]
    array([0.5])
    """
    return _recorder(place, "read", options)


def append(place: str | os.PathLike[str], **options: Any) -> Recorder:
    """Opens an existing recording for appending.

    Raises `FileNotFoundError` if there is none, and `LockedError` if another writer has it open.

    >>> with simrecorder.create("run.h5") as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> with simrecorder.append("run.h5") as recorder:
    ...     recorder.record("net/rate", 1.5)
    ...     len(recorder["net/rate"])
    2
    """
    return _recorder(place, "append", options)


def _recorder(place: str | os.PathLike[str], mode: str, options: dict[str, Any]) -> Recorder:
    of_store = {"durability", "chunk_bytes", "compression"}
    store = open_store(place, mode, **{name: options.pop(name) for name in of_store & set(options)})
    return Recorder(store, **options)
