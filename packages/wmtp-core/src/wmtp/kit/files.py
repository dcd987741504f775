"""Files of rows as people have them: compressed or not, in any Unicode form, in numbered parts that must all be there."""

from __future__ import annotations

import codecs
import gzip
import re
import shutil
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

from wmtp.contracts.loading import DatasetRequest
from wmtp.errors import ConfigError, ResourceError

COPY_BYTES = 2**20
_PART = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})")
_ARCHIVES = {
    b"PK\x03\x04": ("a zip archive", "unzip"),
    b"BZh": ("compressed by bzip2", "bunzip2"),
    b"\xfd7zXZ": ("compressed by xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unzstd"),
    b"7z\xbc\xaf": ("a 7z archive", "7z x"),
    b"\x89HDF": ("HDF5", "convert to jsonl or parquet:"),
}
_NOT_THE_FILE = (
    (b"version https://git-lfs", "a pointer of Git LFS; get the file itself: git lfs pull"),
    (b"<!doctype html", "a web page; look at what was downloaded"),
    (b"<html", "a web page; look at what was downloaded"),
)
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_BOMS = (  # UTF-32 before UTF-16, whose mark its own begins with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def split_files(
    request: DatasetRequest, patterns: Sequence[str], title: str, *, splits: Collection[str] = ()
) -> list[Path]:
    """The files of the split that is asked for, fetched if need be.

    Args:
        request: what `DatasetSpec.load` receives.
        patterns: see `files_of_split`; ``{split}`` in them stands for the split's name.
        title: the data set's name for people: ``"MBPP"``.
        splits: those that there are; empty: whatever the files are named.

    Raises:
        ConfigError: there is no such split, or its files are not all there.
    """
    split = request.split
    if splits and split not in splits:
        raise ConfigError(f"{request.dataset} has no split {split!r}; it has {', '.join(splits)}")
    found = [pattern.replace("{split}", split) for pattern in patterns]
    return files_of_split(request.fetch().path, found, f"{title} data for split {split!r}")


def files_of_split(path: Path, patterns: Sequence[str], what: str) -> list[Path]:
    """The files that hold a split.

    Args:
        path: the file itself, or a folder.
        patterns: globs in the folder, the best first; the first that finds files counts. One that ends in ``.jsonl`` or
            ``.json`` finds ``.gz`` files as well.
        what: what is looked for, for messages: ``"MBPP data for split 'test'"``.

    Raises:
        ConfigError: nothing is there, or parts of the split are missing.
    """
    if path.is_file():
        check_parts([path])
        return [path]
    for pattern in patterns:
        for name in (pattern, f"{pattern}.gz") if pattern.endswith((".jsonl", ".json")) else (pattern,):
            if found := sorted(p for p in path.glob(name) if p.is_file()):
                check_parts(found)
                return found
    packed = sorted(p.name for p in path.glob("*") if p.name.endswith(_PACKED))
    hint = f"; there is {', '.join(packed[:5])}, which is to be unpacked first" if packed else ""
    raise ConfigError(f"{path} holds no {what}: expected {', '.join(patterns)} (.jsonl and .json may be .gz){hint}")


def check_parts(files: Sequence[Path]) -> None:
    """Sees that files named ``…-00000-of-00002…`` are all there. Raises ConfigError that names those missing."""
    sets: dict[tuple[Path, str], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for file in files:
        if match := _PART.match(file.name):
            sets[file.parent, match["stem"]][int(match["total"])].add(int(match["number"]))
    for (folder, stem), totals in sets.items():
        if len(totals) > 1:
            several = " and ".join(str(total) for total in sorted(totals))
            raise ConfigError(
                f"{folder} holds parts of {stem} out of sets of {several}: files of two versions. Remove one set"
            )
        for total, there in totals.items():
            missing = [f"{stem}-{n:05}-of-{total:05}" for n in range(total) if n not in there]
            if missing:
                named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
                raise ConfigError(
                    f"{folder} holds {len(there)} of {total} parts of {stem}; not there: {named}. A score over a part of the "
                    "split would be another benchmark's: fetch the others, and name the folder that holds all of them"
                )


def open_text(path: Path) -> BinaryIO:
    """A file's text as UTF-8 without a byte order mark, to be read and sought in.

    gzip is undone, whatever the file's name; UTF-16 and UTF-32 are told by their byte order mark, or by the null bytes of
    ASCII text. What is not UTF-8 already goes through a temporary file, so that offsets stay cheap.

    Raises:
        ConfigError: another kind of archive, or bytes that are not what they say.
        ResourceError: the file cannot be read.
    """
    try:
        file: BinaryIO = path.open("rb")
        start = file.read(32)
    except OSError as error:
        raise ResourceError(f"cannot read {path}: {error.strerror}") from None
    for magic, (kind, tool) in _ARCHIVES.items():
        if start.startswith(magic):
            file.close()
            raise ConfigError(f"{path} is {kind}; unpack it first ({tool} {path.name})")
    for begins, what in _NOT_THE_FILE:
        if start.lower().startswith(begins):
            file.close()
            raise ConfigError(f"{path} is {what}")
    file.seek(0)
    if _is_tar(file):
        file.close()
        raise ConfigError(f"{path} is a tar archive; unpack it first (tar xf {path.name})")
    if start.startswith(b"\x1f\x8b"):
        file = _unpacked(path, file)
        start = file.read(8)
        file.seek(0)
        if _is_tar(file):
            raise ConfigError(f"{path} is a tar archive; unpack it first (tar xzf {path.name})")
    encoding = next((name for mark, name in _BOMS if start.startswith(mark)), None) or _unmarked(start)
    if encoding:
        file = _recoded(path, file, encoding)
    elif start.startswith(codecs.BOM_UTF8):
        file.seek(len(codecs.BOM_UTF8))
    return file


def _is_tar(file: BinaryIO) -> bool:
    file.seek(257)
    found = file.read(5) == b"ustar"
    file.seek(0)
    return found


def _unmarked(start: bytes) -> str | None:
    """UTF-16 without a mark, as far as it can be told: JSON begins with ASCII."""
    if len(start) < 4 or (start[0] and start[1]):
        return None
    if not start[1] and start[0] and not start[3]:
        return "utf-16-le"
    return "utf-16-be" if not start[0] and start[1] and not start[2] else None


def _unpacked(path: Path, file: BinaryIO) -> BinaryIO:
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with file, gzip.GzipFile(fileobj=file) as packed:
            shutil.copyfileobj(packed, plain, COPY_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: damaged gzip: {error}. Fetch it again") from None
    plain.seek(0)
    return plain


def _recoded(path: Path, file: BinaryIO, encoding: str) -> BinaryIO:
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with file:
            while block := file.read(COPY_BYTES):
                plain.write(decoder.decode(block).encode("utf-8", "surrogatepass"))
            plain.write(decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))
    except UnicodeError as error:
        raise ConfigError(f"{path}: not valid {encoding}: {error}") from None
    plain.seek(0)
    return plain
