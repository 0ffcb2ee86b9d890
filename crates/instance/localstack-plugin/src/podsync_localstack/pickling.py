"""Pickles that come out the same for the same state, and that point at live containers.

What would differ between two saves of one state: the order of sets (hashes are seeded per process),
which equal strings happen to be one object, and frames, whose borders shift all that follows them.
What must not be copied: a backend or store that a resource refers to is the running instance's own.
"""

import io
import pickle as stock
import sys
from typing import Any, BinaryIO

import dill
from localstack.services.stores import AccountRegionBundle, BaseStore
from localstack.state.pickle import Pickler as LocalStackPickler
from moto.core.base_backend import BackendDict, BaseBackend

from podsync_localstack import reducers

PROTOCOL = 4


def dumps(value: Any) -> bytes:
    target = io.BytesIO()
    _CanonicalPickler(target).dump(value)
    return target.getvalue()


def loads(data: bytes) -> Any:
    return dill.loads(data)


class _Unframed(stock._Framer):  # type: ignore[name-defined]
    def start_framing(self) -> None:
        pass


class _CanonicalPickler(LocalStackPickler):  # type: ignore[misc]
    def __init__(self, target: BinaryIO, sorts_objects: bool = True) -> None:
        super().__init__(target, protocol=PROTOCOL)
        self.sorts_objects = sorts_objects
        framer = _Unframed(target.write)
        self.framer = framer
        self.write = framer.write
        self._write_large_bytes = framer.write_large_bytes
        self._seen: dict[str | bytes, str | bytes] = {}
        for cls, reduce in reducers.EXACT.items():
            self.dispatch[cls] = reduce
        for cls, reduce in (_SETS | reducers.WITH_SUBCLASSES | _REFERENCES).items():
            self.dispatch[cls] = reduce
            self.dispatch.match_subclasses_of.add(cls)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is str or type(obj) is bytes:
            obj = self._seen.setdefault(obj, obj)
        super().save(obj, save_persistent_id)


def _save_set(pickler: Any, obj: set) -> None:
    items = _in_order(pickler, obj)
    if type(obj) is not set:
        pickler.save_reduce(type(obj), (items,), vars(obj) or None, obj=obj)
        return
    pickler.write(stock.EMPTY_SET)
    pickler.memoize(obj)
    pickler.write(stock.MARK)
    for item in items:
        pickler.save(item)
    pickler.write(stock.ADDITEMS)


def _save_frozenset(pickler: Any, obj: frozenset) -> None:
    pickler.save_reduce(type(obj), (_in_order(pickler, obj),), obj=obj)


def _in_order(pickler: Any, items: set | frozenset) -> list:
    if all(isinstance(item, str) for item in items):
        return sorted(items, key=lambda item: item.encode("utf-8", "surrogatepass"))
    # An item may lead back to its own set: sets inside of a sort key are taken as they come.
    return sorted(items, key=_sort_key) if pickler.sorts_objects else list(items)


def _sort_key(item: Any) -> bytes:
    target = io.BytesIO()
    _CanonicalPickler(target, sorts_objects=False).dump(item)
    return target.getvalue()


def _save_backend(pickler: Any, obj: BaseBackend) -> None:
    backends = _home(type(obj), BackendDict, lambda found: found.backend is type(obj))
    if backends is None:
        pickler.save_reduce(*obj.__reduce_ex__(PROTOCOL), obj=obj)
    else:
        pickler.save_reduce(_live, (*backends, obj.account_id, obj.region_name), obj=obj)


def _save_store(pickler: Any, obj: BaseStore) -> None:
    bundle = _home(type(obj), AccountRegionBundle, lambda found: found.store is type(obj))
    if bundle is None:
        pickler.save_reduce(*obj.__reduce_ex__(PROTOCOL), obj=obj)
    else:
        pickler.save_reduce(_live, (*bundle, obj._account_id, obj._region_name), obj=obj)


def _home(cls: type, kind: type, fits: Any) -> tuple[str, str] | None:
    """The module and name under which the map of a store's or backend's class can be found."""
    for name, found in sorted(vars(sys.modules[cls.__module__]).items()):
        if isinstance(found, kind) and fits(found):
            return cls.__module__, name
    return None


def _live(module: str, name: str, account: str, region: str) -> Any:
    __import__(module)
    return getattr(sys.modules[module], name)[account][region]


_SETS = {set: _save_set, frozenset: _save_frozenset}
_REFERENCES = {BaseBackend: _save_backend, BaseStore: _save_store}
