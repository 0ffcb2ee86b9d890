"""Computes a service's content after a load, from its present content and the state.

Nothing of the running instance is changed here: parts of the instance that stay are put into what
came with the state, and a `Placing` swaps that in. What is merged, and how, is in `merge_rules`; no
step leads into a backend or store.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from podsync_localstack import merge_rules, pickling, references, settling
from podsync_localstack.beside import Gone, Scopes
from podsync_localstack.containers import Attributes, Container, Scope
from podsync_localstack.merge_rules import Instance, Map, Members, Most, Parts, Rule, Setting


class Strategy(Enum):
    OVERWRITE = "overwrite"
    ACCOUNT_REGION_MERGE = "account-region-merge"
    SERVICE_MERGE = "service-merge"


@dataclass
class Placing:
    """The new content of a service's scopes. A scope that isn't named stays unchanged."""

    service: str
    scopes: Scopes
    # What of the instance is kept in a scope that changes, and what of it gives way.
    carried: list[Any] = field(default_factory=list)
    replaced: references.Replaced = field(default_factory=dict)

    def carry_out(self) -> None:
        for container, scope, attributes in self.scopes:
            container.replace(scope, attributes)
        references.renew(self.carried, self.replaced)
        settling.finish(self.service, self.scopes)


def place(
    strategy: Strategy, service: str, containers: Sequence[Container], incoming: Scopes
) -> Placing:
    """For `overwrite`: into a service that is reset before."""
    if strategy is Strategy.OVERWRITE:
        return Placing(service, incoming)
    merge = _Merge(service)
    for container, scope, attributes in incoming:
        present = container.read(scope)
        if strategy is Strategy.SERVICE_MERGE or scope.account is None:
            # What all accounts share can't be replaced for the sake of one of them.
            merge.unite(scope, present, attributes)
        else:
            merge.give_way(scope, present)
    placing = Placing(service, list(incoming), merge.carried, merge.replaced)
    merge.gone.leave(service, containers, placing.scopes)
    settling.settle(service, containers, placing.scopes, placing.replaced)
    return placing


class _Merge:
    def __init__(self, service: str) -> None:
        self._service = service
        self._scope = Scope(None, None)
        self.gone = Gone()
        self.carried: list[Any] = []
        self.replaced: references.Replaced = {}

    def give_way(self, scope: Scope, present: Attributes) -> None:
        """Removes all of a scope, except data about resources elsewhere."""
        self.gone.everything_in(scope)
        for value in present.values():
            if isinstance(value, dict):
                for key, item in dict.items(value):
                    self.gone.add(scope, key, item)

    def unite(self, scope: Scope, present: Attributes, incoming: Attributes) -> None:
        self._scope = scope
        rules = {name: self._rule(name, present[name]) for name in present}
        # What only points at resources comes after the maps that say which of them are gone.
        for name in sorted(present, key=lambda name: (_has_parts(rules[name]), name)):
            if merge_rules.is_about(rules[name]):
                continue
            if name in incoming:
                incoming[name] = self._merged(rules[name], present[name], incoming[name])
            else:
                self.carried.append(present[name])
                incoming[name] = present[name]

    def _rule(self, name: str, value: Any) -> Rule:
        return merge_rules.rule(self._service, name.removeprefix("attr_"), value)

    def _merged(self, rule: Rule, present: Any, incoming: Any) -> Any:
        match rule:
            case Map():
                return self._map(rule, present, incoming)
            case Members() if isinstance(incoming, dict):
                return self._map(merge_rules.MAP, present, incoming)
            case Members():
                return self._members(rule, present, incoming)
            case Parts():
                return self._parts(rule, present, incoming)
            case Most():
                return max(present, incoming)
            case Setting():
                return incoming or present
            case Instance():
                return present
        return incoming

    def _map(self, rule: Map, present: Any, incoming: Any) -> Any:
        if not isinstance(present, dict) or not isinstance(incoming, dict):
            return incoming
        # By the plain methods of dict: maps of moto look elsewhere, and load what isn't there yet.
        known = {rule.known_by(key, item): key for key, item in dict.items(incoming)}
        for key, item in dict.items(present):
            same = known.get(rule.known_by(key, item), _NONE)
            if same is _NONE:
                self.carried.append(item)
                dict.__setitem__(incoming, key, item)
                continue
            theirs = dict.__getitem__(incoming, same)
            self._gives_way(item, theirs, key)
            dict.__setitem__(incoming, same, self._merged(rule.items, item, theirs))
        return incoming

    def _members(self, rule: Members, present: Any, incoming: Any) -> Any:
        if type(present) is not type(incoming):
            return incoming
        known = {_known_by(rule, item): item for item in incoming}
        kept = []
        for item in present:
            theirs = known.get(_known_by(rule, item), _NONE)
            if theirs is not _NONE:
                self._gives_way(item, theirs)
                self._merged(rule.items, item, theirs)
            elif not (rule.are_keys and self.gone.has(self._scope, item)):
                kept.append(item)
        # Not one by one: what is kept here may give way where it is at home.
        self.carried.append(incoming)
        if isinstance(incoming, set):
            incoming.update(kept)
        else:
            incoming[:0] = kept
        return incoming

    def _parts(self, rule: Parts, present: Any, incoming: Any) -> Any:
        mine, theirs = merge_rules.held(present), merge_rules.held(incoming)
        for name, part in rule.rules.items():
            if name in mine and name in theirs:
                theirs[name] = self._merged(part, mine[name], theirs[name])
        return incoming

    def _gives_way(self, item: Any, theirs: Any, key: Any = None) -> None:
        if key is not None:
            self.gone.add(self._scope, key, item)
        if self._service not in merge_rules.BY_NAME and not isinstance(item, _PLAIN):
            self.replaced[id(item)] = (item, theirs)


_NONE = object()
# These are often one object for all that are equal.
_PLAIN = (str, bytes, int, float, bool, type(None))


def _has_parts(rule: Rule) -> bool:
    return isinstance(rule, Map) and isinstance(rule.items, Parts)


def _known_by(rule: Members, item: Any) -> Hashable:
    if rule.identity is not None:
        return rule.identity(item)
    return item if isinstance(item, str) else pickling.dumps(item)
