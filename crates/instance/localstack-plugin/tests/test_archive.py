import io
import zipfile

import pytest

from podsync_localstack.archive import ArchiveReader, ArchiveWriter, BrokenArchive


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
