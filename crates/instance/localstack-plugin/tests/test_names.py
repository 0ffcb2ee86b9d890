import pytest

from podsync_localstack import names

ODD = [
    "",
    ".",
    "..",
    "../up",
    "/root",
    "a/b",
    "a//b",
    "a\0b",
    "a\\b",
    "%",
    "%2F",
    "~",
    "ä",
    "\udcff",
    "x" * 1024,
    "." + "x" * 1024,
    " ",
]


@pytest.mark.parametrize("key", ODD)
def test_a_key_is_one_segment_that_stays_inside(key):
    segment = names.segment(key)
    assert segment and "/" not in segment and not segment.startswith(".")
    assert segment.isascii() and len(segment) <= 255
    assert names.is_safe(names.s3_object("bucket", key, None))


def test_no_two_keys_share_a_name():
    keys = [
        *ODD,
        "x" * 1023 + "y",
        "%25",
        "%2f",
        "a%2Fb",
        "%2E.",
        "%2E%2E",
        names.segment("x" * 1024),
    ]
    assert len({names.segment(key) for key in keys}) == len(keys)


def test_objects_parts_and_versions_are_apart():
    assert names.s3_object("b", "k", None) == names.s3_object("b", "k", "null")
    assert (
        len(
            {
                names.s3_object("b", "k", None),
                names.s3_object("b", "k", "1"),
                names.s3_part("b", "k", 1),
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    "scope", [(None, None), ("000000000000", None), ("000000000000", "eu-central-1")]
)
def test_a_scope_is_read_back_from_its_member(scope):
    member = names.state("sqs", "store", "sqs", *scope)
    assert (
        names.parse_scope(member.removeprefix(names.container_folder("sqs", "store", "sqs")))
        == scope
    )


@pytest.mark.parametrize(
    "member", ["../x", "/x", "a/../b", "a/./b", "a//b", "a\\b", "a\0", "", "a/"]
)
def test_a_climbing_member_is_seen(member):
    assert not names.is_safe(member)
