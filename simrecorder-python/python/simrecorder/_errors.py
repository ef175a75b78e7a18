"""The exceptions of simrecorder, and its messages for `logging`."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("simrecorder")


class Error(Exception):
    """The base of all exceptions of simrecorder.

    `kind` is the kind of the error, `operation` and `key` tell where it occurred, and `is_retryable` whether the
    same call may succeed later.

    >>> try:
    ...     simrecorder.open("missing.mdb")
    ... except simrecorder.Error as error:
    ...     error.kind, error.operation
    ('NotFound', 'open')
    """

    kind: str = "Internal"
    operation: str = ""
    key: str | None = None
    is_retryable: bool = False

    def __init__(self, message: str) -> None:
        # OSError expects more arguments, and the `str` of KeyError would add quotes.
        Exception.__init__(self, message)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidKeyError(Error, ValueError):
    """A key is invalid, or the store cannot store it."""


class InvalidArgumentError(Error, ValueError):
    """An argument other than a key is wrong."""


class KeyNotFoundError(Error, KeyError):
    """There is nothing at this key."""


class PathNotFoundError(Error, FileNotFoundError):
    """There is no recording at this path."""


class ExistsError(Error, FileExistsError):
    """There is already something at this path or key."""


class KindMismatchError(Error, TypeError):
    """The operation does not apply to a key of this kind: a group, a value or a series."""


class SchemaMismatchError(Error, TypeError, ValueError):
    """A record differs from its series in type or shape."""


class TypeMismatchError(Error, TypeError):
    """A value has a type that cannot be recorded, or differs from the requested type."""


class OutOfBoundsError(Error, IndexError):
    """An index is outside the data."""


class TooLargeError(Error, MemoryError):
    """The result does not fit into memory."""


class ReadOnlyError(Error, PermissionError):
    """The recording was opened for reading."""


class ClosedError(Error, ValueError):
    """The recorder, timeline or store was closed."""


class ForkedError(Error, RuntimeError):
    """The recorder belongs to the process that forked this one."""


class LockedError(Error, TimeoutError):
    """Another writer has the recording open."""


class CorruptError(Error, ValueError):
    """Stored data cannot be decoded."""


class UnsupportedError(Error, NotImplementedError):
    """Written by a newer version, or with features that this version does not support."""


class StorageFullError(Error, OSError):
    """The file system is full."""


class BufferFullError(Error, BufferError):
    """The memory bound is reached and `memory_policy` is "error"."""


class DivergedError(Error, ValueError):
    """The stores of a recorder do not contain the same records."""


class AccessError(Error, PermissionError):
    """The system denied access."""


class CancelledError(Error):
    """The caller cancelled the operation."""


class SystemFailureError(Error, OSError):
    """Any other failure of the operating system."""


class InternalError(Error, RuntimeError):
    """A defect of simrecorder: please report it."""


_CLASSES: dict[str, type[Error]] = {
    "InvalidKey": InvalidKeyError,
    "InvalidArgument": InvalidArgumentError,
    "NotFound": KeyNotFoundError,
    "AlreadyExists": ExistsError,
    "KindMismatch": KindMismatchError,
    "SchemaMismatch": SchemaMismatchError,
    "TypeMismatch": TypeMismatchError,
    "OutOfBounds": OutOfBoundsError,
    "TooLarge": TooLargeError,
    "ReadOnly": ReadOnlyError,
    "Closed": ClosedError,
    "Forked": ForkedError,
    "Locked": LockedError,
    "Corrupt": CorruptError,
    "Unsupported": UnsupportedError,
    "StorageFull": StorageFullError,
    "BufferFull": BufferFullError,
    "Diverged": DivergedError,
    "PermissionDenied": AccessError,
    "Cancelled": CancelledError,
    "Io": SystemFailureError,
    "Internal": InternalError,
}

# Operations whose "key" is a path or a URL.
_OF_PATHS = {"open", "create", "append", "start", "connect"}


def make_exception(
    kind: str, message: str, operation: str, key: str | None, is_retryable: bool
) -> Error:
    """The exception for an error of the library."""
    made = _CLASSES.get(kind, Error)
    if kind == "NotFound" and operation in _OF_PATHS:
        made = PathNotFoundError
    error = made(message)
    error.kind, error.operation, error.key, error.is_retryable = kind, operation, key, is_retryable
    return error


def log(level: int, message: str) -> None:
    """Passes on a message of the library."""
    _LOGGER.log(level, "%s", message)
