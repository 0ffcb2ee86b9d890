"""What LocalStack's own DynamoDB provider remembers about tables, beside what it stores."""

import sys

from podsync_localstack.live.part import Live


class Tables(Live):
    def start(self) -> list[str]:
        problems = super().start()
        for module, variable in (
            ("localstack.services.dynamodb.provider", "MANAGED_KMS_KEYS"),
            ("localstack.services.dynamodb.v2.provider", "MANAGED_KMS_KEYS"),
            ("localstack.services.dynamodb.utils", "SCHEMA_CACHE"),
        ):
            if module in sys.modules:
                getattr(sys.modules[module], variable).clear()
        return problems
