"""Folders on disk that belong to a service's state, such as CloudWatch's database."""

import shutil
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from localstack.state import AssetDirectory

from podsync_localstack import cloudwatch_metrics, names
from podsync_localstack.archive import ArchiveReader, ArchiveWriter


def save(service: str, folders: list[AssetDirectory], archive: ArchiveWriter) -> None:
    files: list[tuple[str, Path]] = []
    for position, folder in enumerate(folders):
        root = Path(folder.path)
        prefix = names.asset_folder(service, position)
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                parts = path.relative_to(root).parts
                files.append((prefix + "/".join(map(names.segment, parts)), path))
    for member, path in sorted(files):
        source, size = _open(service, path)
        with source:
            archive.copy(member, source, size)


def _open(service: str, path: Path) -> tuple[BinaryIO, int]:
    if service == "cloudwatch" and path.name == cloudwatch_metrics.DATABASE:
        return cloudwatch_metrics.without_own(path)
    return path.open("rb"), path.stat().st_size


def clear(folders: list[AssetDirectory]) -> None:
    for folder in folders:
        shutil.rmtree(folder.path, ignore_errors=True)
        Path(folder.path).mkdir(parents=True, exist_ok=True)


def load(service: str, folders: list[AssetDirectory], archive: ArchiveReader) -> None:
    for position, folder in enumerate(folders):
        prefix = names.asset_folder(service, position)
        for member in archive.under(prefix):
            target = Path(folder.path)
            for part in member.removeprefix(prefix).split("/"):
                target /= _file_name(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _file_name(segment: str) -> str:
    name = unquote(segment, errors="surrogateescape")
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise ValueError(f"{segment!r} is not the name of a file")
    return name
