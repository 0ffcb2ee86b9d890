"""The zip that carries a state: written the same every time, read without trust in its names.

Members are stored, not deflated: podsync chunks, dedupes and compresses what is inside, and
compressed bytes would change all over for one byte of difference.
"""

import io
import shutil
import struct
import tempfile
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import IO, BinaryIO

from podsync_localstack import names

BLOCK = 1 << 20
# As many entries as a version of podsync has at most.
MOST_MEMBERS = 2_000_000
# The oldest time that a zip can say. The time of saving would make each save different.
_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100600 << 16
_ENCRYPTED = 0x1


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
        with self.open(name, len(data)) as member:
            member.write(data)

    def copy(self, name: str, source: IO[bytes], size: int) -> None:
        with self.open(name, size) as member:
            shutil.copyfileobj(source, member, BLOCK)

    def open(self, name: str, size: int) -> IO[bytes]:
        if name <= self._last:
            raise ValueError(f"member {name} comes after {self._last}")
        self._last = name
        info = zipfile.ZipInfo(name, _TIME)
        info.create_system = 3
        info.external_attr = _REGULAR_FILE
        # Decides between the short and the zip64 header, before the bytes are there.
        info.file_size = size
        return self._zip.open(info, "w", force_zip64=size >= 1 << 31)

    def close(self) -> None:
        self._zip.close()


class ArchiveReader:
    """An archive whose every byte was checked against its CRC-32 before the first is used."""

    def __init__(self, source: BinaryIO) -> None:
        try:
            self._zip = zipfile.ZipFile(source)
            self._check_shape(source.seek(0, io.SEEK_END))
            self._members = {info.filename: info for info in self._zip.infolist()}
            self._names = sorted(self._members)
            self._check_members()
        except _BROKEN as e:
            raise BrokenArchive(f"the body is not a whole zip archive: {e}") from e

    def _check_shape(self, length: int) -> None:
        """Nothing in the archive can become more than what was sent."""
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
        if broken := self._zip.testzip():
            raise zipfile.BadZipFile(f"member {broken} doesn't match its checksum")

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
        with self.open(name) as member:
            return member.read()

    def open(self, name: str) -> IO[bytes]:
        member = self._zip.open(self._members[name])
        # Checked when the archive was opened; a second sum would take as long as the first.
        member._expected_crc = None  # type: ignore[attr-defined]
        return member

    def close(self) -> None:
        self._zip.close()


_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, UnicodeDecodeError),
)
