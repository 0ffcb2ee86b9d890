"""Finds what the providers of the runtime keep outside of stores and backends, by their source.

    globals of modules that a function changes       module:NAME
    maps and lists of a class that a method changes  module:Class.name
    what a provider keeps in itself                  module:Provider.name
    functions that remember their answers            module:function()
    functions that write files or make folders       module:function() writes
    stores and backends that no provider shows       module:name

A number that is added in place to an object of another module isn't found: see the README.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CHANGES = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "put",
        "remove",
        "setdefault",
        "update",
    ]
)
_WRITES = frozenset(
    [
        "NamedTemporaryFile",
        "SpooledTemporaryFile",
        "TemporaryDirectory",
        "TemporaryFile",
        "copy_dir",
        "copyfile",
        "copytree",
        "cp_r",
        "makedirs",
        "mkdir",
        "mkdtemp",
        "mkstemp",
        "new_tmp_dir",
        "new_tmp_file",
        "save_file",
        "write_bytes",
        "write_text",
    ]
)
_REMEMBERS = ("lru_cache", "functools.cache", "cached(")
_MAPS = (ast.Dict, ast.List, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MAKES_MAPS = frozenset(
    ["Counter", "OrderedDict", "count", "defaultdict", "deque", "dict", "list", "set"]
)

# Of moto, what providers of LocalStack hand requests to, and what all of it is made with.
_MOTO = [
    "acm",
    "apigateway",
    "cloudwatch",
    "config",
    "core",
    "dynamodb",
    "dynamodbstreams",
    "ec2",
    "events",
    "iam",
    "kinesis",
    "logs",
    "redshift",
    "resourcegroups",
    "resourcegroupstaggingapi",
    "route53",
    "route53resolver",
    "s3",
    "s3control",
    "secretsmanager",
    "ses",
    "ssm",
    "sts",
    "support",
    "swf",
    "transcribe",
    "utilities",
]
# Programs for people who develop LocalStack, and what only runs while a stack is deployed.
_LEFT_OUT = ("scaffolding", "resource_providers")


def places(site_packages: Path) -> set[str]:
    roots = [site_packages / "localstack/services", *(site_packages / "moto" / it for it in _MOTO)]
    found: set[str] = set()
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            module = ".".join(path.relative_to(site_packages).with_suffix("").parts)
            if not any(part in module for part in _LEFT_OUT):
                found |= {f"{module}:{place}" for place in _Module(path.read_text()).places()}
    return found


class _Module:
    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._top = {name for name, _ in _assigned(self._tree.body)}
        self._classes = {it.name: it for it in ast.walk(self._tree) if isinstance(it, ast.ClassDef)}

    def places(self) -> Iterator[str]:
        for function in ast.walk(self._tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._of_function(function)
        for cls in self._classes.values():
            yield from self._of_class(cls)

    def _of_function(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        for decorator in map(ast.unparse, function.decorator_list):
            if decorator == "cache" or any(word in decorator for word in _REMEMBERS):
                yield f"{function.name}()"
        nodes = list(ast.walk(function))
        said = {name for it in nodes if isinstance(it, ast.Global) for name in it.names}
        own = _own_names(function) - said
        for node in nodes:
            if isinstance(node, ast.Call) and _writes(node):
                yield f"{function.name}() writes"
            for name in _changed(node):
                if name in said or (name in self._top and name not in own):
                    yield name
            for target in _targets(node):
                if isinstance(target, ast.Name) and target.id in said:
                    yield target.id
                elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                    holder = target.value.id
                    if holder == "cls" or (holder in self._classes and holder not in own):
                        yield f"{holder}.{target.attr}"

    def _of_class(self, cls: ast.ClassDef) -> Iterator[str]:
        methods = [it for it in cls.body if isinstance(it, ast.FunctionDef)]
        own = {
            target.attr
            for method in methods
            for node in ast.walk(method)
            for target in _targets(node)
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
        }
        if any("Provider" in base or base.endswith("Api") for base in map(ast.unparse, cls.bases)):
            yield from (f"{cls.name}.{name}" for name in own)
        shared = {name for name, value in _assigned(cls.body) if _is_map(value)} - own
        for node in ast.walk(cls):
            for holder in _holders(node):
                if isinstance(holder, ast.Attribute) and holder.attr in shared:
                    yield f"{cls.name}.{holder.attr}"


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    for statement in body:
        for target in _targets(statement):
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id, getattr(statement, "value", None)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign | ast.Delete):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def _own_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = {it.arg for it in ast.walk(function) if isinstance(it, ast.arg)}
    stored = {
        it.id
        for it in ast.walk(function)
        if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)
    }
    return arguments | stored


def _holders(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement or call changes something in."""
    for target in _targets(node):
        if isinstance(target, ast.Subscript):
            yield target.value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _CHANGES
    ):
        yield node.func.value


def _changed(node: ast.AST) -> Iterator[str]:
    """Names in whose objects a statement or call changes something."""
    holders = [*_holders(node), *(it for it in _targets(node) if isinstance(it, ast.Attribute))]
    for holder in holders:
        while isinstance(holder, ast.Attribute | ast.Subscript | ast.Call):
            holder = holder.func if isinstance(holder, ast.Call) else holder.value
        if isinstance(holder, ast.Name):
            yield holder.id


def _is_map(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rsplit(".", 1)[-1] in _MAKES_MAPS
    return isinstance(value, _MAPS)


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rsplit(".", 1)[-1]
    if name != "open":
        return name in _WRITES
    modes = [*call.args, *(key.value for key in call.keywords)]
    given = [it.value for it in modes if isinstance(it, ast.Constant) and isinstance(it.value, str)]
    return any(set(mode) <= set("rwabt+x") and set(mode) & set("wax+") for mode in given)


_SHOWN = """
import json, sys
from localstack.services.plugins import SERVICE_PLUGINS
from localstack.services.stores import AccountRegionBundle
from moto.core.base_backend import BackendDict
from podsync_localstack.containers import ServiceState, StoreContainer, BackendContainer

shown, services = set(), sorted(SERVICE_PLUGINS.list_available())
for name in services:
    for container in ServiceState(SERVICE_PLUGINS.get_service(name)).containers:
        shown.add(id(getattr(container, "_bundle", getattr(container, "_backends", None))))
left = set()
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith(("localstack.services.", "moto.")):
        for name, held in list(vars(module).items()):
            if isinstance(held, (AccountRegionBundle, BackendDict)) and id(held) not in shown:
                left.add((held.service_name, type(held).__name__))
print(json.dumps({"services": services, "left": sorted(left)}))
"""


def shown(home: Path) -> tuple[list[str], set[str]]:
    """All services of the runtime, and the stores and backends that none of them shows."""
    environment = os.environ | {
        "FILESYSTEM_ROOT": str(home),
        "LOCALSTACK_VOLUME_DIR": str(home),
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_KINESIS": "moto",
        "TMPDIR": str(home),
    }
    ran = subprocess.run(
        [sys.executable, "-c", _SHOWN], env=environment, capture_output=True, text=True, check=True
    )
    told = json.loads(ran.stdout.splitlines()[-1])
    return told["services"], {f"{name}:{kind}" for name, kind in told["left"]}
