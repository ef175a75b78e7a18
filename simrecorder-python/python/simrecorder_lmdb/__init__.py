"""Recordings of simrecorder in LMDB, as a store of zarr-python 3.

    import xarray, zarr
    from simrecorder_lmdb import LmdbStore

    store = LmdbStore("run.mdb")
    zarr.open_group(store, mode="r")["net/v"][:50]
    xarray.open_zarr(store, group="net", consolidated=False)

The store is read only, and works even while simrecorder writes. It shows full chunks as of the last
commit. Records that do not fill a chunk yet are visible after `checkpoint()` or `close()`.

The module reads the file without an LMDB library. Python's `lmdb` contains LMDB 0.9, whose lock file
differs from that of simrecorder's LMDB, so neither can open what the other has open. Without locks,
the library may crash on pages that the writer is reusing. This module checks each page before using
it, and a read is valid only if the writer has not advanced too far meanwhile: transaction N reuses
pages that transaction N - 2 or an earlier one freed, and such pages were part of the state after N - 3
at the latest. So a read of the state after S is valid if the last transaction is S or S + 1
afterwards. Otherwise, it is repeated.

Large entries are in the files `chunks.0`, `chunks.1`, ..., and the database contains their places. The
writer reuses the space after it has replaced or removed an entry, so a read from such a file is valid
if the database has the same entry afterwards.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["DamagedError", "LmdbStore"]

T = TypeVar("T")

# How many seconds to try again while the writer commits faster than an entry is read.
_PATIENCE = 30.0

# MDB_page: its number, padding, flags, and two bounds or, with _OVERFLOW, the number of pages.
_PAGE = struct.Struct("<QHHHH")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
# MDB_meta: magic, version, address, map size; then, for the tree of free pages and for that of the
# entries: page size, flags, depth, four counts, root; then the last page and the last transaction.
_META = struct.Struct("<IIQQ" + 2 * "IHH5Q" + "QQ")
_META_START, _META_END = _PAGE.size, _PAGE.size + _META.size
_PAGE_SIZE_AT = _META_START + 24
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_PAGE = 2**64 - 1
# MDB_node: lower and upper half of the size of the value, flags, size of the key. In a branch,
# the first three are the number of the page below.
_NODE = struct.Struct("<HHHH")
_VALUE_HAS_PAGES = 1


# A chunk file: magic, version, its number, and the number that the recording gives all of them. The
# entry `\0c` of a recording that has such files: version and that number.
_CHUNK_FILE = struct.Struct("<8sIIQ")
_CHUNK_MAGIC = b"\x89SRC\r\n\x1a\n"
_CHUNK_MARK = struct.Struct("<IQ")
# An entry of a chunk file: 1, number of the file, offset, length, and the transaction that wrote it.
_EXTENT = struct.Struct("<BIQQQ")


class DamagedError(Exception):
    """The data file or a chunk file is damaged, or does not belong to a recording."""


class _OvertakenError(Exception):
    """The writer committed too often during a read."""


def _check(sound: bool) -> None:
    if not sound:
        raise DamagedError


def _newest_meta(file: int) -> tuple[int, ...] | None:
    """The fields of the meta page of the last transaction; None if there is no transaction yet."""

    def read() -> list[bytes]:
        first = os.pread(file, _META_END, 0)
        page_size = int.from_bytes(first[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 4], "little")
        return [first, os.pread(file, _META_END, page_size)]

    # The writer may be writing one of them.
    pages = read()
    while pages != (again := read()):
        pages = again
    if not any(pages[0]):
        return None
    _check(all(len(page) == _META_END for page in pages))
    metas = [_META.unpack_from(page, _META_START) for page in pages]
    _check(all(meta[:2] == (_MAGIC, _VERSION) and 512 <= meta[4] <= 65536 for meta in metas))
    return max(metas, key=lambda meta: meta[-1])


class _Tree:
    """The entries as of the last transaction at the time of creation."""

    def __init__(self, file: int) -> None:
        self._file = file
        meta = _newest_meta(file)
        self._transaction = meta[-1] if meta else 0
        if meta:
            self._page_size, flags, self._depth = meta[4], meta[13], meta[14]
            self._root, self._last_page = meta[-3:-1]
            _check(flags == 0 and self._depth < 64)
        self.is_empty = meta is None or self._root == _NO_PAGE

    def is_intact(self) -> bool:
        """Whether the writer cannot have changed any page of this tree so far."""
        meta = _newest_meta(self._file)
        return (meta[-1] if meta else 0) - self._transaction in (0, 1)

    def _page(self, number: int, kind: int, size: int) -> bytes:
        _check(2 <= number <= self._last_page)
        page = os.pread(self._file, size, number * self._page_size)
        _check(len(page) == size)
        own_number, _, flags, _, _ = _PAGE.unpack_from(page)
        _check(own_number == number and flags == kind)
        return page

    def _nodes(self, number: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
        """A page, and the offsets of its nodes."""
        page = self._page(number, kind, self._page_size)
        lower, upper = _PAGE.unpack_from(page)[3:]
        _check(_PAGE.size <= lower <= upper <= len(page) and lower % 2 == 0)
        nodes = struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", page, _PAGE.size)
        _check(all(upper <= node <= len(page) - _NODE.size for node in nodes))
        return page, nodes

    def _leaf(self, key: bytes) -> tuple[bytes, tuple[int, ...], bytes | None]:
        """The leaf to which `key` belongs, its nodes, and the first key after it."""
        number, after = self._root, None
        for _ in range(self._depth - 1):
            page, nodes = self._nodes(number, _BRANCH)
            _check(len(nodes) > 0)
            # The first node has no key and covers all keys before the second.
            index = bisect_right(nodes, key, 1, key=lambda node: _key(page, node)) - 1
            if index + 1 < len(nodes):
                after = _key(page, nodes[index + 1])
            low, middle, high, _ = _NODE.unpack_from(page, nodes[index])
            number = low | middle << 16 | high << 32
        return *self._nodes(number, _LEAF), after

    def keys(self, start: bytes) -> tuple[list[bytes], bytes | None]:
        """The keys from `start` on in its leaf, and the first key after the leaf."""
        if self.is_empty:
            return [], None
        page, nodes, after = self._leaf(start)
        _check(after is None or after > start)
        keys = [_key(page, node) for node in nodes]
        return [key for key in keys if key >= start], after

    def value(self, key: bytes, part: ByteRequest | None = None) -> bytes | bytearray | None:
        """The database value of a key, or a part of it; None if there is none."""
        if self.is_empty:
            return None
        page, nodes, _ = self._leaf(key)
        index = bisect_right(nodes, key, key=lambda node: _key(page, node)) - 1
        if index < 0 or _key(page, nodes[index]) != key:
            return None
        low, high, flags, key_size = _NODE.unpack_from(page, nodes[index])
        size, at = low | high << 16, nodes[index] + _NODE.size + key_size
        start, end = _bounds(part, size)
        if flags == 0:
            _check(at + size <= len(page))
            return page[at + start : at + end]
        _check(flags == _VALUE_HAS_PAGES and at + 8 <= len(page))
        number = int.from_bytes(page[at : at + 8], "little")
        header = self._page(number, _OVERFLOW, _PAGE.size)
        pages = int.from_bytes(header[-4:], "little")
        _check(number + pages <= self._last_page + 1)
        _check(_PAGE.size + size <= pages * self._page_size)
        at = number * self._page_size + _PAGE.size + start
        return _read_at(self._file, at, end - start)

    def entry(self, key: bytes, part: ByteRequest | None) -> bytes | bytearray | _Extent | None:
        """The bytes of an entry, a part of them, or their place; None if there is none."""
        mark = self.value(_MARK_KEY)
        if mark is None or key == b"zarr.json" or key.endswith(b"/zarr.json"):
            return self.value(key, part)
        value = self.value(key)
        if value is None:
            return None
        _check(len(value) > 0 and value[0] in (0, 1))
        if value[0] == 0:
            start, end = _bounds(part, len(value) - 1)
            return value[1 + start : 1 + end]
        _check(len(value) == _EXTENT.size and len(mark) == _CHUNK_MARK.size)
        version, token = _CHUNK_MARK.unpack(mark)
        _check(version == 1)
        return _Extent(token, bytes(value))


class _Extent(NamedTuple):
    """The place of an entry's bytes: the token of the recording's chunk files, and the entry."""

    token: int
    entry: bytes

    @property
    def file(self) -> str:
        return f"chunks.{_EXTENT.unpack(self.entry)[1]}"

    def read(self, folder: Path, part: ByteRequest | None) -> bytearray:
        _, number, offset, size, _ = _EXTENT.unpack(self.entry)
        start, end = _bounds(part, size)
        try:
            with open(folder / self.file, "rb", buffering=0) as file:
                header = file.read(_CHUNK_FILE.size)
                _check(header == _CHUNK_FILE.pack(_CHUNK_MAGIC, 1, number, self.token))
                _check(offset + size <= os.fstat(file.fileno()).st_size)
                return _read_at(file.fileno(), offset + start, end - start)
        except FileNotFoundError:
            raise DamagedError from None


def _read_at(file: int, at: int, size: int) -> bytearray:
    value = bytearray(size)
    done = 0
    while done < size:  # one call reads 2 GiB at most
        count = os.preadv(file, [memoryview(value)[done:]], at + done)
        _check(count > 0)
        done += count
    return value


def _read_once(file: int, read: Callable[[_Tree], T]) -> T:
    tree = _Tree(file)
    try:
        result = read(tree)
    except DamagedError:
        if tree.is_intact():
            raise
        raise _OvertakenError from None
    if not tree.is_intact():
        raise _OvertakenError
    return result


def _key(page: bytes, node: int) -> bytes:
    start = node + _NODE.size
    end = start + _NODE.unpack_from(page, node)[3]
    _check(end <= len(page))
    return page[start:end]


def _bounds(part: ByteRequest | None, size: int) -> tuple[int, int]:
    match part:
        case RangeByteRequest(start, end):
            return min(start, size), min(end, size)
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(size - suffix, 0), size
    return 0, size


class LmdbStore(Store):
    """The Zarr entries of a recording of simrecorder in LMDB, for reading.

    `path` is the path of the recording, the folder with `data.mdb`. No file stays open, so there is
    nothing to close. A store can be pickled and used by many threads and processes. Each entry is
    read as of the last commit at that moment.

    Raises `FileNotFoundError` if there is no such file, `DamagedError` if one of its pages is
    invalid, and `TimeoutError` if for half a minute a writer commits faster than an entry is read.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(read_only=True)
        self.path = Path(path).expanduser()
        if not self._data_file.exists():
            raise FileNotFoundError(f"'{self.path}' is not a recording in LMDB: it has no data.mdb")

    @property
    def _data_file(self) -> Path:
        return self.path / "data.mdb"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LmdbStore) and self.path == other.path

    def __repr__(self) -> str:
        return f"LmdbStore('{self.path}')"

    def _value(self, key: bytes, part: ByteRequest | None) -> bytes | bytearray | None:
        """The bytes of an entry, or a part of them; None if there is none."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            extent = self._read(lambda tree: tree.entry(key, part))
            if not isinstance(extent, _Extent):
                return extent
            try:
                value = extent.read(self.path, part)
            except DamagedError:
                value = None
            if self._read(lambda tree: tree.entry(key, part)) == extent:
                if value is None:
                    file = self.path / extent.file
                    raise DamagedError(f"'{file}', which contains '{key.decode()}', is damaged")
                return value
        message = f"the writer of '{self.path}' replaces an entry faster than it is read"
        raise TimeoutError(message)

    def _read(self, read: Callable[[_Tree], T]) -> T:
        """The result of `read` for the entries as of the last commit."""
        deadline = time.monotonic() + _PATIENCE
        damaged = 0
        while time.monotonic() < deadline:
            try:
                # Opened each time, because a new recording may have replaced it.
                with open(self._data_file, "rb", buffering=0) as file:
                    return _read_once(file.fileno(), read)
            except _OvertakenError:
                pass
            except DamagedError:
                # Try again: the file may just be being created.
                damaged += 1
                if damaged == 5:
                    message = f"'{self._data_file}' is damaged, or is not an LMDB data file"
                    raise DamagedError(message) from None
                time.sleep(0.002)
        message = f"the writer of '{self.path}' commits faster than an entry is read"
        raise TimeoutError(message)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if _is_private(key):
            return None
        value = await asyncio.to_thread(self._value, key.encode(), byte_range)
        return None if value is None else prototype.buffer.from_bytes(value)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def exists(self, key: str) -> bool:
        find = lambda tree: tree.value(key.encode(), RangeByteRequest(0, 0))
        return not _is_private(key) and await asyncio.to_thread(self._read, find) is not None

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for key in self._walk(prefix.encode(), whole=True):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        async for name in self._walk(prefix.encode(), whole=False):
            yield name

    async def _walk(self, prefix: bytes, whole: bool) -> AsyncIterator[str]:
        """The keys with a prefix, or the names that follow it, leaf by leaf."""
        start = max(prefix, _FIRST_KEY)
        while start is not None:
            keys, after = await asyncio.to_thread(self._read, lambda tree: tree.keys(start))
            for key in keys:
                if not key.startswith(prefix):
                    return
                if key < start:
                    continue
                name, slash, _ = key[len(prefix) :].partition(b"/")
                yield (key if whole else name).decode()
                # After this key, or after all keys of this folder.
                start = prefix + name + b"0" if slash and not whole else key + b"\0"
            start = None if after is None else max(start, after)

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()

    async def delete(self, key: str) -> None:
        self._check_writable()


# Keys that begin with a zero byte are private, not part of the Zarr hierarchy.
_FIRST_KEY = b"\1"
_MARK_KEY = b"\0c"


def _is_private(key: str) -> bool:
    return key.encode() < _FIRST_KEY
