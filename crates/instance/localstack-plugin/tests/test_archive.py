import io
import zipfile
from random import Random

import pytest

from podsync_localstack import zip_records
from podsync_localstack.archive import BLOCK, ArchiveReader, ArchiveWriter, BrokenArchive


def written(**members: bytes) -> bytes:
    target = io.BytesIO()
    archive = ArchiveWriter(target)
    for name, data in sorted(members.items()):
        archive.add(name, data)
    archive.close()
    return target.getvalue()


def test_the_same_members_give_the_same_bytes_stored_and_timeless():
    assert written(a=b"1", b=b"2") == written(b=b"2", a=b"1")
    with zipfile.ZipFile(io.BytesIO(written(a=b"1" * 100))) as archive:
        (info,) = archive.infolist()
    assert info.compress_type == zipfile.ZIP_STORED
    assert info.date_time == (1980, 1, 1, 0, 0, 0)


def by_zipfile(target, members):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100600 << 16
            archive.writestr(info, data)


def by_us(target, members):
    archive = ArchiveWriter(target)
    for name, data in members.items():
        archive.copy(name, io.BytesIO(data), len(data))
    archive.close()


SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]


@pytest.mark.parametrize(
    ("members", "begin"),
    [
        ({f"{at}": Random(at).randbytes(size) for at, size in enumerate(SIZES)}, 0),
        # More than a zip of the first kind can count, and further in than it can say.
        ({f"{at:05}": b"" for at in range(70_000)}, 0),
        ({"a": b"one", "b": b"two"}, 3 << 30),
    ],
)
def test_the_bytes_are_those_of_zipfile(tmp_path, members, begin):
    written = []
    for write in (by_zipfile, by_us):
        with (tmp_path / write.__name__).open("w+b") as target:
            target.seek(begin)
            write(target, members)
        with (tmp_path / write.__name__).open("rb") as file:
            file.seek(begin)
            written.append(file.read())
    assert written[0] == written[1]


def test_a_header_with_room_for_more_is_that_of_zipfile():
    info = zipfile.ZipInfo("name", (1980, 1, 1, 0, 0, 0))
    info.CRC, info.file_size, info.compress_size = 7, 5 << 30, 5 << 30
    assert zip_records.header(b"name", 7, 5 << 30, True) == info.FileHeader(zip64=True)
    assert zip_records.is_wide(5 << 30) and not zip_records.is_wide(1 << 30)


def test_a_member_that_breaks_off_is_none():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            return super().read(size) or self.fail()

        def fail(self):
            raise OSError("the disk is gone")

    target = io.BytesIO()
    archive = ArchiveWriter(target)
    archive.add("a", b"1")
    with pytest.raises(OSError):
        archive.copy("b", Broken(b"2" * 2 * BLOCK), 9 * BLOCK)
    archive.add("c", b"3")
    archive.close()
    assert target.getvalue() == written(a=b"1", c=b"3")


def test_members_out_of_order_are_a_bug():
    archive = ArchiveWriter(io.BytesIO())
    archive.add("b", b"")
    with pytest.raises(ValueError):
        archive.add("a", b"")
    with pytest.raises(ValueError):
        archive.add("b", b"")


def test_every_cut_and_every_flipped_bit_of_the_data_is_seen():
    whole = written(a=b"some bytes", b=b"more")
    ArchiveReader(io.BytesIO(whole)).close()
    for length in range(len(whole)):
        with pytest.raises(BrokenArchive):
            ArchiveReader(io.BytesIO(whole[:length]))
    flipped = bytearray(whole)
    flipped[whole.index(b"some bytes")] ^= 1
    with pytest.raises(BrokenArchive):
        ArchiveReader(io.BytesIO(flipped))


@pytest.mark.parametrize("name", ["../up", "/root", "a/../b"])
def test_a_member_that_climbs_is_refused(name):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(BrokenArchive):
        ArchiveReader(target)


def test_two_members_of_one_name_are_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(BrokenArchive):
        ArchiveReader(target)
