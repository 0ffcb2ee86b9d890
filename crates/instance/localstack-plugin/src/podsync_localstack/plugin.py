"""What LocalStack calls when it starts. Imports stay inside: plux resolves this module early."""

from localstack.runtime import hooks


@hooks.on_infra_start()  # type: ignore[untyped-decorator]
def start() -> None:
    from localstack.services.internal import get_internal_apis

    from podsync_localstack import backpressure, gate
    from podsync_localstack.routes import PodRoutes

    gate.install()
    backpressure.install()
    get_internal_apis().add(PodRoutes())
