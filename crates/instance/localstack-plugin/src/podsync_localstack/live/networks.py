"""Networks of EC2, which resources of other services name."""

from podsync_localstack import networks
from podsync_localstack.live.part import Live


class Networks(Live):
    # Merged before these are: which of its default networks is named is seen in what they hold.
    calls = networks.NAMING
