"""Where a service keeps its state, and the scopes that the state falls into.

LocalStack's stores and moto's backends are both maps of account -> region -> attributes. Everything
here changes them in place: providers, and resources inside of the state, hold references to stores
and backends, which must stay good across a reset and a load.
"""

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, cast

from localstack.services.plugins import SERVICE_PLUGINS, Service
from localstack.services.stores import (
    LOCAL_ATTR_PREFIX,
    AccountRegionBundle,
    BaseStore,
    CrossAccountAttribute,
    CrossRegionAttribute,
    LocalAttribute,
)
from localstack.state import AssetDirectory, StateVisitor
from moto.core.base_backend import BackendDict

Attributes = dict[str, Any]


class Scope(NamedTuple):
    """A region of an account. Without region: shared by its regions. Without both: by all."""

    account: str | None
    region: str | None


class Container(Protocol):
    kind: str
    name: str

    def scopes(self) -> Iterator[Scope]: ...
    # Nothing, of a scope that isn't there yet. The map is the caller's, what is in it isn't.
    def read(self, scope: Scope) -> Attributes: ...
    def when_reset(self, scope: Scope) -> Attributes: ...
    def replace(self, scope: Scope, attributes: Attributes) -> None: ...
    def reset(self) -> None: ...


class StoreContainer:
    """The stores that LocalStack wrote itself."""

    kind = "store"

    # The location of a store, not its content.
    _COORDINATES = frozenset(
        {"_service_name", "_account_id", "_region_name", "_global", "_universal"}
    )

    def __init__(self, bundle: AccountRegionBundle[Any]) -> None:
        self.name: str = bundle.service_name
        self._bundle = bundle

    def scopes(self) -> Iterator[Scope]:
        yield Scope(None, None)
        for account in sorted(self._bundle):
            yield Scope(account, None)
            for region in sorted(self._bundle[account]):
                yield Scope(account, region)

    def read(self, scope: Scope) -> Attributes:
        """Without what is as it would be in a new store: reading through the API creates that."""
        if not self._has(scope):
            return {}
        held = self._held(scope)
        return {
            name: held[name]
            for name in sorted(held)
            if name not in self._COORDINATES and not self._is_default(name, held[name])
        }

    def when_reset(self, scope: Scope) -> Attributes:
        return {}

    def replace(self, scope: Scope, attributes: Attributes) -> None:
        held = self._held(scope)
        for name in [name for name in held if name not in self._COORDINATES]:
            del held[name]
        held.update(attributes)

    def reset(self) -> None:
        for scope in list(self.scopes()):
            self.replace(scope, {})

    def _has(self, scope: Scope) -> bool:
        if scope.account is None:
            return True
        if not dict.__contains__(self._bundle, scope.account):
            return False
        return scope.region is None or dict.__contains__(self._bundle[scope.account], scope.region)

    def _held(self, scope: Scope) -> Attributes:
        if scope.account is None:
            universal: Attributes = self._bundle._universal
            return universal
        regions = self._bundle[scope.account]
        if scope.region is None:
            shared: Attributes = regions._global
            return shared
        own: Attributes = vars(regions[scope.region])
        return own

    def _is_default(self, name: str, value: Any) -> bool:
        descriptor = getattr_static(self._bundle.store, name.removeprefix(LOCAL_ATTR_PREFIX))
        if not isinstance(
            descriptor, LocalAttribute | CrossRegionAttribute | CrossAccountAttribute
        ):
            return False
        default = descriptor.default() if callable(descriptor.default) else descriptor.default
        if type(value) is not type(default):
            return False
        if isinstance(value, dict | list | set | str | int | float | bool | None):
            return bool(value == default)
        return bool(getattr(value, "__dict__", value) == getattr(default, "__dict__", default))


class BackendContainer:
    """The backends of moto, that many providers of LocalStack delegate to."""

    kind = "backend"

    def __init__(self, backends: BackendDict[Any]) -> None:
        self.name: str = backends.service_name
        self._backends = backends

    def scopes(self) -> Iterator[Scope]:
        for account in sorted(self._backends):
            for region in sorted(self._backends[account]):
                yield Scope(account, region)

    def read(self, scope: Scope) -> Attributes:
        return dict(self._held(scope)) if scope in self.scopes() else {}

    def when_reset(self, scope: Scope) -> Attributes:
        live = self._backend(scope)
        return dict(vars(type(live)(live.region_name, live.account_id)))

    def replace(self, scope: Scope, attributes: Attributes) -> None:
        held = self._held(scope)
        held.clear()
        held.update(attributes)

    def reset(self) -> None:
        for scope in list(self.scopes()):
            self._backend(scope).reset()

    def _held(self, scope: Scope) -> Attributes:
        held: Any = vars(self._backend(scope))
        return cast(Attributes, held)

    def _backend(self, scope: Scope) -> Any:
        if scope.account is None or scope.region is None:
            raise ValueError(f"{self.name} has no state that regions or accounts share")
        return self._backends[scope.account][scope.region]


class GlobalContainer:
    """A map that a provider keeps in a global of its module, for all accounts together."""

    kind = "global"

    def __init__(self, name: str, module: str, variable: str) -> None:
        self.name = name
        self._held: dict[Any, Any] = getattr(importlib.import_module(module), variable)

    def scopes(self) -> Iterator[Scope]:
        yield Scope(None, None)

    def read(self, scope: Scope) -> Attributes:
        return {self.name: dict(self._held)} if self._held else {}

    def when_reset(self, scope: Scope) -> Attributes:
        return {}

    def replace(self, scope: Scope, attributes: Attributes) -> None:
        held = dict(attributes.get(self.name, {}))
        self._held.clear()
        self._held.update(held)

    def reset(self) -> None:
        self._held.clear()


# By service: what it is called here, and where it is. What else lies outside of stores, and why it
# isn't saved, is a table in the README.
_GLOBALS = {"ses": (("sent_mails", "localstack.services.ses.provider", "EMAILS"),)}


def running(name: str) -> Service:
    service = SERVICE_PLUGINS.get_service(name)
    if service is None:
        raise LookupError(f"this instance has no service {name!r}")
    return service


def provider(service: Service) -> Any:
    """The provider of a service."""
    return service._provider


class ServiceState(StateVisitor):
    """All containers of one service, as its provider shows them to a visitor."""

    def __init__(self, service: Service) -> None:
        self.containers: list[Container] = []
        self.asset_directories: list[AssetDirectory] = []
        service.accept_state_visitor(self)
        self.containers += [GlobalContainer(*place) for place in _GLOBALS.get(service.name(), ())]
        self.containers.sort(key=lambda container: (container.kind, container.name))

    def visit(self, state_container: Any) -> None:
        match state_container:
            case AccountRegionBundle():
                self.containers.append(StoreContainer(state_container))
            case BackendDict():
                self.containers.append(BackendContainer(state_container))
            case AssetDirectory():
                self.asset_directories.append(state_container)
            case _:
                raise TypeError(f"unknown kind of state container: {type(state_container)}")


def getattr_static(store: type[BaseStore], name: str) -> Any:
    """The descriptor itself; plain getattr would run it."""
    for cls in store.__mro__:
        if name in vars(cls):
            return vars(cls)[name]
    return None
