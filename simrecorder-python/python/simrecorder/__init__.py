"""Record simulation data by key, nearly for free, and read it back as lazy views.

>>> import numpy as np
>>> import simrecorder
>>> with simrecorder.create("run.mdb") as recorder:
...     recorder.set("meta/seed", 42)
...     with recorder.timeline("net", "time", units="ms") as net:
...         for step in range(100):
...             net.advance(0.1 * step)
...             net.record("rate", 0.5)
...             net.record("v", np.full(8, -65.0))
>>> recorder = simrecorder.open("run.mdb")
>>> recorder["net/v"].sel(time=slice(1.0, 1.95)).shape
(10, 8)
"""

import atexit

# The extension module needs it: if a first record imported it there, Ctrl-C meanwhile would be a panic.
import numpy  # noqa: F401

from ._errors import (
    AccessError,
    BufferFullError,
    CancelledError,
    ClosedError,
    CorruptError,
    DivergedError,
    Error,
    ExistsError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    InvalidKeyError,
    KeyNotFoundError,
    KindMismatchError,
    LockedError,
    OutOfBoundsError,
    PathNotFoundError,
    ReadOnlyError,
    SchemaMismatchError,
    StorageFullError,
    SystemFailureError,
    TooLargeError,
    TypeMismatchError,
    UnsupportedError,
)
from ._places import append, create, open
from ._simrecorder import Ragged, Recorder, Timeline, View, __version__, _close_all
from ._tools import Damage, copy, drain, record_dict, verify
from .datastores import (
    CompressionType,
    DatastoreType,
    HDF5DataStore,
    InMemoryDataStore,
    RedisDataStore,
    RedisServer,
    Serialization,
    ZarrDataStore,
    ZarrDatastore,
)

__all__ = [
    "AccessError",
    "BufferFullError",
    "CancelledError",
    "ClosedError",
    "CompressionType",
    "CorruptError",
    "Damage",
    "DatastoreType",
    "DivergedError",
    "Error",
    "ExistsError",
    "ForkedError",
    "HDF5DataStore",
    "InMemoryDataStore",
    "InternalError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "KeyNotFoundError",
    "KindMismatchError",
    "LockedError",
    "OutOfBoundsError",
    "PathNotFoundError",
    "Ragged",
    "ReadOnlyError",
    "Recorder",
    "RedisDataStore",
    "RedisServer",
    "SchemaMismatchError",
    "Serialization",
    "StorageFullError",
    "SystemFailureError",
    "Timeline",
    "TooLargeError",
    "TypeMismatchError",
    "UnsupportedError",
    "View",
    "ZarrDataStore",
    "ZarrDatastore",
    "__version__",
    "append",
    "copy",
    "create",
    "drain",
    "open",
    "record_dict",
    "verify",
]

# Recorders that were not closed write their records when the interpreter exits.
atexit.register(_close_all)
