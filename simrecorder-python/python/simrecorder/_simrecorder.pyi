"""The types of the extension module. Programs use `simrecorder`."""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from types import EllipsisType
from typing import Any, Literal, Self, TypeAlias, TypedDict, final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import disjoint_base

__all__ = [
    "Ragged",
    "Recorder",
    "RunningServer",
    "Store",
    "Timeline",
    "View",
    "__version__",
    "_close_all",
    "_copy",
    "_drain",
    "_open_view",
    "_simrec",
    "_verify",
]

__version__: str

_Place: TypeAlias = str | PathLike[str]
_Index: TypeAlias = int | np.integer[Any] | slice | EllipsisType | Sequence[int] | Sequence[bool] | NDArray[Any] | None
_Window: TypeAlias = tuple[int, int] | int

class _StoreStatus(TypedDict):
    name: str
    state: Literal["healthy", "failed", "closed", "unknown"]
    error: Exception | None
    queued_bytes: int
    committed_record_count: int
    commit_count: int

class _Status(TypedDict):
    series_count: int
    record_count: int
    buffered_bytes: int
    stores: list[_StoreStatus]

@final
class Ragged:
    """A row of a series whose rows differ in length: an array whose first axis may have another length in each
    record."""

    def __new__(cls, row: Any) -> Self: ...

@disjoint_base
class Recorder:
    """Records values by key into one or several stores, and reads them back."""

    def __new__(
        cls,
        *stores: Any,
        memory_bound: int = ...,
        memory_policy: Literal["block", "error"] = ...,
        commit_interval: float | None = ...,
        checkpoint_interval: float | None = ...,
        encoding_threads: int = ...,
        on_store_error: Literal["stop", "detach"] = ...,
        on_divergence: Literal["error", "cut-to-shortest", "shared-may-differ"] = ...,
    ) -> Self: ...
    @staticmethod
    def disabled() -> Recorder:
        """A recorder that does nothing."""
    def record(self, key: str, val: Any, datastore: Any = None) -> None:
        """Appends a record to the series at `key`."""
    def record_dict(self, prefix: str, d: dict[str, Any]) -> None:
        """Records each value of a dict, at `prefix/name`."""
    def set(
        self,
        key: str,
        val: Any,
        datastore: Any = None,
        *,
        dims: Sequence[str | None] | None = None,
        units: str | None = None,
        attrs: dict[str, Any] | None = None,
    ) -> None:
        """Sets the value at `key`."""
    def get(self, key: str, datastore: Any = None, default: Any = None) -> Any:
        """The value at `key`, or `default`."""
    def get_all(self, key: str, datastore: Any = None) -> View | list[Any] | None:
        """A lazy view of the series at `key`."""
    def __getitem__(self, key: str, /) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def keys(self) -> list[str]:
        """The keys of all series and values."""
    def children(self, key: str = "") -> dict[str, Literal["group", "value", "series"]]:
        """The children of a group."""
    def attributes(self, key: str = "") -> dict[str, Any]:
        """The attributes of the group, value or series at `key`."""
    def set_attributes(self, key: str, attrs: dict[str, Any]) -> None:
        """Replaces the attributes of the group, value or series at `key`."""
    def declare(
        self,
        key: str,
        dtype: DTypeLike | None = None,
        shape: Sequence[int] = ...,
        *,
        ragged: bool = False,
        dims: Sequence[str | None] | None = None,
        units: str | None = None,
        attrs: dict[str, Any] | None = None,
        chunks: int | Sequence[int] | None = None,
        compression: str | None = None,
        fill_value: Any = None,
    ) -> None:
        """Creates a series without records, or describes the one at `key`."""
    def timeline(
        self,
        group: str,
        coordinate: str,
        *,
        dtype: DTypeLike | None = None,
        units: str | None = None,
        attrs: dict[str, Any] | None = None,
    ) -> Timeline:
        """Opens the timeline of a group."""
    def rewind(self, name: str, t: float) -> None:
        """Removes every tick after `t` from all timelines whose coordinate is called `name`."""
    def truncate(self, key: str, len: int) -> None:
        """Cuts the series at `key` to its first `len` records."""
    def remove(self, key: str) -> None:
        """Removes the series, value or group at `key`."""
    def rename(self, old: str, new: str) -> None:
        """Moves the series, value or group at `old` to the key `new`."""
    def flush(self) -> None:
        """Commits everything."""
    def checkpoint(self) -> None:
        """Commits everything and writes it in the form that other software reads."""
    def close(self) -> None:
        """Writes everything and closes the stores."""
    def status(self) -> _Status:
        """The state of the recorder and its stores."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    def _repr_html_(self) -> str: ...
    def _flushed_store(self) -> Store: ...

@final
class Timeline:
    """A group whose series have one record per tick; `Recorder.timeline` opens it."""

    def advance(self, t: float) -> None:
        """Begins the tick at `t`, and completes the previous one."""
    def record(self, name: str, val: Any) -> None:
        """Records the open tick of the series called `name`."""
    def record_dict(self, d: dict[str, Any]) -> None:
        """Records the open tick of each series that a dict names."""
    def tick(self, t: float, records: dict[str, Any] | None = None, **more: Any) -> None:
        """Begins the tick at `t` and records all of it."""
    def declare(
        self,
        name: str,
        dtype: DTypeLike | None = None,
        shape: Sequence[int] = ...,
        *,
        ragged: bool = False,
        dims: Sequence[str | None] | None = None,
        units: str | None = None,
        attrs: dict[str, Any] | None = None,
        chunks: int | Sequence[int] | None = None,
        compression: str | None = None,
        fill_value: Any = None,
    ) -> None:
        """Creates a series without records."""
    def discard_tick(self) -> None:
        """Discards the open tick."""
    def rewind(self, t: float) -> None:
        """Removes every tick after `t`."""
    @property
    def last(self) -> float | int | None:
        """The coordinate of the last complete tick."""
    def __len__(self) -> int: ...
    def finish(self) -> None:
        """Completes the open tick and ends the timeline."""
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, *_exception: object) -> None: ...

@final
class View:
    """A lazy view of one series: a snapshot of its length, which reads only the requested parts."""

    @property
    def key(self) -> str: ...
    @property
    def kind(self) -> Literal["array", "ragged", "text", "bytes", "object"]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def chunks(self) -> tuple[int, ...]: ...
    @property
    def attrs(self) -> dict[str, Any]: ...
    @property
    def dims(self) -> tuple[str, ...]: ...
    @property
    def coords(self) -> dict[str, NDArray[Any]]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, brackets: _Index | tuple[_Index, ...], /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]: ...
    def sel(self, indexers: dict[str, Any] | None = None, method: Literal["nearest"] | None = None, **more: Any) -> View:
        """A view of the part with the given coordinates, both ends included."""
    def nearest(self, name: str, x: float) -> int:
        """The index along a dimension whose coordinate is nearest to `x`."""
    def refresh(self) -> View:
        """A view of the same series in its current state."""
    def follow(self, timeout: float) -> View:
        """Waits until there are more records, and returns a view with them."""
    def to_xarray(self) -> Any:
        """An xarray `DataArray` that reads on use."""
    def to_dask(self, chunks: Any = None) -> Any:
        """A dask array with the chunks of the series."""
    def to_pandas(self) -> Any:
        """A pandas `Series` or `DataFrame`."""
    def _repr_html_(self) -> str: ...

@final
class Store:
    """An open recording."""

    def __new__(
        cls,
        place: _Place,
        mode: str,
        location: str,
        durability: str | None = None,
        chunk_bytes: int | None = None,
        compression: str | None = None,
    ) -> Self: ...
    @staticmethod
    def in_memory() -> Store: ...
    def reopened(self) -> Store | None: ...
    def recorder(self) -> Recorder | None: ...
    @property
    def name(self) -> str: ...
    @property
    def is_read_only(self) -> bool: ...
    def close(self) -> None: ...
    def nodes(self, group: str) -> list[tuple[str, Literal["group", "value", "series"], Any, dict[str, Any]]]: ...

@final
class RunningServer:
    """A Redis server that runs until it is stopped."""

    def __new__(cls, data_directory: _Place, port: int | None, settings: list[tuple[str, str]]) -> Self: ...
    @property
    def port(self) -> int: ...
    @property
    def url(self) -> str: ...
    def stop(self) -> None: ...

def _close_all() -> None: ...
def _simrec(arguments: list[_Place]) -> int: ...
def _open_view(location: str, key: str, windows: list[_Window]) -> View: ...
def _copy(
    source: Store,
    target: Store,
    include: list[str],
    exclude: list[str],
    reencode: bool,
    progress: Callable[[dict[str, Any]], Any] | None,
) -> dict[str, int]: ...
def _drain(
    source: Store,
    target: Store,
    include: list[str],
    exclude: list[str],
    progress: Callable[[dict[str, Any]], Any] | None,
) -> dict[str, int]: ...
def _verify(
    store: Store, progress: Callable[[dict[str, Any]], Any] | None
) -> list[tuple[str, tuple[int, int] | None, Exception]]: ...
