"""DynamoDB served by moto, for machines without Java.

LocalStack's own provider starts DynamoDB Local, a Java program whose tables live outside of this
process. Chosen with ``PROVIDER_OVERRIDE_DYNAMODB=moto``.
"""

from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="moto")
def provider() -> Service:
    from localstack.aws.api.dynamodb import DynamodbApi
    from localstack.services.moto import MotoFallbackDispatcher

    return Service.for_provider(DynamodbApi(), dispatch_table_factory=MotoFallbackDispatcher)
