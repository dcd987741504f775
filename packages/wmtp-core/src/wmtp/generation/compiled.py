"""The one function of ours that is written in C: compiled on the machine that runs it, once, and kept in the user's cache.

Nothing needs it. Where no compiler is, or it does not serve, `thin_product` says so in the log and `wmtp doctor`, and torch
multiplies.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("thin.c")
# Contracted to fused multiply-adds, which every row gets alike; nothing else about the arithmetic is left to the compiler.
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-fPIC")
PATIENCE = 120  # seconds; it takes one


@attrs.frozen
class Product:
    """``thin.c``. multiply: addresses of x, w and y; rows, width, outs; bytes of an element; threads. most: rows of x."""

    multiply: Callable[[int, int, int, int, int, int, int, int], None]
    most: int


class CompilerError(Exception):
    """Why there is no product in C here."""


@functools.cache
def thin_product() -> Product | None:
    """The product of ``thin.c``, or ``None``. torch has been imported: its threads are the ones that compute."""
    try:
        return load()
    except CompilerError as reason:
        log.info("products of a few rows are torch's own, which are slower: %s", reason)
        return None


def load() -> Product:
    """Compiles where it must. Raises CompilerError."""
    named = os.environ.get("CC") or "cc"
    try:
        compiler = shlex.split(named)
        if not shutil.which(compiler[0]):
            raise CompilerError(f"no C compiler ({named}) on the PATH")
        library = _library(compiler)
        # Its parallel loop is left unlinked, so that it runs on the threads that torch has brought and no second set of them.
        loaded = ctypes.CDLL(str(library))
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise CompilerError(f"{named}: {' '.join(str(said).split())[:300]}") from None
    multiply = loaded.wmtp_thin
    multiply.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_ssize_t] * 3 + [ctypes.c_int] * 2
    multiply.restype = None
    return Product(multiply, ctypes.c_int.in_dll(loaded, "wmtp_thin_most").value)


def _library(compiler: list[str]) -> Path:
    """The shared library for this source, compiler and processor. Raises OSError, RuntimeError (no home), SubprocessError."""
    pinned = "\0".join([SOURCE.read_text(encoding="utf-8"), *FLAGS, *compiler, platform.machine(), _features()])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wmtp" / "compiled"
    library = folder / f"thin-{hashlib.sha256(pinned.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            made, linked = Path(name) / "thin.o", Path(name) / "thin.so"
            _run(*compiler, *FLAGS, "-c", str(SOURCE), "-o", str(made))
            _run(*compiler, "-shared", str(made), "-o", str(linked))
            linked.replace(library)  # whole, for whoever else looks for it
    return library


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)


def _features() -> str:
    """What the processor can do: a home folder may serve machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.partition(":")[0].strip() in ("flags", "Features")), "")
