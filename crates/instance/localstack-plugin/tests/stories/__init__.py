"""What survives, service by service. What isn't here is not known to.

Each story fills an instance with its clients, tells what the API shows, and may try what only a
working resource can do.
"""

from stories import data, messaging, others, places, platform
from stories.story import STORIES, Story

__all__ = ["STORIES", "Story", "data", "messaging", "others", "places", "platform"]
