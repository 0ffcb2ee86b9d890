"""How to pickle what pickle and dill can't: locks, queues, threads, keys.

A reducer keeps what matters to a client (the items of a queue, the bytes of a key) and makes the
rest anew. Functions named in a pickle (`_restore_*`) are part of the format: renaming one makes
older states unreadable.
"""

import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import MethodType
from typing import Any
from zoneinfo import ZoneInfo

from cryptography import x509
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives import serialization

from podsync_localstack import nameable

Reducer = Callable[[Any, Any], None]


def _anew(factory: Callable[[], Any]) -> Reducer:
    return lambda pickler, obj: pickler.save_reduce(factory, (), obj=obj)


def _restore_nothing() -> None:
    return None


def _restore_none_type() -> type:
    return type(None)


def _restore_lambda(module: str, qualname: str, position: int) -> Any:
    return nameable.lambda_of(module, qualname, position)


def _save_method(pickler: Any, obj: MethodType) -> None:
    nameable.method_of(obj.__self__, obj.__name__)
    pickler.save_reduce(_restore_method, (obj.__self__, obj.__name__), obj=obj)


def _restore_method(holder: Any, name: str) -> MethodType:
    return nameable.method_of(holder, name)


def _save_zone(pickler: Any, obj: ZoneInfo) -> None:
    pickler.save_reduce(_restore_zone, (obj.key,), obj=obj)


def _restore_zone(key: str) -> ZoneInfo:
    return ZoneInfo(key)


def _save_condition(pickler: Any, obj: threading.Condition) -> None:
    # Several conditions may share one lock, as those of a queue do.
    pickler.save_reduce(threading.Condition, (obj._lock,), obj=obj)  # type: ignore[attr-defined]


def _save_event(pickler: Any, obj: threading.Event) -> None:
    pickler.save_reduce(_restore_event, (obj.is_set(),), obj=obj)


def _restore_event(is_set: bool) -> threading.Event:
    event = threading.Event()
    if is_set:
        event.set()
    return event


def _save_executor(pickler: Any, obj: ThreadPoolExecutor) -> None:
    pickler.save_reduce(ThreadPoolExecutor, (obj._max_workers,), obj=obj)


_OF_EVERY_QUEUE = frozenset(vars(queue.Queue())) - {"maxsize"}


def _save_queue(pickler: Any, obj: queue.Queue[Any]) -> None:
    with obj.mutex:
        items = list(obj.queue)
    more = {
        name: value
        for name, value in vars(obj).items()
        if name not in _OF_EVERY_QUEUE and name not in ("maxsize", "is_shutdown")
    }
    pickler.save_reduce(_restore_queue, (type(obj), obj.maxsize, items, more), obj=obj)


def _restore_queue(
    cls: type[queue.Queue[Any]], maxsize: int, items: list[Any], more: dict[str, Any]
) -> queue.Queue[Any]:
    restored = cls(maxsize)
    # Not through put(): the list is a heap already, and putting would reorder equal priorities.
    restored.queue.extend(items)
    restored.unfinished_tasks = len(items)
    vars(restored).update(more)
    return restored


def _save_defaultdict(pickler: Any, obj: defaultdict[Any, Any]) -> None:
    if type(obj) is defaultdict:
        pickler.save_reduce(
            defaultdict, (obj.default_factory,), None, None, iter(obj.items()), obj=obj
        )
        return
    pickler.save_reduce(
        _restore_defaultdict,
        (type(obj), obj.default_factory),
        vars(obj) or None,
        None,
        iter(obj.items()),
        obj=obj,
    )


def _restore_defaultdict(cls: type[defaultdict[Any, Any]], factory: Any) -> defaultdict[Any, Any]:
    # Subclasses have constructors of their own, with arguments that aren't known here.
    restored = cls.__new__(cls)
    restored.default_factory = factory
    return restored


def _save_private_key(pickler: Any, obj: Any) -> None:
    encoded = obj.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pickler.save_reduce(_restore_private_key, (encoded,), obj=obj)


def _restore_private_key(encoded: bytes) -> Any:
    return serialization.load_der_private_key(encoded, None)


def _save_public_key(pickler: Any, obj: Any) -> None:
    encoded = obj.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pickler.save_reduce(_restore_public_key, (encoded,), obj=obj)


def _restore_public_key(encoded: bytes) -> Any:
    return serialization.load_der_public_key(encoded)


def _save_certificate(pickler: Any, obj: x509.Certificate) -> None:
    encoded = obj.public_bytes(serialization.Encoding.DER)
    pickler.save_reduce(_restore_certificate, (encoded,), obj=obj)


def _restore_certificate(encoded: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(encoded)


def _save_signing_request(pickler: Any, obj: x509.CertificateSigningRequest) -> None:
    encoded = obj.public_bytes(serialization.Encoding.DER)
    pickler.save_reduce(_restore_signing_request, (encoded,), obj=obj)


def _restore_signing_request(encoded: bytes) -> x509.CertificateSigningRequest:
    return x509.load_der_x509_csr(encoded)


EXACT: dict[type, Reducer] = {
    type(threading.Lock()): _anew(threading.Lock),
    type(threading.RLock()): _anew(threading.RLock),
    threading.Condition: _save_condition,
    threading.Event: _save_event,
    MethodType: _save_method,
    ZoneInfo: _save_zone,
    x509.Certificate: _save_certificate,
    x509.CertificateSigningRequest: _save_signing_request,
    openssl.rsa.RSAPrivateKey: _save_private_key,
    openssl.ec.ECPrivateKey: _save_private_key,
    openssl.ed25519.Ed25519PrivateKey: _save_private_key,
    openssl.rsa.RSAPublicKey: _save_public_key,
    openssl.ec.ECPublicKey: _save_public_key,
    openssl.ed25519.Ed25519PublicKey: _save_public_key,
}

WITH_SUBCLASSES: dict[type, Reducer] = {
    queue.Queue: _save_queue,
    defaultdict: _save_defaultdict,
    # A thread works for the instance that it runs in.
    threading.Thread: _anew(_restore_nothing),
    ThreadPoolExecutor: _save_executor,
}
