"""Clusters of OpenSearch: a program for each domain, where they aren't all served by one."""

from typing import Any

from podsync_localstack.live.part import Live


class Domains(Live):
    def settle(self) -> None:
        """LocalStack's hook starts what is missing, and leaves what belongs to no domain."""
        from localstack.services.opensearch.cluster_manager import DomainKey
        from localstack.services.opensearch.provider import cluster_manager

        manager: Any = cluster_manager()
        wanted = {
            DomainKey(name, region, account).arn
            for account, region, store in self.stores()
            for name in store.opensearch_domains
        }
        for arn in [arn for arn in getattr(manager, "clusters", ()) if arn not in wanted]:
            manager.remove(arn)
