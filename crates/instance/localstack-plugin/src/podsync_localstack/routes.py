"""The HTTP endpoints, in the shapes of the licensed edition.

Whoever may load a state may run code in the instance, so no web page may: see `_refuse_pages`.
"""

import io
import ipaddress
import json
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import wraps
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from localstack.services.plugins import SERVICE_PLUGINS
from rolo import Request, Response, route

from podsync_localstack import archive, environment, gate, interpreter, resetting
from podsync_localstack.archive import BLOCK, BrokenArchive
from podsync_localstack.environment import IncompatibleState
from podsync_localstack.loading import Event, PreparedLoad
from podsync_localstack.merging import Strategy
from podsync_localstack.report import Failure, reason
from podsync_localstack.saving import running_index, save

LOG = logging.getLogger(__name__)

# Header lines of many kilobytes are refused by clients; the metadata has the whole list.
FAILED_HEADER_BYTES = 4096
# The longest reference has a pod and a member of 64 characters each, and a number.
REFERENCE_LENGTH = 200
DEFAULT_STRATEGY = Strategy.ACCOUNT_REGION_MERGE

Endpoint = Callable[..., Response]


def _refuse_pages(endpoint: Endpoint) -> Endpoint:
    """Browsers send `Origin` with every request of a page that could change something."""

    @wraps(endpoint)
    def guarded(self: Any, request: Request, **arguments: str) -> Response:
        origin = request.headers.get("Origin")
        if origin is not None and not _is_loopback(origin):
            return _error(403, f"requests of web pages are refused, and this one is of {origin}")
        try:
            return endpoint(self, request, **arguments)
        except _Refused as refused:
            return refused.response

    return guarded


def _is_loopback(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PodRoutes:
    @route("/_localstack/pods/environment", methods=["GET"])
    @_refuse_pages
    def environment(self, request: Request) -> Response:
        return Response.for_json(environment.describe())

    @route("/_localstack/pods/state", methods=["GET"])
    @_refuse_pages
    def save(self, request: Request) -> Response:
        wanted = _wanted(request)
        spooled = archive.spool()
        try:
            report = save(wanted, spooled)
        except BaseException:
            spooled.close()
            raise
        size = spooled.tell()
        spooled.seek(0)
        headers = {
            "Content-Type": "application/zip",
            "Content-Length": str(size),
            "x-localstack-pod-services": ",".join(sorted(report.services)),
            "x-localstack-pod-size": str(size),
        }
        if report.failed:
            headers["x-podsync-failed"] = _failed_header(report.failed)
        if report.under_way:
            headers["x-podsync-under-way"] = json.dumps([asdict(it) for it in report.under_way])
        if not report.quiesced:
            headers["x-podsync-quiesced"] = "false"
        return Response(_blocks(spooled), 200, headers)

    @route("/_localstack/pods/index", methods=["GET"])
    @_refuse_pages
    def index(self, request: Request) -> Response:
        return Response.for_json(running_index(_wanted(request)))

    @route("/_localstack/pods", methods=["POST"])
    @_refuse_pages
    def load(self, request: Request) -> Response:
        prepared, spooled = _prepared(request)
        events = _load(prepared, spooled, _reference(request))
        return Response(events, 201, {"Content-Type": "application/x-ndjson"})

    # A separate path, so that an older plugin doesn't mistake a plan for a load.
    @route("/_localstack/pods/plan", methods=["POST"])
    @_refuse_pages
    def plan(self, request: Request) -> Response:
        prepared, spooled = _prepared(request)
        with spooled, gate.closed():
            omitted = request.args.get("assets") == "omitted"
            return Response.for_json(prepared.plan(assets_omitted=omitted))

    @route("/_localstack/state/reset", methods=["POST"])
    @_refuse_pages
    def reset_all(self, request: Request) -> Response:
        return _reset(resetting.reset_all())

    @route("/_localstack/state/<service>/reset", methods=["POST"])
    @_refuse_pages
    def reset_one(self, request: Request, service: str) -> Response:
        if not SERVICE_PLUGINS.exists(service):
            return _error(404, f"this instance has no service {service!r}")
        return _reset(resetting.reset([service]))


class _Refused(Exception):
    """A refused request, with its response."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _prepared(request: Request) -> tuple[PreparedLoad, BinaryIO]:
    """The posted and checked state, and its file. The caller must close the file."""
    name = request.args.get("merge", DEFAULT_STRATEGY.value)
    try:
        strategy = Strategy(name)
    except ValueError:
        known = ", ".join(strategy.value for strategy in Strategy)
        raise _Refused(
            _error(400, f"there is no merge strategy {name!r}; there are {known}")
        ) from None
    spooled = _received(request)
    try:
        with interpreter.in_short_turns():
            return PreparedLoad(spooled, strategy), spooled
    except BrokenArchive as e:
        refused = _Refused(_error(400, str(e)))
    except IncompatibleState as e:
        refused = _Refused(_error(422, str(e)))
    except BaseException:
        spooled.close()
        raise
    spooled.close()
    raise refused


def _wanted(request: Request) -> list[str]:
    return [name for name in request.args.get("services", "").split(",") if name]


def _reference(request: Request) -> str:
    """What the log calls the state; without a name from the client, just that."""
    name: str = request.headers.get("x-podsync-reference", "")[:REFERENCE_LENGTH]
    return name if name and name.isascii() and name.isprintable() else "a state"


def _received(request: Request) -> BinaryIO:
    """The body as a file that outlives the request.

    The server has received a long body into a file without a name: that one is taken over, and not
    written a second time.
    """
    held = getattr(request.stream, "_wrapped", None)
    if isinstance(held, io.BufferedRandom):
        return os.fdopen(os.dup(held.fileno()), "rb")
    spooled = archive.spool()
    shutil.copyfileobj(request.stream, spooled, BLOCK)
    return spooled


def _blocks(spooled: BinaryIO) -> Iterator[bytes]:
    with spooled:
        while block := spooled.read(BLOCK):
            yield block


def _load(prepared: PreparedLoad, spooled: BinaryIO, name: str) -> Iterator[bytes]:
    """The events as lines. A client that hangs up doesn't leave the load half done."""
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def apply() -> None:
        try:
            with spooled, interpreter.uncollected(), interpreter.in_short_turns():
                for event in _logged(prepared.apply(), name):
                    events.put(event)
                prepared.close()
        except Exception as e:
            LOG.exception("Could not load %s", name)
            events.put({"service": "*", "status": "error", "message": reason(e)})
        finally:
            events.put(None)

    threading.Thread(target=apply, name="podsync-load", daemon=True).start()
    while (event := events.get()) is not None:
        yield json.dumps(event).encode() + b"\n"


def _logged(events: Iterator[Event], name: str) -> Iterator[Event]:
    """The same events. At their end the instance's log says what it holds now."""
    by_status: dict[str, list[str]] = {"ok": [], "error": []}
    for event in events:
        by_status[event["status"]].append(event["service"])
        yield event
    LOG.info("podsync loaded %s: %s", name, ", ".join(by_status["ok"]) or "no service")
    if failed := by_status["error"]:
        LOG.error("podsync did not load all of %s: %s", name, ", ".join(failed))


def _reset(problems: list[str]) -> Response:
    return _error(500, "; ".join(problems)) if problems else Response("", 200)


def _failed_header(failed: list[Failure]) -> str:
    entries = [failure.as_json() for failure in failed]
    while len(text := json.dumps(entries)) > FAILED_HEADER_BYTES:
        entries.pop()
    return text


def _error(status: int, message: str) -> Response:
    response = Response.for_json({"error": {"message": message}})
    response.status_code = status
    return response
