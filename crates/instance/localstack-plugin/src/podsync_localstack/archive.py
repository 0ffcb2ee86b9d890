"""The zip that carries a state: written the same every time, read without trust in its names.

Members are stored, not deflated: podsync chunks, dedupes and compresses what is inside, and
compressed bytes would change all over for one byte of difference.
"""

import io
import mmap
import shutil
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Protocol

from podsync_localstack import names

BLOCK = 1 << 20
# As many entries as a version of podsync has at most.
MOST_MEMBERS = 2_000_000
# The oldest time that a zip can say. The time of saving would make each save different.
_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100600 << 16
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
    return tempfile.TemporaryFile(prefix="podsync-")


class ArchiveWriter:
    """Writes members in the order of their names; breaking that order is a bug of the caller."""

    def __init__(self, target: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self._last = ""

    def add(self, name: str, data: bytes) -> None:
        if len(data) > BLOCK:
            with self.open(name, len(data)) as member:
                member.write(data)
            return
        # The bytes are complete, so the header needs no second write.
        info = self._info(name, len(data))
        info.compress_size = len(data)
        info.CRC = zlib.crc32(data)
        target: Any = self._zip.fp
        info.header_offset = self._zip.start_dir
        target.seek(info.header_offset)
        target.write(info.FileHeader() + data)
        self._zip.filelist.append(info)
        self._zip.NameToInfo[name] = info
        self._zip.start_dir = target.tell()
        self._zip._didModify = True  # type: ignore[attr-defined]

    def copy(self, name: str, source: Readable, size: int) -> None:
        first = source.read(BLOCK)
        second = source.read(BLOCK)
        if not second:
            self.add(name, first)
            return
        with self.open(name, size) as member:
            member.write(first)
            member.write(second)
            shutil.copyfileobj(source, member, BLOCK)

    def open(self, name: str, size: int) -> IO[bytes]:
        # Decides between the short and the zip64 header, before the bytes are there.
        return self._zip.open(self._info(name, size), "w", force_zip64=size >= 1 << 31)

    def _info(self, name: str, size: int) -> zipfile.ZipInfo:
        if name <= self._last:
            raise ValueError(f"member {name} comes after {self._last}")
        self._last = name
        info = zipfile.ZipInfo(name, _TIME)
        info.create_system = 3
        info.external_attr = _REGULAR_FILE
        info.file_size = size
        return info

    def close(self) -> None:
        self._zip.close()


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
        self._data.release()


class ArchiveReader:
    """An archive whose every byte was checked against its CRC-32 before the first is used."""

    def __init__(self, source: BinaryIO) -> None:
        try:
            self._bytes = _mapped(source)
            self._zip = zipfile.ZipFile(source)
            self._check_shape(source.seek(0, io.SEEK_END))
            self._members = {info.filename: info for info in self._zip.infolist()}
            self._names = sorted(self._members)
            self._check_members()
        except _BROKEN as e:
            raise BrokenArchive(f"the body is not a whole zip archive: {e}") from e

    def _check_shape(self, length: int) -> None:
        """Refuses compressed or overlapping members: they could unpack to more than the upload."""
        infos = self._zip.infolist()
        if len(infos) > MOST_MEMBERS:
            raise zipfile.BadZipFile(f"it has {len(infos)} members, and {MOST_MEMBERS} may be")
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
                raise zipfile.BadZipFile(f"member {info.filename!r} is compressed or encrypted")
        if sum(info.file_size for info in infos) > length:
            raise zipfile.BadZipFile("its members overlap")

    def _check_members(self) -> None:
        if len(self._members) != len(self._zip.infolist()):
            raise zipfile.BadZipFile("two members have one name")
        for name in self._names:
            if not names.is_safe(name):
                raise zipfile.BadZipFile(f"the member name {name!r} is not allowed")
        for name, info in self._members.items():
            if zlib.crc32(self._data(info)) != info.CRC:
                raise zipfile.BadZipFile(f"member {name} doesn't match its checksum")

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
        encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
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
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        return bytes(self._data(self._members[name]))

    def open(self, name: str) -> Member:
        return Member(self._data(self._members[name]))

    def close(self) -> None:
        self._zip.close()
        self._bytes = memoryview(b"")


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
