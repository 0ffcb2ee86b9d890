"""Transcription jobs: a thread each, with programs that it calls."""

from collections.abc import Iterator
from typing import Any

from podsync_localstack.live.part import CAUSE
from podsync_localstack.live.work import Work


class Transcriptions(Work):
    calls = ("s3",)

    def working(self) -> Iterator[tuple[str, Any]]:
        for _, _, store in self.stores():
            for job in list(store.transcription_jobs.values()):
                if job["TranscriptionJobStatus"] in ("QUEUED", "IN_PROGRESS"):
                    yield "transcription-job", job

    def end(self, item: Any) -> None:
        item["TranscriptionJobStatus"], item["FailureReason"] = "FAILED", CAUSE
