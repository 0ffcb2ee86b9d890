"""The names that a pickle may contain: classes of the emulator's resources, and no code.

Both ways go through here. What a save may not name it can't write, so it is reported as an object
that was left out; what a load may not name makes that service fail before it is changed.

The list keeps `os.system` and its like out of reach of a state. It doesn't make a state of a
stranger harmless: resources can be put together in ways that nobody thought of.
"""

import importlib
import re
import subprocess
import threading
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any

# Modules whose own classes are what resources are made of.
_PACKAGES = ("localstack.aws.api.", "localstack.services.", "moto.")
_MODULES = frozenset(
    {
        "localstack.utils.collections",
        "localstack.utils.sync",
        "localstack.utils.tagging",
        "requests.structures",
    }
)

_EXACT = frozenset(
    {
        ("_thread", "lock"),
        ("collections", "Counter"),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("collections", "deque"),
        ("concurrent.futures.thread", "ThreadPoolExecutor"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("dateutil.tz.tz", "tzlocal"),
        ("dateutil.tz.tz", "tzoffset"),
        ("dateutil.tz.tz", "tzutc"),
        ("decimal", "Decimal"),
        ("ipaddress", "IPv4Address"),
        ("ipaddress", "IPv4Network"),
        ("ipaddress", "IPv6Address"),
        ("ipaddress", "IPv6Network"),
        ("itertools", "count"),
        ("pathlib._local", "PosixPath"),
        ("podsync_localstack.pickling", "_live"),
        ("queue", "LifoQueue"),
        ("queue", "PriorityQueue"),
        ("queue", "Queue"),
        ("random", "Random"),
        ("re", "_compile"),
        ("threading", "Condition"),
        ("threading", "Lock"),
        ("threading", "RLock"),
        ("types", "SimpleNamespace"),
        ("uuid", "SafeUUID"),
        ("uuid", "UUID"),
    }
)

_VALUES = (
    *(bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, range),
    *(set, slice, str, tuple),
)
# moto's security groups hold methods of their own, by which they are searched.
_METHOD = re.compile(r"filter_\w+")
_RUNS = (threading.Thread, subprocess.Popen)


class NotNameable(Exception):
    """A pickle names something that is no resource."""


@lru_cache(maxsize=4096)
def find(module: str, name: str) -> Any:
    """The class or reducer of that name. Imports nothing but modules of the list."""
    if (module, name) in _EXACT or _is_reducer(module, name):
        return getattr(importlib.import_module(module), name)
    if module == "builtins":
        return _builtin(name)
    if not is_of_resources(module):
        raise NotNameable(f"{module}.{name} is not what resources are made of")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        # Not getattr: what a class or module has of its own, and nothing that it imported.
        found = getattr(found, "__dict__", {}).get(part)
    if not _is_resource(found, module):
        raise NotNameable(f"{module}.{name} is not a class of that module")
    return found


@lru_cache(maxsize=1024)
def lambda_of(module: str, qualname: str, position: int) -> FunctionType:
    """The lambda at that place in the source of a module: the code itself never travels.

    Only those without arguments and without anything around them, as defaults of maps are: a state
    can call them, and has no say in what they do.
    """
    if not is_of_resources(module):
        raise NotNameable(f"{module} has no functions that a state may name")
    codes = [code for code in _codes(module) if code.co_qualname == qualname]
    if position not in range(len(codes)) or not _is_default(codes[position]):
        raise NotNameable(f"{module} has no {qualname} that a state may name")
    return FunctionType(codes[position], vars(importlib.import_module(module)))


def place_of(function: FunctionType) -> tuple[str, str, int]:
    """The arguments of `lambda_of` that lead to a function like this one."""
    module, qualname = function.__module__, function.__qualname__
    if is_of_resources(module):
        codes = [code for code in _codes(module) if code.co_qualname == qualname]
        if _is_default(function.__code__) and function.__code__ in codes:
            return module, qualname, codes.index(function.__code__)
    raise NotNameable(f"the function {module}.{qualname} can't be part of a state")


def method_of(holder: Any, name: str) -> MethodType:
    """A method that a resource may hold of itself."""
    cls = type(holder)
    found = vars(cls).get(name)
    if not (
        _METHOD.fullmatch(name)
        and isinstance(found, FunctionType)
        and found.__module__ == cls.__module__
        and is_of_resources(cls.__module__)
    ):
        raise NotNameable(
            f"the method {cls.__module__}.{cls.__qualname__}.{name} can't be part of a state"
        )
    return MethodType(found, holder)


def _is_default(code: CodeType) -> bool:
    arguments = code.co_argcount + code.co_kwonlyargcount
    return code.co_name == "<lambda>" and not arguments and not code.co_freevars


@lru_cache(maxsize=64)
def _codes(module: str) -> list[CodeType]:
    """The code of all functions of a module, in the order of its source."""
    loader: Any = importlib.import_module(module).__loader__
    pending, found = [loader.get_code(module)], []
    while pending:
        code = pending.pop(0)
        found.append(code)
        pending += [const for const in code.co_consts if isinstance(const, CodeType)]
    return found


def is_of_resources(module: str) -> bool:
    return module in _MODULES or module.startswith(_PACKAGES)


def _is_reducer(module: str, name: str) -> bool:
    return module == "podsync_localstack.reducers" and name.startswith("_restore_")


def _builtin(name: str) -> type:
    found = {cls.__name__: cls for cls in _VALUES}.get(name)
    if found is None:
        found = vars(importlib.import_module("builtins")).get(name)
        if not (isinstance(found, type) and issubclass(found, Exception)):
            raise NotNameable(f"builtins.{name} is not what resources are made of")
    return found


def _is_resource(found: Any, module: str) -> bool:
    return isinstance(found, type) and found.__module__ == module and not issubclass(found, _RUNS)
