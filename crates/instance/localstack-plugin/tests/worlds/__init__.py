"""Instances with something in every service that has an index, made from a seed.

Two worlds share some names, places and ids, so that loading one onto the other replaces, adds,
keeps and removes, within containers too.
"""

from worlds import messages, networks, programs, records
from worlds.world import fill

__all__ = ["fill", "messages", "networks", "programs", "records"]
