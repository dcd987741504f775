"""Our functions in C: compiled on the machine that runs them, once, and kept in the user's cache.

Nothing needs them. Where no compiler is, or it does not serve, `skinny_product` says so in the log and `wmtp doctor`, and torch
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

SOURCE = Path(__file__).with_name("decoder_layer.c")  # which takes in the others
SOURCES = tuple(sorted(SOURCE.parent.glob("*.c")))
# Contracted to fused multiply-adds, which every row gets alike; nothing else about the arithmetic is left to the compiler.
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-fPIC")
COMPILER_TIMEOUT_S = 60  # seconds; it takes two
MAX_MESSAGE_CHARACTERS = 300  # characters of what a compiler said


@attrs.frozen
class Product:
    """What was compiled.

    Attributes:
        multiply: addresses of x, w, bias (``None``: none) and y; rows, width, outs; bytes of an element; threads.
        most: rows of x, from which on a product that repacks the matrix is as fast.
        layer: addresses of the two records of ``layer_records.c``.
        scratch: bytes that `layer` takes for the same two.
    """

    multiply: Callable[[int, int, int | None, int, int, int, int, int, int], None]
    most: int
    layer: Callable[[int, int], None] = attrs.field(eq=False)
    scratch: Callable[[int, int], int] = attrs.field(eq=False)


class CompilerError(Exception):
    """Why there is no product in C here."""


@functools.cache
def skinny_product() -> Product | None:
    """The functions in C, or ``None``. torch has been imported: its threads are the ones that compute."""
    try:
        return load()
    except CompilerError as reason:
        log.info("products of a few rows are torch's own, which are slower: %s", reason)
        return None


def load() -> Product:
    """Compiles where it must. Raises CompilerError."""
    named = os.environ.get("CC", "").strip() or "cc"
    try:
        compiler = shlex.split(named)
        if not shutil.which(compiler[0]):
            raise CompilerError(f"no C compiler ({named}) on the PATH")
        key = _key(compiler)
        return _find_compiled(key) or _compile(compiler, key)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line] or error.stderr.splitlines()
        said = " ".join(lines)[:MAX_MESSAGE_CHARACTERS] or f"exit status {error.returncode}"
        raise CompilerError(f"{named}: {said}") from None
    except (OSError, ValueError, RuntimeError, AttributeError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{named}: {str(error)[-MAX_MESSAGE_CHARACTERS:]}") from None


def _folder() -> Path:
    chosen = Path(os.environ.get("XDG_CACHE_HOME") or ".")
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "wmtp" / "compiled"


def _key(compiler: list[str]) -> str:
    """Of this source, compiler and processor: a home folder may serve machines of several kinds."""
    sources = [source.read_text(encoding="utf-8") for source in SOURCES]
    pinned = "\0".join([*sources, *FLAGS, *compiler, platform.machine(), _features()])
    return hashlib.sha256(pinned.encode()).hexdigest()[:16]


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()[:16]


def _find_compiled(key: str) -> Product | None:
    """What was compiled before. A file that is not what its name says is passed over: a torn one would kill the process."""
    found = sorted(_folder().glob(f"skinny-{key}-*.so"))
    whole = next((path for path in found if path.is_file() and path.stem.endswith(_digest(path))), None)
    return _open_library(whole) if whole else None


def _compile(compiler: list[str], key: str) -> Product:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        made, linked = Path(name) / "skinny.o", Path(name) / "skinny.so"
        _run(*compiler, *FLAGS, "-c", str(SOURCE), "-o", str(made))
        # The parallel loop is left unlinked, so that it runs on the threads that torch has brought and no second set of them.
        _run(*compiler, "-shared", str(made), "-o", str(linked), "-lm")
        product = _open_library(linked)  # nothing is kept that does not serve
        linked.replace(folder / f"skinny-{key}-{_digest(linked)}.so")  # whole, for whoever else looks for it
    return product


def _open_library(library: Path) -> Product:
    loaded = ctypes.CDLL(str(library))
    multiply = loaded.wmtp_skinny_gemm
    multiply.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_ssize_t] * 3 + [ctypes.c_int] * 2
    multiply.restype = None
    layer, scratch = loaded.wmtp_decoder_layer, loaded.wmtp_layer_scratch
    layer.argtypes = scratch.argtypes = [ctypes.c_void_p] * 2
    layer.restype, scratch.restype = None, ctypes.c_ssize_t
    return Product(multiply, ctypes.c_int.in_dll(loaded, "wmtp_skinny_gemm_most").value, layer, scratch)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=COMPILER_TIMEOUT_S)


def _features() -> str:
    """What the processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.partition(":")[0].strip() in ("flags", "Features")), "")
