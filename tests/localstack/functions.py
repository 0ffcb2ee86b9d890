"""Runs functions of Lambda as processes of this machine, where LocalStack starts a container each.

Community LocalStack has one way to run a function, Docker, and images that it downloads for that. What this takes
the place of is the container alone: code is fetched and unpacked, environments are made, events are polled,
dispatched and answered by LocalStack. Only functions in Python, with what this Python has.
"""

import json
import os
import subprocess
import sys
from typing import Any

from localstack.services.lambda_.invocation import runtime_executor
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

# What a function prints is no answer, so the answers have a pipe of their own.
LOOP = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path.insert(0, os.getcwd())
module, _, name = os.environ["_HANDLER"].rpartition(".")
handler = getattr(importlib.import_module(module.replace("/", ".")), name)
for line in sys.stdin:
    try:
        answer = {"payload": handler(json.loads(line), None)}
    except Exception as error:
        told = {"errorMessage": str(error), "errorType": type(error).__name__}
        answer = {"payload": told, "is_error": True}
    print(json.dumps(answer), file=answers, flush=True)
"""


class Process(RuntimeExecutor):
    """One execution environment."""

    _running: subprocess.Popen[str] | None = None

    def start(self, env_vars: dict[str, str]) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            cwd=self.function_version.config.code.get_unzipped_code_location(),
            env={"PATH": os.environ["PATH"]} | {key: str(it) for key, it in env_vars.items()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        running: Any = self._running
        running.stdin.write(json.dumps(json.loads(payload["payload"])) + "\n")
        running.stdin.flush()
        answer = json.loads(running.stdout.readline())
        return InvocationResult(
            request_id=payload["invoke-id"],
            payload=json.dumps(answer["payload"]).encode(),
            is_error=answer.get("is_error", False),
            logs="",
        )

    def stop(self) -> None:
        running: Any = self._running
        if running is not None:
            running.terminate()
            running.wait()
            running.stdin.close()
            running.stdout.close()

    def get_address(self) -> str:
        return "127.0.0.1"

    get_endpoint_from_executor = get_address

    def get_runtime_endpoint(self) -> str:
        return "http://127.0.0.1"

    def get_logs(self) -> str:
        return ""

    @classmethod
    def prepare_version(cls, function_version: Any) -> None:
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: Any) -> None:
        pass


class _Plugin:
    def load(self) -> type[RuntimeExecutor]:
        return Process


class _Plugins:
    """Replaces LocalStack's list of ways to run a function."""

    def exists(self, name: str) -> bool:
        return True

    def load(self, name: str) -> _Plugin:
        return _Plugin()


def run_as_processes() -> None:
    plugins: Any = _Plugins()
    runtime_executor.EXECUTOR_PLUGIN_MANAGER = plugins
