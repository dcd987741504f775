"""Members of a ZIP archive, those compressed by Zstandard (method 93) included, which `zipfile` lists and cannot read."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wmtp.errors import ConfigError

ZSTANDARD = 93
MOST_BYTES = 1 << 30  # of one member; a sample of an evaluation is far smaller


def members(path: Path, prefix: str | tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every member whose name starts with `prefix` (any of several), in the archive's order.

    Raises ConfigError where the archive is cut short or damaged, or where nothing here reads Zstandard.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for entry in archive.infolist():
                if not entry.filename.startswith(prefix) or entry.is_dir():
                    continue
                if entry.file_size > MOST_BYTES:
                    raise ConfigError(
                        f"{path}: member {entry.filename} has {entry.file_size} bytes, which no sample has"
                    )
                if entry.compress_type != ZSTANDARD:
                    yield entry.filename, archive.read(entry)
                    continue
                data = _decompressed(_raw(file, entry), entry.file_size)
                if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
                    raise ConfigError(f"{path}: member {entry.filename} is damaged: its checksum differs")
                yield entry.filename, data
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, struct.error) as error:
        raise ConfigError(
            f"{path}: not a whole ZIP archive (cut short, or a log still being written?): {error}"
        ) from None


def _raw(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """The compressed bytes of a member: behind its local header, whose own two lengths may differ from the directory's."""
    file.seek(entry.header_offset)
    header = file.read(30)
    signature, name, extra = struct.unpack("<4s22xHH", header)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member does not begin where the directory says")
    file.seek(name + extra, 1)
    return file.read(entry.compress_size)


def _decompressed(data: bytes, size: int) -> bytes:
    try:
        import zstandard
    except ImportError:
        return _by_pyarrow(data, size)
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise zipfile.BadZipFile(str(error)) from None


def _by_pyarrow(data: bytes, size: int) -> bytes:
    try:
        import pyarrow
    except ImportError:
        raise ConfigError(
            "this archive is compressed by Zstandard: pip install 'wmtp-core[inspect]' (or zstandard, or pyarrow)"
        ) from None
    try:
        return bytes(pyarrow.decompress(data, decompressed_size=size, codec="zstd", asbytes=True))
    except (OSError, ValueError) as error:
        raise zipfile.BadZipFile(str(error)) from None
