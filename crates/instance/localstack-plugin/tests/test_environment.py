import pytest
from localstack import constants

from podsync_localstack import environment
from podsync_localstack.environment import IncompatibleState


def test_its_own_states_are_loadable():
    environment.require_loadable(environment.describe())


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"format": "other"}, "companion"),
        ({"format_version": 3}, "format version"),
        ({"format_version": "2"}, "format version"),
        ({"format_version": None}, "format version"),
        ({"localstack_version": "2099.1.0"}, "2099.1.0 or newer"),
        ({"localstack_version": "3.8.1"}, "another LocalStack 3.8.1"),
        ({"python_version": "3.11"}, "Python 3.11"),
    ],
)
def test_others_are_refused_with_what_would_work(changed, word):
    with pytest.raises(IncompatibleState, match=word):
        environment.require_loadable(environment.describe() | changed)


def test_the_format_before_is_fine():
    environment.require_loadable(environment.describe() | {"format_version": 1})


def test_older_localstack_of_the_same_line_is_fine():
    older = {"4": "4.0.1", "2026": "2026.2.0"}[constants.VERSION.split(".")[0]]
    environment.require_loadable(environment.describe() | {"localstack_version": older})


def test_calendar_versions_are_newer_than_the_four_line():
    assert (
        environment.release("2026.3.0")
        > environment.release("4.14.0")
        > environment.release("4.9.2")
    )
