"""LocalStack's own Python client against these endpoints.

The `state export|import|reset` commands of its CLI activate a licence before they contact anything,
in the CLI itself. Without LOCALSTACK_AUTH_TOKEN, 4.14.0 and 2026.8.2 say "No credentials were
found", with a token that is none "The credentials defined in your environment are invalid", and
neither has sent a request to the instance by then. There is a switch for LocalStack's own
developers, who have its source; it isn't for us.

So what runs here is the client that the commands call, a library of the same package (Apache-2.0),
with its own reading of headers, its own metadata in the zip and its own reading of events.
`cargo xtask test` installs it. By hand, name the interpreters of environments with
`pip install localstack==VERSION` in PODSYNC_TEST_LOCALSTACK_CLIENTS, separated by colons.
"""

import json
import os
import subprocess
import zipfile

import pytest

CLIENTS = [
    path for path in os.environ.get("PODSYNC_TEST_LOCALSTACK_CLIENTS", "").split(":") if path
]

PROGRAM = """
import json, sys
from localstack_cli.pro.core.bootstrap import pods_client
command, *arguments = sys.argv[1:]
if command == "export":
    path, services = arguments
    info = pods_client.StateService().export_pod(target=path, services=services.split(","))
    print(json.dumps(info), file=sys.stderr)
elif command == "import":
    pods_client.StateService().import_pod(source=arguments[0], show_progress=True)
else:
    pods_client.reset_state(services=arguments or None)
"""


@pytest.mark.skipif(
    not CLIENTS, reason="NOT RUN: PODSYNC_TEST_LOCALSTACK_CLIENTS names no interpreter"
)
@pytest.mark.parametrize("python", CLIENTS or [""])
def test_exports_resets_and_imports(python, source, tmp_path):
    def client(*arguments):
        return subprocess.run(
            [python, "-c", PROGRAM, *arguments],
            env={**os.environ, "LOCALSTACK_HOST": f"127.0.0.1:{source.port}", "HOME": str(tmp_path)}
            | {"DISABLE_EVENTS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def queues():
        return source.client("sqs").list_queues().get("QueueUrls", [])

    source.reset()
    source.client("sqs").create_queue(QueueName="orders")
    source.client("s3").create_bucket(Bucket="orders")
    before = source.save("s3,sqs")
    path = tmp_path / "state"

    exported = client("export", str(path), "s3,sqs")
    assert exported.returncode == 0, exported.stderr
    info = json.loads(exported.stderr.splitlines()[-1])
    assert info == {"services": ["s3", "sqs"], "size": len(before)}
    with zipfile.ZipFile(path) as archive:
        assert "metadata.yaml" in archive.namelist()

    assert client("reset", "sqs").returncode == 0
    assert queues() == [] and source.client("s3").list_buckets()["Buckets"]
    assert client("reset").returncode == 0
    assert not source.client("s3").list_buckets()["Buckets"]
    # Without a service that is there it fails, and says so.
    assert client("reset", "nothing").returncode != 0

    imported = client("import", str(path))
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.count("✅") == 2 and "s3" in imported.stdout
    assert source.save("s3,sqs") == before

    path.write_bytes(path.read_bytes()[:-1])
    assert client("import", str(path)).returncode != 0
    assert source.save("s3,sqs") == before
