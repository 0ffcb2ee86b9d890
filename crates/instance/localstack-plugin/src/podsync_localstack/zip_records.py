"""The records of a zip whose members are stored, ordinary files without times.

As `zipfile` writes them, byte for byte, and without an object for each member: that took longer
for a small one than all else did.
"""

import struct

# What doesn't fit is all ones in its own place, and goes into an extra field.
_ELSEWHERE = 0xFFFFFFFF
_MOST = 0x7FFFFFFF
_MOST_COUNTED = 0xFFFF
_PLAIN, _WIDE = 20, 45
_UNIX = 3
# The oldest that a zip can say. The time of saving would make each save different.
_DATE = 1 << 5 | 1
_REGULAR_FILE = 0o100600 << 16

_HEADER = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_WIDE_END = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")


def is_wide(size: int) -> bool:
    """Whether a member's header has room for more than it is expected to be."""
    return size * 1.05 > _MOST


def header(name: bytes, crc: int, size: int, wide: bool) -> bytes:
    extra = _extra([size, size]) if wide else b""
    narrow = _ELSEWHERE if wide else size
    version = _WIDE if wide else _PLAIN
    lengths = len(name), len(extra)
    fixed = _HEADER.pack(b"PK\x03\x04", version, 0, 0, 0, _DATE, crc, narrow, narrow, *lengths)
    return fixed + name + extra


def entry(name: bytes, crc: int, size: int, at: int, wide: bool) -> bytes:
    """The member that begins `at`, for the directory."""
    extra = b""
    narrow, place = size, at
    if size > _MOST or at > _MOST:
        extra = _extra(([size, size] if size > _MOST else []) + ([at] if at > _MOST else []))
        narrow = _ELSEWHERE if size > _MOST else size
        place = _ELSEWHERE if at > _MOST else at
    version = _WIDE if wide or extra else _PLAIN
    fixed = _ENTRY.pack(
        *(b"PK\x01\x02", version, _UNIX, version, 0, 0, 0, 0, _DATE, crc, narrow, narrow),
        *(len(name), len(extra), 0, 0, 0, _REGULAR_FILE, place),
    )
    return fixed + name + extra


def end(count: int, size: int, at: int) -> bytes:
    """What follows a directory of `count` members and `size` bytes that begins `at`."""
    wide = b""
    if count > _MOST_COUNTED or size > _MOST or at > _MOST:
        figures = count, count, size, at
        wide = _WIDE_END.pack(b"PK\x06\x06", _WIDE_END.size - 12, _WIDE, _WIDE, 0, 0, *figures)
        wide += _LOCATOR.pack(b"PK\x06\x07", 0, at + size, 1)
    few = min(count, _MOST_COUNTED)
    short, place = min(size, _ELSEWHERE), min(at, _ELSEWHERE)
    return wide + _END.pack(b"PK\x05\x06", 0, 0, few, few, short, place, 0)


def _extra(figures: list[int]) -> bytes:
    count = len(figures)
    return struct.pack(f"<2H{count}Q", 1, 8 * count, *figures)
