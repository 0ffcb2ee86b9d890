"""Data of services that is in a separate program, where a save can't reach it.

A state without it would look whole: the tables are there, and nothing is in them. So it is told, by
name, each time.
"""

from localstack.services.plugins import Service

_PROGRAMS = {
    "dynamodb": "items lie in DynamoDB Local, and only what it had written to its files by now is "
    "saved; start LocalStack with PROVIDER_OVERRIDE_DYNAMODB=moto to save them",
    "kinesis": "records lie in kinesis-mock, and only what it had written to its files by now is "
    "saved; start LocalStack with PROVIDER_OVERRIDE_KINESIS=moto to save them",
    "opensearch": "documents lie in clusters, which are not saved; only the domains are",
}


def not_saved(name: str, service: Service) -> str | None:
    # Served by moto, the provider is the bare API without a line of its own.
    of_localstack = type(service._provider).__module__.startswith("localstack.services.")
    return _PROGRAMS.get(name) if of_localstack else None
