"""What S3 works out about its buckets, and keeps."""

from podsync_localstack.live.part import Live


class Buckets(Live):
    def start(self) -> list[str]:
        problems = super().start()
        from localstack.services.s3 import presigned_url

        self.provider._expiration_cache.clear()
        # It remembers the secrets of keys that IAM may not have any more.
        presigned_url.get_secret_access_key_from_access_key_id.cache_clear()
        return problems
