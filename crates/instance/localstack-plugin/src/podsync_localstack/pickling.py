"""Pickles that come out the same for the same state, and that point at live containers.

What would differ between two saves of one state: the order of sets (hashes are seeded per process),
which equal strings happen to be one object, and frames, whose borders shift all that follows them.
What would make one more resource a wholly different file: the numbers by which later bytes point at
earlier ones. They are counted in rooms with space to spare, see `_close_room`.
What must not be copied: a backend or store that a resource refers to is the running instance's own.
What must not travel: code. See `nameable`.
"""

import copyreg
import importlib
import io
import pickle as stock
import struct
import sys
from collections.abc import Iterable
from datetime import datetime
from types import FunctionType
from typing import Any, BinaryIO, cast

from localstack.services.stores import AccountRegionBundle, BaseStore
from moto.core.base_backend import BackendDict, BaseBackend

from podsync_localstack import nameable, reducers
from podsync_localstack.nameable import NotNameable

PROTOCOL = 4

# The pickler written in Python: the only one whose way of writing can be changed.
_PICKLE: Any = stock

# As much as the unpickler asks for ahead.
_READ_AHEAD = 128 << 10

# A code with a number of four bytes.
_numbered = struct.Struct("<cI").pack
_SET_NONE = stock.NONE + stock.SETITEM
_NEW_OBJECT = stock.EMPTY_TUPLE + stock.NEWOBJ
_NEVER_POINTED_AT = frozenset({float, int})
# Equal ones are written once, or are a code of their own.
_CONSTANTS: dict[Any, bytes] = {None: stock.NONE, True: stock.NEWTRUE, False: stock.NEWFALSE}
_BY_VALUE = frozenset({str, bytes, bool, type(None)})
# Their length takes one byte.
_LONGEST_SHORT = 0xFF

# An item of fewer objects gets no room of its own: the numbers are a table in the reader's memory.
_SMALLEST_ROOM = 8


def dumps(value: Any) -> bytes:
    """Raises what pickle raises, and NotNameable for a class that isn't one of resources."""
    target = io.BytesIO()
    _CanonicalPickler(target).dump(value)
    return target.getvalue()


def dumps_naming(value: Any, names: dict[int, str]) -> bytes:
    """For comparing only: objects within `value` whose ids are in `names` are there by name."""
    target = io.BytesIO()
    pickler = _CanonicalPickler(target)
    root = value

    def name_of(obj: Any) -> str | None:
        nonlocal root
        if obj is root:
            root = pickler
            return None
        return names.get(id(obj))

    pickler.names = names
    pickler.persistent_id = name_of
    pickler.dump(value)
    return target.getvalue()


def loads(data: bytes) -> Any:
    """Raises NotNameable before anything is called that a state has no business with."""
    # Buffered: it asks a plain file for each few bytes by themselves.
    return _ListedUnpickler(io.BufferedReader(io.BytesIO(data), _READ_AHEAD)).load()


class _ListedUnpickler(stock.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return nameable.find(module, name)


class _Unframed(_PICKLE._Framer):  # type: ignore[misc]
    def start_framing(self) -> None:
        pass


class _Dispatch(dict[type, Any]):
    """How to save an object of a class. A class without an entry has that of its nearest base."""

    def __init__(self, exact: dict[type, Any], with_subclasses: dict[type, Any]) -> None:
        super().__init__(exact | with_subclasses)
        self._with_subclasses = with_subclasses

    def get(self, cls: type, default: Any = None) -> Any:
        if cls not in self:
            bases = (self._with_subclasses.get(base) for base in cls.__mro__)
            self[cls] = next((save for save in bases if save is not None), None)
        return self[cls]


class _CanonicalPickler(_PICKLE._Pickler):  # type: ignore[misc]
    def __init__(self, target: BinaryIO, sorts_objects: bool = True) -> None:
        super().__init__(target, protocol=PROTOCOL)
        self.sorts_objects = sorts_objects
        framer = _Unframed(target.write)
        self.framer = framer
        # Nothing is framed: what is written needn't pass by the framer.
        self.write = target.write
        self._write_large_bytes = framer.write_large_bytes
        # How to write again what is equal to strings and bytes that were written.
        self._written: dict[str | bytes | bool | None, bytes] = dict(_CONSTANTS)
        # By the id of an object: what it is called, where it is to be there by name.
        self.names: dict[int, str] = {}
        # How to write the names of an object's attributes, by all of them.
        self._known_names: dict[tuple[str, ...], list[bytes]] = {}
        self._next = 0

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """As the one of pickle, and quick for what a state of many resources is made of."""
        kind = type(obj)
        if kind in _BY_VALUE:
            self.write(self._written.get(obj) or self._once(obj))
        elif self.names:
            super().save(obj, save_persistent_id)
        elif kind in _NEVER_POINTED_AT:
            _PICKLE._Pickler.dispatch[kind](self, obj)
        elif (known := self.memo.get(id(obj))) is not None:
            self.write(_pointer(known[0]))
        elif kind is dict:
            self.save_dict(obj)
        elif _PLAIN_OBJECTS[kind]:
            self._save_plain_object(kind, obj)
        elif (save := self.dispatch.get(kind)) is not None:
            save(self, obj)
        else:
            super().save(obj, save_persistent_id)

    def _once(self, obj: Any) -> bytes:
        """A string or bytes that equal nothing that was written."""
        code: bytes = stock.SHORT_BINBYTES
        data: bytes = obj
        if type(obj) is str:
            code, data = stock.SHORT_BINUNICODE, obj.encode("utf-8", "surrogatepass")
        number = self._next
        self._written[obj] = _pointer(number)
        if len(data) > _LONGEST_SHORT:
            _PICKLE._Pickler.dispatch[type(obj)](self, obj)
            return b""
        self._next = number + 1
        return code + len(data).to_bytes() + data + _numbered(stock.LONG_BINPUT, number)

    def _save_plain_object(self, kind: type, obj: Any) -> None:
        """As `__reduce_ex__` and `save_reduce` do it for an object without ways of its own."""
        self.save(kind)
        self.write(_NEW_OBJECT)
        self.memoize(obj)
        if not (held := vars(obj)):
            return
        names = tuple(held)
        known = self._known_names.get(names)
        if known is None or id(held) in self.memo:
            self.save(held)
            self._known_names[names] = [self._written[name] for name in names]
        else:
            self.write(stock.EMPTY_DICT)
            self.memoize(held)
            self._save_values(known, held.values())
        self.write(stock.BUILD)

    def _save_values(self, names: list[bytes], values: Iterable[Any]) -> None:
        """Of attributes whose names were written before, as most of a state are."""
        save, write, written = self.save, self.write, self._written.get
        for name, value in zip(names, values, strict=True):
            write(name)
            if value is None:
                write(_SET_NONE)
                continue
            first = self._next
            if type(value) in _BY_VALUE:
                write(written(value) or self._once(value))
            else:
                save(value)
            write(stock.SETITEM)
            if self._next - first >= _SMALLEST_ROOM:
                self._close_room(first)

    def memoize(self, obj: Any) -> None:
        number = self._next
        self._next = number + 1
        self.memo[id(obj)] = number, obj
        self.write(_numbered(stock.LONG_BINPUT, number))

    def _batch_setitems(self, items: Iterable[tuple[Any, Any]], *_: Any) -> None:
        save, write = self.save, self.write
        for key, value in items:
            first = self._next
            save(key)
            save(value)
            write(stock.SETITEM)
            if self._next - first >= _SMALLEST_ROOM:
                self._close_room(first)

    def _batch_appends(self, items: Iterable[Any], *_: Any) -> None:
        for item in items:
            first = self._next
            self.save(item)
            self.write(stock.APPEND)
            if self._next - first >= _SMALLEST_ROOM:
                self._close_room(first)

    def _close_room(self, first: int) -> None:
        """Leaves numbers free after an item, so that the next keep theirs when this one grows."""
        used = self._next - first
        step = max(_SMALLEST_ROOM, 1 << (used // 4).bit_length())
        self._next = first + -(-used // step) * step

    def save_global(self, obj: Any, name: str | None = None) -> None:
        name = name or getattr(obj, "__qualname__", None) or obj.__name__
        module = _PICKLE.whichmodule(obj, name)
        if nameable.find(module, name) is not obj:
            raise NotNameable(f"{module}.{name} is not the object of that name")
        super().save_global(obj, name)


class _PlainObjects(dict[type, bool]):
    """Whether the objects of a class are their attributes and nothing else."""

    _OWN_WAYS = ("__getstate__", "__reduce__", "__reduce_ex__")
    _ARGUMENTS = ("__getnewargs__", "__getnewargs_ex__")

    def __missing__(self, cls: type) -> bool:
        self[cls] = (
            # Of Python all the way up: a list or a dict is more than its attributes.
            all(base.__flags__ & _HEAP_TYPE for base in cls.__mro__[:-1])
            and cls.__dictoffset__ != 0
            and not any(vars(base).get("__slots__") for base in cls.__mro__)
            and all(getattr(cls, name) is getattr(object, name) for name in self._OWN_WAYS)
            and not any(hasattr(cls, name) for name in self._ARGUMENTS)
            and not issubclass(cls, type)
            and _CanonicalPickler.dispatch.get(cls) is None
            and cls not in copyreg.dispatch_table
        )
        return self[cls]


_PLAIN_OBJECTS = _PlainObjects()


def _pointer(number: int) -> bytes:
    if number <= _LONGEST_SHORT:
        return stock.BINGET + number.to_bytes()
    return _numbered(stock.LONG_BINGET, number)


# Python's own flag of classes that aren't built in.
_HEAP_TYPE = 1 << 9


def _save_set(pickler: Any, obj: set[Any]) -> None:
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


def _save_frozenset(pickler: Any, obj: frozenset[Any]) -> None:
    pickler.save_reduce(type(obj), (_in_order(pickler, obj),), obj=obj)


def _in_order(pickler: Any, items: set[Any] | frozenset[Any]) -> list[Any]:
    if all(isinstance(item, str) for item in items):
        return sorted(items, key=lambda item: item.encode("utf-8", "surrogatepass"))
    # An item may lead back to its own set: sets inside of a sort key are taken as they come.
    return sorted(items, key=_sort_key) if pickler.sorts_objects else list(items)


def _sort_key(item: Any) -> bytes:
    target = io.BytesIO()
    _CanonicalPickler(target, sorts_objects=False).dump(item)
    return target.getvalue()


def _save_time(pickler: Any, obj: datetime) -> None:
    # A million of them have one class and one zone.
    cls, arguments = cast(tuple[Any, ...], obj.__reduce_ex__(PROTOCOL))
    pickler.save(cls)
    pickler.save(arguments)
    pickler.write(stock.REDUCE)
    pickler.memoize(obj)


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
    if not module.startswith(_HOMES):
        raise NotNameable(f"{module} has no stores and no backends")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, BackendDict | AccountRegionBundle):
        raise NotNameable(f"{module}.{name} is neither stores nor backends")
    return found[account][region]


_HOMES = ("localstack.services.", "moto.")


def _save_function(pickler: Any, obj: FunctionType) -> None:
    if obj.__name__ == "<lambda>":
        pickler.save_reduce(reducers._restore_lambda, nameable.place_of(obj), obj=obj)
    else:
        pickler.save_global(obj)


def _save_class(pickler: Any, obj: type) -> None:
    if obj is type(None):
        pickler.save_reduce(reducers._restore_none_type, (), obj=obj)
    else:
        pickler.save_global(obj)


_CanonicalPickler.dispatch = _Dispatch(
    _PICKLE._Pickler.dispatch
    | reducers.EXACT
    | {type: _save_class, FunctionType: _save_function, datetime: _save_time},
    {
        set: _save_set,
        frozenset: _save_frozenset,
        BaseBackend: _save_backend,
        BaseStore: _save_store,
        **reducers.WITH_SUBCLASSES,
    },
)
