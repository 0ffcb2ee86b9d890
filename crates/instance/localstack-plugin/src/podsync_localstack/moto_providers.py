"""DynamoDB and Kinesis served by moto, inside of LocalStack's own process.

LocalStack's providers start a program each (DynamoDB Local in Java, kinesis-mock on Node), where
what is in a table or stream can't be reached. Chosen with ``PROVIDER_OVERRIDE_DYNAMODB=moto`` and
``PROVIDER_OVERRIDE_KINESIS=moto``.
"""

from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="moto")  # type: ignore[untyped-decorator]
def dynamodb() -> Service:
    from localstack.aws.api.dynamodb import DynamodbApi
    from localstack.services.moto import MotoFallbackDispatcher

    return Service.for_provider(DynamodbApi(), dispatch_table_factory=MotoFallbackDispatcher)


@aws_provider(api="kinesis", name="moto")  # type: ignore[untyped-decorator]
def kinesis() -> Service:
    from localstack.aws.api.kinesis import KinesisApi
    from localstack.services.moto import MotoFallbackDispatcher

    return Service.for_provider(KinesisApi(), dispatch_table_factory=MotoFallbackDispatcher)
