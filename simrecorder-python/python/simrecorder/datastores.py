"""The data stores of the original SimRecorder, with its names, arguments and defaults."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Any

from ._errors import (
    AccessError,
    InvalidArgumentError,
    LockedError,
    PathNotFoundError,
    ReadOnlyError,
    UnsupportedError,
)
from ._places import open_store
from ._simrecorder import Recorder, RunningServer, Store

# The errors of opening a recording for writing that can still be read.
_NOT_WRITABLE = (LockedError, ReadOnlyError, AccessError, UnsupportedError)


class DatastoreType(Enum):
    """Where a `ZarrDataStore` stores its entries."""

    LMDB = 1
    DIRECTORY = 2


class CompressionType(Enum):
    """How a `ZarrDataStore` compresses."""

    #: Fast, the compression "fast" of simrecorder.
    BLOSC = 1
    #: Small, the compression "small" of simrecorder. It is not LZMA.
    LZMA = 2


class Serialization(Enum):
    """The serialisations of the original for Redis. Without effect: records are Arrow IPC, objects MessagePack."""

    PICKLE = 1
    PYARROW = 2


class _DataStore:
    """The methods of all data stores, in a `Recorder` or on their own."""

    #: The result of `get_all` without a series.
    _nothing: Any = None

    def __init__(self) -> None:
        # The store of the last recorder.
        self._shared: Store | None = None
        # The recorder of calls without a recorder, and whether it writes.
        self._own: Recorder | None = None
        self._is_writing = False

    def _open_for_writing(self) -> Store:
        raise NotImplementedError

    def _open_for_reading(self) -> Store:
        raise NotImplementedError

    def _store_for_recorder(self) -> Store:
        """The store for a recorder: open for writing, or for reading if it can only be read."""
        self.close()
        try:
            self._shared = self._open_for_writing()
        except _NOT_WRITABLE:
            # Another recorder of this program may use this object.
            if self._shared is None or self._shared.recorder() is None:
                self._shared = self._open_for_reading()
        return self._shared

    def connect(self) -> None:
        """Does nothing: the store is opened when it is used."""

    def _recorder(self, *, writing: bool) -> Recorder:
        shared = self._shared.recorder() if self._shared is not None else None
        if shared is not None:
            return shared
        if self._own is None or (writing and not self._is_writing):
            self.close()
            opened = self._open_for_writing() if writing else self._open_for_reading()
            self._own, self._is_writing = Recorder(opened), writing
        return self._own

    def append(self, key: str, val: Any) -> None:
        """Appends a record to the series at `key`."""
        self._recorder(writing=True).record(key, val)

    def set(self, key: str, val: Any) -> None:
        """Sets the value at `key`."""
        self._recorder(writing=True).set(key, val)

    def get(self, key: str) -> Any:
        """The value at `key`; None if there is none."""
        try:
            return self._recorder(writing=False).get(key)
        except PathNotFoundError:
            return None

    def get_all(self, key: str) -> Any:
        """A view of the series at `key`; None if there is none."""
        try:
            return self._recorder(writing=False).get_all(key)
        except PathNotFoundError:
            return self._nothing

    def close(self) -> None:
        """Writes everything and closes the store; the next call opens it again."""
        own, self._own, self._is_writing = self._own, None, False
        if own is not None:
            own.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class InMemoryDataStore(_DataStore):
    """Stores everything in memory. A second recorder with the same object has the same data.

    >>> data = simrecorder.InMemoryDataStore()
    >>> with simrecorder.Recorder(data) as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.Recorder(data)["net/rate"][:]
    array([0.5])
    """

    def __init__(self) -> None:
        super().__init__()
        self._data = Store.in_memory()
        self._nothing = []

    def _open_for_writing(self) -> Store:
        return self._data.reopened() or self._data

    _open_for_reading = _open_for_writing


class _FileDataStore(_DataStore):
    """A data store at a path."""

    def __init__(self, path: str | os.PathLike[str], scheme: str, **options: Any) -> None:
        super().__init__()
        self._path = Path(path).expanduser()
        self._scheme = scheme
        self._options = {name: value for name, value in options.items() if value is not None}

    def _open_for_writing(self) -> Store:
        # An existing recording is recognised by its contents, whatever its name.
        place = self._path if self._has_recording() else f"{self._scheme}:{self._path}"
        return open_store(place, "open-or-create", **self._options)

    def _open_for_reading(self) -> Store:
        return open_store(self._path, "read")

    def _has_recording(self) -> bool:
        return self._path.is_file() or (self._path.is_dir() and any(self._path.iterdir()))


class ZarrDataStore(_FileDataStore):
    """Zarr in LMDB or in a directory. An existing recording is continued.

    `CompressionType.LZMA` selects the compression "small". Files of the original SimRecorder can
    be read.

    >>> with simrecorder.Recorder(simrecorder.ZarrDataStore("run.mdb")) as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.open("run.mdb")["net/rate"][:]
    array([0.5])
    """

    def __init__(
        self,
        data_dir_pth: str | os.PathLike[str],
        desired_chunk_size_bytes: float = 1048576.0,
        datastore_type: DatastoreType = DatastoreType.LMDB,
        compression_type: CompressionType = CompressionType.BLOSC,
    ) -> None:
        compression = {CompressionType.BLOSC: "fast", CompressionType.LZMA: "small"}
        super().__init__(
            data_dir_pth,
            "zarr" if datastore_type is DatastoreType.LMDB else "zarr+dir",
            chunk_bytes=int(desired_chunk_size_bytes),
            compression=compression[compression_type],
        )


# The spelling in the README of the original.
ZarrDatastore = ZarrDataStore


class HDF5DataStore(_FileDataStore):
    """HDF5. An existing file is opened for reading.

    `compression` is "lzf", "gzip" or None, which select the compressions "fast", "small" and "none" of simrecorder.
    `chunk_cache_mem_size_bytes` has no effect: chunks are always written and read as a whole. With a
    `desired_chunk_size_bytes` of 0 or less, simrecorder chooses the size.

    >>> with simrecorder.Recorder(simrecorder.HDF5DataStore("run.h5")) as recorder:
    ...     recorder.record("net/rate", 0.5)
    >>> simrecorder.open("run.h5")["net/rate"][:]
    array([0.5])
    """

    def __init__(
        self,
        data_file_pth: str | os.PathLike[str],
        chunk_cache_mem_size_bytes: float = 20 * 2**30,
        desired_chunk_size_bytes: float = 0.1 * 2**20,
        compression: str | None = "lzf",
    ) -> None:
        names = {"lzf": "fast", "gzip": "small", None: "none"}
        if compression not in names:
            message = f"HDF5DataStore: there is no compression {compression!r}; use 'lzf', 'gzip' or None"
            raise InvalidArgumentError(message)
        super().__init__(
            data_file_pth,
            "hdf5",
            chunk_bytes=int(desired_chunk_size_bytes) if desired_chunk_size_bytes > 0 else None,
            compression=names[compression],
        )

    def _store_for_recorder(self) -> Store:
        if self._has_recording() and (self._shared is None or self._shared.recorder() is None):
            self.close()
            self._shared = self._open_for_reading()
            return self._shared
        return super()._store_for_recorder()

    def enable_swmr(self) -> None:
        """Does nothing: while this process writes, others can always read with simrecorder."""


class RedisDataStore(_DataStore):
    """A Redis server, on this or another host, to which many processes can write.

    `data_directory` has no effect: it is a setting of the server.
    """

    def __init__(
        self,
        server_host: str,
        redis_port: int = 65535,
        data_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self._url = f"redis://{server_host}:{redis_port}"

    def _open_for_writing(self) -> Store:
        return open_store(self._url, "open-or-create")

    def _open_for_reading(self) -> Store:
        return open_store(self._url, "read")


class RedisServer:
    """A Redis server on an existing data directory, whose data is loaded.

    `redis_port` is a number or "random". `config_file_path` is a file with settings of the server. The other
    arguments have no effect: records are Arrow IPC, objects are MessagePack, and chunks are compressed.
    """

    def __init__(
        self,
        data_directory: str | os.PathLike[str],
        redis_port: int | str = 65535,
        config_file_path: str | os.PathLike[str] | None = None,
        serialization: Serialization = Serialization.PICKLE,
        use_multiprocess_deserialization: bool = False,
        use_compression: bool = True,
    ) -> None:
        self._directory = Path(data_directory).expanduser()
        self._port = redis_port
        self._config_file = config_file_path
        self._server: RunningServer | None = None

    def start(self) -> None:
        """Starts the server, and waits until it is ready."""
        if not self._directory.is_dir():
            message = f"start '{self._directory}': the folder does not exist; create it"
            raise PathNotFoundError(message)
        if self._server is None:
            port = None if self._port == "random" else int(self._port)
            self._server = RunningServer(self._directory, port, self._settings())

    def _settings(self) -> list[tuple[str, str]]:
        if self._config_file is None:
            return []
        lines = Path(self._config_file).expanduser().read_text().splitlines()
        words = [line.split(maxsplit=1) for line in lines if line.strip() and not line.lstrip().startswith("#")]
        return [(name, rest[0].strip() if rest else "") for name, *rest in words]

    def stop(self) -> None:
        """Stops the server, and waits until everything is on disk."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def port(self) -> int:
        """The port of the server, even if it was chosen randomly."""
        return self._server.port if self._server is not None else int(self._port)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
