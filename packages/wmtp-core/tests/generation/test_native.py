"""The product in C: compiled once for each kind of processor, and done without where that fails."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wmtp.generation.kernels import native
from wmtp.generation.kernels.native import CompilerError, Product


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one. What is compiled for it is not made fast: that takes six times as long."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(native, "FLAGS", ("-O0", *native.FLAGS[1:]))
    return tmp_path / "home"


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_it_is_compiled_once(product: Product, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    real = shutil.which(os.environ.get("CC") or "cc")
    monkeypatch.setenv("CC", script(tmp_path / "counting", f'echo "$@" >> {log}\nexec {real} "$@"'))
    assert native.load().most == product.most
    assert native.load().most == product.most
    assert len(log.read_text(encoding="utf-8").splitlines()) == 2, "compiled and linked, once"
    assert [path.suffix for path in (home / "wmtp/compiled").iterdir()] == [".so"]
    monkeypatch.setattr(native, "_features", lambda: "of another processor")
    native.load()
    assert len(list((home / "wmtp/compiled").iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo 'unknown flag' >&2; exit 1", "unknown flag"),
        ("exit 0", "No such file"),  # it makes nothing
        ("exit 7", "exit status 7"),
        ('while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "too short|invalid ELF"),
        (
            'case "$*" in *-c*) echo "int x;" > $PWD/x.c; exec cc -fPIC -c $PWD/x.c -o "${@: -1}";; *) exec cc "$@";; esac',
            "wmtp_skinny_gemm",
        ),
    ],
    ids=["refuses", "makes nothing", "says nothing", "makes nonsense", "makes something else"],
)
def test_a_compiler_that_does_not_serve_is_told(
    text: str, told: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", script(tmp_path / "bad", text))
    with pytest.raises(CompilerError, match=told):
        native.load()
    assert list((home / "wmtp/compiled").iterdir()) == [], "nothing is kept that does not serve"


@pytest.mark.parametrize("size", [0, 100, 8192])
def test_a_torn_library_is_made_again(product: Product, home: Path, size: int) -> None:
    """To load one would end the process without a word."""
    native.load()
    (library,) = (home / "wmtp/compiled").iterdir()
    whole = library.read_bytes()
    library.write_bytes(whole[:size])
    code = (
        "import torch\nfrom wmtp.generation.kernels import native\n"
        f"native.FLAGS = {native.FLAGS!r}\nprint(native.load().most)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(product.most), done.stderr
    assert library.read_bytes() == whole


def test_a_blank_name_is_none(product: Product, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "  ")
    assert native.load().most == product.most


def test_no_compiler_and_no_folder_are_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CompilerError, match="no-such-compiler"):
        native.load()
    monkeypatch.setenv("CC", "true")
    home.write_text("a file")
    with pytest.raises(CompilerError, match="home"):
        native.load()


def test_a_processor_without_the_instructions_is_told(
    product: Product, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-mno-avx512f", "-mno-avx2"))
    with pytest.raises(CompilerError, match="AVX2"):
        native.load()


def test_narrower_vectors_give_the_same_products(product: Product, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-mno-avx512f"))
    narrow = native.load()
    assert narrow.most == 8
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7)):
        x, weight = torch.randn(7, 96).to(dtype), torch.randn(20, 96).to(dtype)
        out = x.new_empty(7, 20)
        narrow.multiply(x.data_ptr(), weight.data_ptr(), None, out.data_ptr(), 7, 96, 20, x.element_size(), 2)
        torch.testing.assert_close(out, x @ weight.T, atol=1e-4, rtol=tolerance)


def test_it_runs_on_the_threads_of_torch(product: Product, home: Path) -> None:
    """A second set of threads would fight with torch's for the processors."""
    code = (
        "import re, torch\nfrom wmtp.generation.kernels import native\n"
        f"native.FLAGS = {native.FLAGS!r}\nnative.load()\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(len({line.split()[-1] for line in maps.splitlines() if re.search(r'lib(gomp|iomp5|omp)', line)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    (library,) = (home / "wmtp/compiled").iterdir()
    alone = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert "undefined symbol: " in done.stderr, "it brings none of its own"
    assert ctypes.CDLL(str(library)).wmtp_skinny_gemm
