"""Which software this instance is, and whether it can hold a state that another one saved."""

import platform
import re
from importlib.metadata import version
from typing import Any

from localstack import constants

from podsync_localstack import __version__

FORMAT = "podsync-localstack-state"
# 1: the first. 2: also holds providers' globals, and lists work that was under way.
# A reader refuses unknown numbers. An older format only lacks the newer parts.
FORMAT_VERSION = 2
_READ = frozenset({1, 2})


class IncompatibleState(Exception):
    """The state is whole, but not for this instance."""


def describe() -> dict[str, Any]:
    return {
        "localstack_version": constants.VERSION,
        "localstack_ext_version": "",
        "moto_ext_version": version("moto-ext"),
        "pro": False,
        "podsync_localstack_version": __version__,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "python_version": python_version(),
    }


def python_version() -> str:
    major, minor, _ = platform.python_version_tuple()
    return f"{major}.{minor}"


def require_loadable(metadata: dict[str, Any]) -> None:
    """Raises IncompatibleState with what would work instead."""
    if metadata.get("format") != FORMAT:
        raise IncompatibleState(
            "this state was not saved by podsync's companion plugin; "
            "load it into the kind of LocalStack that saved it"
        )
    if metadata.get("format_version") not in _READ:
        raise IncompatibleState(
            f"the state has format version {metadata.get('format_version')}, this plugin reads "
            f"up to {FORMAT_VERSION}; install the podsync-localstack that saved it"
        )
    theirs = str(metadata.get("localstack_version"))
    if release(theirs) > release(constants.VERSION):
        raise IncompatibleState(
            f"the state was saved by LocalStack {theirs}, this one is {constants.VERSION}; "
            f"load it into LocalStack {theirs} or newer"
        )
    # The lines keep services in different places: IAM was moto's before 2026, and is LocalStack's.
    if release(theirs)[:1] != release(constants.VERSION)[:1]:
        raise IncompatibleState(
            f"the state was saved by LocalStack {theirs}, and {constants.VERSION} keeps services "
            f"differently; load it into another LocalStack {theirs}"
        )
    # Resources hold objects of the standard library, whose insides differ between minor versions.
    if metadata.get("python_version") != python_version():
        raise IncompatibleState(
            f"the state was saved on Python {metadata.get('python_version')}, this instance runs "
            f"on {python_version()}; load it on Python {metadata.get('python_version')}"
        )


def release(version_text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version_text)[:3])
