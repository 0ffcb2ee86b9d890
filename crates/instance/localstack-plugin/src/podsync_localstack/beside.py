"""Data that is stored beside resources, by their keys or ARNs: mostly tags.

It goes where its resource goes. If the state replaces a resource, the instance's data beside it is
removed too, even in a scope that otherwise stays unchanged.
"""

import copy
from collections.abc import Sequence
from typing import Any

from podsync_localstack import merge_rules
from podsync_localstack.containers import Attributes, Container, Scope
from podsync_localstack.merge_rules import About, Map, Parts, Rule

Scopes = list[tuple[Container, Scope, Attributes]]

_ARNS = ("arn", "Arn", "ARN", "AlarmArn", "SubscriptionArn", "bucket_arn")


class Gone:
    """Resources of the instance that a load removes or replaces."""

    def __init__(self) -> None:
        self._scopes: set[tuple[str | None, str]] = set()
        self._arns: set[str] = set()
        self._keys: set[tuple[str | None, str | None, str]] = set()
        # Resources without a known ARN: they are matched by the end of an ARN.
        self._nameless: set[tuple[str | None, str | None, str]] = set()

    def everything_in(self, scope: Scope) -> None:
        self._scopes.add((scope.account, scope.region or ""))

    def add(self, scope: Scope, key: Any, item: Any) -> None:
        name = str(key)
        self._keys.add((*scope, name))
        arn = name if name.startswith("arn:") else _arn(item)
        if arn:
            self._arns.add(arn)
        else:
            self._nameless.add((*scope, name))

    def has(self, scope: Scope, key: str) -> bool:
        """Whether data under `key` is about one of them."""
        if not key.startswith("arn:"):
            whole = (scope.account, scope.region or "") in self._scopes
            return whole or (*scope, key) in self._keys
        _, _, _, region, account, own = (key.split(":", 5) + [""] * 5)[:6]
        account = account or scope.account or ""
        if key in self._arns or (account, region) in self._scopes:
            return True
        ends = {own, own.split(":", 1)[-1], own.split("/", 1)[-1], own.rsplit("/", 1)[-1]}
        regions = {region or None, None, scope.region}
        return any((account, place, end) in self._nameless for place in regions for end in ends)

    def leave(self, service: str, containers: Sequence[Container], scopes: Scopes) -> None:
        """Completes the new content of `scopes`, and adds scopes that lose something."""
        planned = {(id(container), scope): attributes for container, scope, attributes in scopes}
        for container in containers:
            for scope in list(container.scopes()):
                after = planned.get((id(container), scope))
                present = container.read(scope)
                changed = self._beside(service, scope, present, after)
                if after is not None:
                    after.update(changed)
                elif changed:
                    scopes.append((container, scope, present | changed))

    def _beside(
        self, service: str, scope: Scope, present: Attributes, after: Attributes | None
    ) -> Attributes:
        changed: Attributes = {}
        for name, value in present.items():
            rule = merge_rules.rule(service, name.removeprefix("attr_"), value)
            if merge_rules.is_about(rule):
                kept = self._kept(rule, scope, value, (after or {}).get(name))
                if after is not None or kept is not value:
                    changed[name] = kept
        return changed

    def _kept(self, rule: Rule, scope: Scope, present: Any, incoming: Any) -> Any:
        """The incoming with what stays of the present one; this itself, where all of it stays."""
        match rule:
            case About() if isinstance(present, dict):
                gone = [key for key in present if self.has(scope, str(key))]
                if incoming is None:
                    return present if not gone else _without(present, gone)
                for key in present.keys() - incoming.keys() - set(gone):
                    incoming[key] = present[key]
                return incoming
            case Map(items=part):
                inner = dict.fromkeys(present, part)
            case Parts(rules=inner):
                pass
            case _:
                return present if incoming is None else incoming
        held = merge_rules.held(present)
        theirs = None if incoming is None else merge_rules.held(incoming)
        kept = {
            key: self._kept(part, scope, held[key], None if theirs is None else theirs.get(key))
            for key, part in inner.items()
            if key in held
        }
        if theirs is not None:
            theirs.update(kept)
            return incoming
        if all(kept[key] is held[key] for key in kept):
            return present
        other = copy.copy(present)
        merge_rules.held(other).update(kept)
        return other


def _without(present: dict[Any, Any], gone: list[Any]) -> dict[Any, Any]:
    other = copy.copy(present)
    for key in gone:
        dict.pop(other, key)
    return other


def _arn(item: Any) -> str | None:
    """The own ARN of a resource, which may lie one step inside."""
    held = merge_rules.held(item)
    for candidate in (item, *(value for value in held.values() if isinstance(value, dict))):
        for name in _ARNS:
            found = (
                candidate.get(name)
                if isinstance(candidate, dict)
                else getattr(candidate, name, None)
            )
            if isinstance(found, str) and found.startswith("arn:"):
                return found
    return None
