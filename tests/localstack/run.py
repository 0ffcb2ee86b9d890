"""Runs community LocalStack on 127.0.0.1 only, with nothing outside of its own folder.

LocalStack's server takes the port from GATEWAY_LISTEN and ignores the host: by itself it listens on
every interface. Its S3 storage is one folder for all instances of a machine, where deleting a
bucket in one takes the folder of the other's bucket away.

    LOCALSTACK_TEST_PORT    the port, required
    LOCALSTACK_TEST_HOME    the folder for everything that the instance writes, required
    LOCALSTACK_TEST_FUNCTIONS=1    functions of Lambda run as processes, see functions.py

LocalStack's own settings (PROVIDER_OVERRIDE_DYNAMODB, DEBUG, ...) pass through. It ends on SIGTERM.
"""

import os
import sys
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"


def main() -> None:
    try:
        port = int(os.environ["LOCALSTACK_TEST_PORT"])
        home = Path(os.environ["LOCALSTACK_TEST_HOME"]).absolute()
    except (KeyError, ValueError) as e:
        sys.exit(f"set LOCALSTACK_TEST_PORT to a port and LOCALSTACK_TEST_HOME to a folder ({e})")
    prepare_environment(port, home)
    bind_to_loopback()
    keep_s3_bodies_in(home / "s3")
    if os.environ.get("LOCALSTACK_TEST_FUNCTIONS") == "1":
        from functions import run_as_processes

        run_as_processes()

    from localstack.runtime.main import main as run_localstack

    run_localstack()


def prepare_environment(port: int, home: Path) -> None:
    """Before LocalStack is imported: its configuration reads the environment at import."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "FILESYSTEM_ROOT": str(home / "root"),
        "LOCALSTACK_VOLUME_DIR": str(home / "volume"),
    }
    # Through the module: LocalStack warns about a TMPDIR in the environment.
    tempfile.tempdir = str(temporary)
    # Nothing here may depend on the network: no usage events, no certificate, no DNS server.
    for name, value in {
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_KINESIS": "moto",
    }.items():
        os.environ.setdefault(name, value)


def bind_to_loopback() -> None:
    from twisted.internet import endpoints

    class LoopbackEndpoint(endpoints.TCP4ServerEndpoint):
        def __init__(
            self, reactor: object, port: int, backlog: int = 50, interface: str = ""
        ) -> None:
            super().__init__(reactor, port, backlog, interface or LOOPBACK)

    endpoints.TCP4ServerEndpoint = LoopbackEndpoint


def keep_s3_bodies_in(folder: Path) -> None:
    from localstack.services.s3 import provider

    provider.DEFAULT_S3_TMP_DIR = str(folder)


if __name__ == "__main__":
    main()
