"""What S3 works out about its buckets, and keeps."""

from podsync_localstack.live.part import Live


class Buckets(Live):
    def start(self) -> list[str]:
        problems = super().start()
        self.provider._expiration_cache.clear()
        return problems
