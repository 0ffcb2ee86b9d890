#!/usr/bin/env bash
# plux 1.16.0 (PyPI), the plugin loader of LocalStack.
#
# plux keeps the entry points of a Python path in a file of the user's cache folder. The file's name is a hash of the
# modification times of the path's folders and of each entry_points.txt. The times enter the hash as 32-bit floats,
# which are 128 seconds apart for a time of today. So where a package in the same place gets other entry points
# within the same 128 seconds, a new process still sees the old ones. importlib.metadata sees the new ones.
# Whoever replaces a plugin that LocalStack loads has to change a path, such as the version in the folder's name.
#
# Seen, for the same folder after its entry point "before" became "after" 20 seconds later:
#   importlib.metadata: after
#   plux: before
# and 200 seconds later:
#   plux: after
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet plux==1.16.0
information=packages/demo-1.dist-info
mkdir -p "$information"
printf 'Metadata-Version: 2.1\nName: demo\nVersion: 1\n' >"$information/METADATA"

# $1 is the entry point's name, $2 the time at which it was written.
has_entry_point() {
  printf '[demo.group]\n%s = demo:run\n' "$1" >"$information/entry_points.txt"
  touch --date "@$2" "$information/entry_points.txt" packages
}

cat >by_plux.py <<'PYTHON'
from plux.runtime.cache import EntryPointsCache

print([point.name for point in EntryPointsCache.instance().get_entry_points()["demo.group"]][0])
PYTHON
cat >by_importlib.py <<'PYTHON'
from importlib.metadata import entry_points

print([point.name for point in entry_points(group="demo.group")][0])
PYTHON

seen() { PYTHONPATH=packages XDG_CACHE_HOME=$folder/cache venv/bin/python "$1"; }

# A time from which the next one that a 32-bit float can hold is some 100 seconds away.
start=1700000030
has_entry_point before "$start"
[ "$(seen by_plux.py)" = before ]
has_entry_point after $((start + 20))
echo "importlib.metadata: $(seen by_importlib.py)"
[ "$(seen by_importlib.py)" = after ]
echo "plux: $(seen by_plux.py)"
[ "$(seen by_plux.py)" = before ]
has_entry_point after $((start + 200))
[ "$(seen by_plux.py)" = after ]
echo "as described"
