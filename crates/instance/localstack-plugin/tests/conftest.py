"""Real instances on loopback, each in a folder of its own, ended by their process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

SHARED = Path(__file__).parents[4] / "tests" / "localstack"
LAUNCHER = SHARED / "run.py"
SOURCE = Path(__file__).parents[1] / "src"
# A machine that does much else takes its time.
START_SECONDS = 180
# Writes the stack of each thread to the log when it is asked to, and does what EventBridge does
# each minute.
_TAKES_SIGNALS = """
import runpy, signal, sys, traceback
def tell(*_):
    frames = sys._current_frames().values()
    lines = [line for frame in frames for line in traceback.format_stack(frame)]
    sys.stderr.write("threads:\\n" + "".join(lines) + "threads told\\n")
    sys.stderr.flush()
def minute(*_):
    from localstack.services.events.scheduler import JobScheduler
    timers = list(JobScheduler.instance().jobs)
    for timer in timers:
        timer.run()
    sys.stderr.write(f"timers: {len(timers)} ran\\n")
    sys.stderr.flush()
signal.signal(signal.SIGUSR1, tell)
signal.signal(signal.SIGUSR2, minute)
runpy.run_path(sys.argv[1], run_name="__main__")
"""

# What is tested is what lies here, in this process and in those that are started, and not a copy
# that was installed once: from that come the entry points only.
sys.path[:0] = [str(SOURCE), str(SHARED)]
os.environ["PYTHONPATH"] = os.pathsep.join((str(SOURCE), str(SHARED)))
# Their asserts are the tests' own.
pytest.register_assert_rewrite("stories")

from stories.story import until  # noqa: E402


class Instance:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._clients = {}
        self._log = (home / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKES_SIGNALS, LAUNCHER],
            env=os.environ
            | {"LOCALSTACK_TEST_PORT": str(self.port), "LOCALSTACK_TEST_HOME": str(home)}
            | {"LOCALSTACK_TEST_FUNCTIONS": "1"}
            # In the place of a program that would be downloaded; nobody answers there.
            | {"OPENSEARCH_CUSTOM_BACKEND": "http://127.0.0.1:9"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/_localstack/health").close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the instance didn't start; see {self._log.name}")

    def client(self, service: str, account: str = "000000000000", region: str = "us-east-1"):
        """The same one each time: tests ask for thousands, and making one takes milliseconds."""
        wanted = service, account, region
        if wanted not in self._clients:
            self._clients[wanted] = self._new_client(*wanted)
        return self._clients[wanted]

    def _new_client(self, service: str, account: str, region: str):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key="test",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 0},
            ),
        )

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """Status, headers and body, also of an error."""
        # Without it, urllib says that this is a form, and the server takes the body apart as one.
        headers.setdefault("Content-Type", "application/octet-stream")
        request = urllib.request.Request(
            f"{self.url}{path}", data=body, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def save(self, services: str = "") -> bytes:
        status, headers, body = self.call("GET", f"/_localstack/pods/state?services={services}")
        assert status == 200
        failed = json.loads(headers.get("x-podsync-failed", "[]"))
        # Documents lie in its clusters, and each save says so once the service runs.
        assert {failure["service"] for failure in failed} <= {"opensearch"}
        return body

    def load(self, state: bytes, merge: str) -> None:
        status, _, body = self.call("POST", f"/_localstack/pods?merge={merge}", state)
        events = [json.loads(line) for line in body.splitlines()]
        assert status == 201
        assert [event for event in events if event["status"] != "ok"] == []

    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def threads(self, function: str) -> int:
        """How many threads are in a function of that name."""
        return self._told(signal.SIGUSR1, "threads told\n").count(f", in {function}\n")

    def pass_a_minute(self) -> int:
        """Rules that are due within one fire. Answers how many timers there are."""
        text = self._told(signal.SIGUSR2, " ran\n")
        return int(text.rsplit("timers: ", 1)[1].split()[0])

    def _told(self, question: signal.Signals, end: str) -> str:
        """What the instance writes into its log when it is asked."""
        start = os.path.getsize(self._log.name)
        self.process.send_signal(question)

        def told() -> str | None:
            with open(self._log.name, errors="replace") as log:
                log.seek(start)
                text = log.read()
            return text if end in text else None

        return until(told)

    def reset(self) -> None:
        assert self.call("POST", "/_localstack/state/reset")[0] == 200

    def stop(self) -> None:
        """At once. To end in good order takes it ten seconds, and nobody wants anything of it."""
        self.process.kill()
        self.process.wait()
        self._log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Instance]]:
    running: list[Instance] = []

    def one() -> Instance:
        running.append(Instance(tmp_path_factory.mktemp("localstack")))
        return running[-1]

    yield one
    for instance in running:
        instance.stop()


@pytest.fixture(scope="session")
def source(start: Callable[[], Instance]) -> Instance:
    return start()


@pytest.fixture(scope="session")
def target(start: Callable[[], Instance]) -> Instance:
    return start()
