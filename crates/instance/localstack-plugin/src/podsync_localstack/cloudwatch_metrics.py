"""CloudWatch's database without what LocalStack measures of itself.

Once a minute LocalStack records the length of every queue, and with every message a counter. With
those rows an instance that nobody uses would be a different state each minute; a minute after a
load they are there again.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from podsync_localstack import archive

DATABASE = "metrics.db"
_OWN_NAMESPACE = "AWS/SQS"
_TABLES = ("SINGLE_METRICS", "AGGREGATED_METRICS")


def without_own(database: Path) -> tuple[BinaryIO, int]:
    """The database as a file that is open at its start, and its size."""
    with TemporaryDirectory(prefix="podsync-") as folder:
        stripped, compact = Path(folder, "stripped.db"), Path(folder, "compact.db")
        with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(stripped)) as copy:
            live.backup(copy)
            for table in _TABLES:
                copy.execute(f"DELETE FROM {table} WHERE namespace = ?", (_OWN_NAMESPACE,))
            copy.commit()
            # Pages keep traces of what was deleted; a new file has only what is left.
            copy.execute("VACUUM INTO ?", (str(compact),))
        spooled = archive.spool()
        spooled.write(compact.read_bytes())
    size = spooled.tell()
    spooled.seek(0)
    return spooled, size
