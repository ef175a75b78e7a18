"""Copying, draining and verifying recordings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ._places import as_source, as_store, open_store
from ._simrecorder import Recorder, Store, _copy, _drain, _verify

Place = str | os.PathLike[str]
Progress = Callable[[dict[str, Any]], Any]


def copy(
    source: Place | Recorder,
    target: Place | Recorder,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    reencode: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Copies a recording, or a part of it, from any store into any other.

    `include` and `exclude` are patterns of keys, such as `"net/**"`. `progress` is called with a dict of what was
    copied so far; the copy ends when it returns `False` or raises. Returns the amounts that were copied.

    >>> with simrecorder.create("run.mdb") as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.copy("run.mdb", "run.h5")["record_count"]
    1
    """
    with _Target(target) as store:
        return _copy(as_source(source), store, list(include), list(exclude), reencode, progress)


def drain(
    source: Place | Recorder,
    target: Place | Recorder,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    progress: Progress | None = None,
) -> dict[str, int]:
    """Moves records that a Redis server has on its disk into a file, and frees them there, while others record.

    The arguments are those of `copy`. Returns the amounts that were moved.
    """
    if isinstance(source, (str, os.PathLike)):
        from_store = open_store(source, "append")
    else:
        from_store = as_source(source)
    with _Target(target) as store:
        return _drain(from_store, store, list(include), list(exclude), progress)


class Damage(NamedTuple):
    """A part of a recording that cannot be read.

    >>> damage = simrecorder.Damage("net/v", (100, 110), ValueError("a chunk cannot be decoded"))
    >>> damage.key, damage.records
    ('net/v', (100, 110))
    """

    key: str
    #: The first record and the end, or None if the key itself cannot be read.
    records: tuple[int, int] | None
    error: Exception


def verify(source: Place | Recorder, *, progress: Progress | None = None) -> list[Damage]:
    """Reads a whole recording, and returns a list of the damaged parts.

    >>> with simrecorder.create("run.mdb") as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.verify("run.mdb")
    []
    """
    return [Damage(*damage) for damage in _verify(as_source(source), progress)]


def record_dict(recorder: Any, prefix: str, d: dict[str, Any]) -> None:
    """Records each value of a dict, at `prefix/name`."""
    recorder.record_dict(prefix, d)


class _Target:
    """The store to write to. It is closed at the end if it was opened here."""

    def __init__(self, target: Place | Recorder) -> None:
        self._is_own = isinstance(target, (str, os.PathLike))
        self._store: Store = target._flushed_store() if isinstance(target, Recorder) else as_store(target)

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *exception: object) -> None:
        if self._is_own:
            self._store.close()
