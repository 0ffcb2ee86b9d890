"""The companion of podsync inside community LocalStack: save, load and reset a running instance."""

__version__ = "0.1.0"
