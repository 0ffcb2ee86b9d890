"""How much of a state changes when little of an instance does: podsync moves what changed."""

import io
import random
import zipfile
from collections import defaultdict

from podsync_localstack import pickling


def changed(before: bytes, after: bytes) -> int:
    """The bytes between the first and the last difference."""
    start = alike(before, after)
    return max(len(before), len(after)) - start - alike(before[start:][::-1], after[start:][::-1])


def alike(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(one), len(other)))


def test_one_item_more_leaves_the_others_bytes_alone():
    def state(number_of, **more):
        return {
            "attr_queues": {
                f"queue-{n}": defaultdict(
                    list,
                    messages=[
                        {"id": f"{n}-{m}", "attributes": [n, m]}
                        for m in range(number_of.get(n, 40))
                    ],
                )
                for n in range(100)
            }
            | more
        }

    before = pickling.dumps(state({}))
    assert changed(before, pickling.dumps(state({3: 41}))) < 500
    assert changed(before, pickling.dumps(state({}, another=["queue"]))) < 500
    assert pickling.loads(pickling.dumps(state({3: 41}))) == state({3: 41})


def test_one_message_more_in_a_filled_instance_moves_less_than_a_mebibyte(source):
    source.reset()
    sqs, text = source.client("sqs"), random.Random(7)
    urls = [sqs.create_queue(QueueName=f"queue-{n}")["QueueUrl"] for n in range(4)]
    for url in urls:
        for first in range(0, 1000, 10):
            entries = [
                {"Id": str(n), "MessageBody": f"{first + n} {text.randbytes(300).hex()}"}
                for n in range(10)
            ]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
    before = source.save("sqs")
    assert len(before) > 3 << 20
    sqs.send_message(QueueUrl=urls[0], MessageBody="one more")
    after = source.save("sqs")
    with zipfile.ZipFile(io.BytesIO(before)) as old, zipfile.ZipFile(io.BytesIO(after)) as new:
        assert old.namelist() == new.namelist()
        windows = [
            changed(old.read(name), new.read(name))
            for name in new.namelist()
            if old.read(name) != new.read(name)
        ]
    # A window of a page lies in one chunk or in two, and a chunk has 64 KiB on average.
    assert windows and max(windows) < 4096 and len(windows) <= 2
