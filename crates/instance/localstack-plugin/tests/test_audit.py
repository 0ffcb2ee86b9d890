"""What a provider keeps outside of stores and backends is in the README, with its fate."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import audit
import moto
import pytest

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"^\| (`.*`) \| (?:saved|rebuilt|stays) \| \S.* \|$", re.MULTILINE)
PATTERNS = [
    pattern for row in ROW.findall(README.read_text()) for pattern in re.findall(r"`([^`]+)`", row)
]
# In one of the versions only.
OF_ONE_VERSION = {
    "cloudwatch.provider:CloudwatchProvider.tags",
    "iam.iam_patches:IAM_PATCHED",
    "iam.provider:IamProvider._*_lock",
    "iam.provider:IamProvider._aws_managed_policy_cache",
    "iam:BackendDict",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    _, left = audit.shown(tmp_path_factory.mktemp("services"))
    return audit.places(Path(moto.__file__).parents[1]) | left


def matches(place, pattern):
    return fnmatchcase(place.removeprefix("localstack.services."), pattern)


def test_what_lies_outside_of_stores_is_listed_with_a_reason(found):
    assert len(found) > 100
    unlisted = {it for it in found if not any(matches(it, pattern) for pattern in PATTERNS)}
    assert unlisted == set()


def test_no_row_is_of_something_that_is_gone(found):
    stale = {it for it in PATTERNS if not any(matches(place, it) for place in found)}
    assert stale <= OF_ONE_VERSION


SOURCE = """
import functools
HELD, NAMES, COUNT, FIXED = {}, [], 0, {"a": 1}

class ShopProvider(ShopApi):
    shared: dict = {}
    own = {}

    def __init__(self):
        self.own = {}
        self.orders = {}

    def take(self, key):
        self.shared[key] = FIXED["a"]

@functools.lru_cache
def remembered(): ...

def change(key):
    global COUNT
    COUNT += 1
    HELD[key] = 1
    NAMES.append(key)
    FIXED = {}
    FIXED["a"] = 2
    with open("file", "wb"), open("file", "r"): ...

def look():
    open("file")
    return FIXED
"""


def test_each_kind_is_found_and_what_only_looks_is_not():
    assert set(audit._Module(SOURCE).places()) == {
        "HELD",
        "NAMES",
        "COUNT",
        "ShopProvider.shared",
        "ShopProvider.own",
        "ShopProvider.orders",
        "remembered()",
        "change() writes",
    }
