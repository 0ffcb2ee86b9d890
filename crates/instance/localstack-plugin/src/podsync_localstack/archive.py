"""The zip that carries a state: written the same every time, read without trust in its names.

Members are stored, not deflated: podsync chunks, dedupes and compresses what is inside, and
compressed bytes would change all over for one byte of difference.
"""

import io
import mmap
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

from podsync_localstack import names, zip_records

BLOCK = 1 << 20
# Small members are written together, and large blocks past the buffer.
_WRITTEN_TOGETHER = 128 << 10
# As many entries as a version of podsync has at most.
MOST_MEMBERS = 2_000_000
_ENCRYPTED = 0x1
_UTF8 = 0x800
# Its signature and the lengths of name and extra field; all else is in the directory as well.
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class BrokenArchive(Exception):
    """The bytes are not a whole archive."""


def spool() -> BinaryIO:
    """A private file without a name: the system drops it with its last handle."""
    return cast(BinaryIO, tempfile.TemporaryFile(prefix="podsync-", buffering=_WRITTEN_TOGETHER))


class ArchiveWriter:
    """Writes members in the order of their names; breaking that order is a bug of the caller."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._at = target.tell()
        self._entries: list[bytes] = []
        self._last = ""

    def add(self, name: str, data: bytes) -> None:
        encoded = self._next(name)
        size, crc = len(data), zlib.crc32(data)
        wide = zip_records.is_wide(size)
        header = zip_records.header(encoded, crc, size, wide)
        self._target.write(header)
        self._target.write(data)
        self._entries.append(zip_records.entry(encoded, crc, size, self._at, wide))
        self._at += len(header) + size

    def copy(self, name: str, source: Readable, size: int) -> None:
        """All of `source`, which was `size` bytes long when the caller looked."""
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            self.add(name, block)
            return
        encoded, wide = self._next(name), zip_records.is_wide(size)
        header = zip_records.header(encoded, 0, 0, wide)
        self._target.write(header)
        crc = size = 0
        try:
            while block:
                self._target.write(block)
                crc = zlib.crc32(block, crc)
                size += len(block)
                block = source.read(BLOCK)
            if zip_records.is_wide(size) and not wide:
                raise ValueError(f"it has grown to {size} bytes while it was read")
            self._target.seek(self._at)
            self._target.write(zip_records.header(encoded, crc, size, wide))
        except BaseException:
            # Half a member is none.
            self._target.seek(self._at)
            self._target.truncate()
            raise
        self._entries.append(zip_records.entry(encoded, crc, size, self._at, wide))
        self._at += len(header) + size
        self._target.seek(self._at)

    def _next(self, name: str) -> bytes:
        if name <= self._last:
            raise ValueError(f"member {name} comes after {self._last}")
        self._last = name
        return name.encode("ascii")

    def close(self) -> None:
        directory = b"".join(self._entries)
        self._target.write(directory)
        self._target.write(zip_records.end(len(self._entries), len(directory), self._at))
        self._target.flush()


class Member:
    """The bytes of one member, in as many pieces as the reader likes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        begin = self._position
        end = len(self._data) if size < 0 else min(begin + size, len(self._data))
        self._position = end
        return bytes(self._data[begin:end])

    def __enter__(self) -> "Member":
        return self

    def __exit__(self, *_: object) -> None:
        self._data = memoryview(b"")


class ArchiveReader:
    """An archive whose every byte was checked against its CRC-32 before the first is used."""

    def __init__(self, source: BinaryIO) -> None:
        try:
            self._bytes = _mapped(source)
            with zipfile.ZipFile(source) as found:
                infos = found.infolist()
            _check_shape(infos, source.seek(0, io.SEEK_END))
            self._members = self._checked_members(infos)
            self._names = sorted(self._members)
        except _BROKEN as e:
            raise BrokenArchive(f"the body is not a whole zip archive: {e}") from e

    def _checked_members(self, infos: list[zipfile.ZipInfo]) -> dict[str, memoryview]:
        members: dict[str, memoryview] = {}
        for info in infos:
            name = info.filename
            if name in members:
                raise zipfile.BadZipFile("two members have one name")
            if not names.is_safe(name):
                raise zipfile.BadZipFile(f"the member name {name!r} is not allowed")
            members[name] = data = self._data(info)
            if zlib.crc32(data) != info.CRC:
                raise zipfile.BadZipFile(f"member {name} doesn't match its checksum")
        return members

    def _data(self, info: zipfile.ZipInfo) -> memoryview:
        """Where a member's bytes are, by its own header; this must say the directory's name."""
        start = info.header_offset
        if start < 0:
            raise zipfile.BadZipFile(f"member {info.filename!r} begins before the archive")
        signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(self._bytes, start)
        start += _LOCAL_HEADER.size
        name = bytes(self._bytes[start : start + name_length])
        start += name_length + extra_length
        end = start + info.file_size
        encoding = "utf-8" if info.flag_bits & _UTF8 or name.isascii() else "cp437"
        if (
            signature != b"PK\x03\x04"
            or info.compress_size != info.file_size
            or end > len(self._bytes)
            or name.decode(encoding) != info.orig_filename
        ):
            raise zipfile.BadZipFile(f"the header of member {info.filename!r} is another one's")
        return self._bytes[start:end]

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def under(self, prefix: str) -> Iterator[str]:
        position = bisect_left(self._names, prefix)
        while position < len(self._names) and self._names[position].startswith(prefix):
            yield self._names[position]
            position += 1

    def size(self, name: str) -> int:
        return len(self._members[name])

    def read(self, name: str) -> bytes:
        return bytes(self._members[name])

    def open(self, name: str) -> Member:
        return Member(self._members[name])

    def close(self) -> None:
        self._members = {}
        self._bytes = memoryview(b"")


def _check_shape(infos: list[zipfile.ZipInfo], length: int) -> None:
    """Refuses compressed or overlapping members: they could unpack to more than the upload."""
    if len(infos) > MOST_MEMBERS:
        raise zipfile.BadZipFile(f"it has {len(infos)} members, and {MOST_MEMBERS} may be")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile(f"member {info.filename!r} is compressed or encrypted")
    if sum(info.file_size for info in infos) > length:
        raise zipfile.BadZipFile("its members overlap")


_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, UnicodeDecodeError),
)


def _mapped(source: BinaryIO) -> memoryview:
    """The whole of a file without reading it."""
    try:
        return memoryview(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))
    except (io.UnsupportedOperation, ValueError):
        # Not a real file, or empty.
        source.seek(0)
        return memoryview(source.read())
