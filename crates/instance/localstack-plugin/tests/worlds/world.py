"""What a world is made with: places, names and chances."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

ACCOUNTS = ["000000000000", "111122223333"]
REGIONS = ["us-east-1", "eu-central-1"]
NAMES = ["alpha", "beta", "gamma"]
# Of each service, in each place.
OFTEN = 0.6
ROLE = "arn:aws:iam::000000000000:role/r"

Client = Callable[[str], Any]
FILLS: dict[str, Callable[[random.Random, Client], None]] = {}


class Certain(random.Random):
    """Whatever may be there is there."""

    def random(self) -> float:
        return 0.0


def fill(instance: Any, seed: int, full: bool = False) -> None:
    """`full`: the first place has something of each kind."""
    chance = random.Random(seed)
    for make in FILLS.values():
        for number, client in enumerate(_places(instance)):
            if full and number == 0:
                make(Certain(seed), client)
            elif chance.random() < OFTEN:
                make(chance, client)


def _places(instance: Any) -> Iterator[Client]:
    for account in ACCOUNTS:
        for region in REGIONS:
            yield lambda name: instance.client(name, account, region)  # noqa: B023


def of(service: str) -> Callable[[Any], Any]:
    def register(make: Any) -> Any:
        FILLS[service] = make
        return make

    return register


def some(chance: random.Random) -> list[str]:
    return [name for name in NAMES if chance.random() < OFTEN]


def few(chance: random.Random) -> list[str]:
    """Of what takes an instance its time."""
    return some(chance)[:1]


def word(chance: random.Random) -> str:
    return chance.choice(["one", "two"])


def unless_there(call: Callable[[], Any]) -> Any:
    """What has a name that all accounts or regions share may be there already."""
    try:
        return call()
    except ClientError as error:
        assert "Exist" in str(error) or "Already" in str(error) or "owned" in str(error), error
        return None
