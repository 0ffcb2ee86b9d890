"""Failures of a save or a load, by name, and the work that it ends."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    service: str
    reason: str
    account: str | None = None
    region: str | None = None
    object: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, order=True)
class UnderWay:
    """Work that ends when the state is loaded, see `live`."""

    service: str
    kind: str
    count: int


@dataclass
class SaveReport:
    services: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    under_way: list[UnderWay] = field(default_factory=list)
    # Ids of event source mappings whose queue the instance doesn't have.
    dangling_mappings: list[str] = field(default_factory=list)
    quiesced: bool = True


def reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
