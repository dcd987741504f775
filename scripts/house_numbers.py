"""Numbers of the house: lines of src, long modules and functions, imports of the busiest modules, words that were to go.

    python scripts/house_numbers.py [--check] [FOLDER]

FOLDER is a checkout (this one). A line counts whatever is in it; decorators are not a function's lines. ``--check`` prints
only the modules, functions and benchmarks that are longer than one may be, and exits 1 where there are any: split the first
two by role; what of a benchmark others need as well is `wmtp.kit`'s.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 60
BENCHMARK_LINES = 250
WORDS = (
    "Ends", "_Turns", "ThinLinear", "read_once", "FIRST_WEIGHING", "Environment", "Gather", "Invalid", "Owned", "Part",
    "Content", "Changed", "Direct", "NOTES", "NAMED", "PATIENCE", "MANY", "KS", "Place",
)  # fmt: skip
"""Words of the review that the field has others for; names that whole modules share with ordinary prose are left out."""


def modules(root: Path) -> dict[str, tuple[Path, ast.Module]]:
    """Dotted name → file and syntax tree, of all packages."""
    found = {}
    for src in sorted(root.glob("packages/*/src")):
        for file in sorted(src.rglob("*.py")):
            name = ".".join(file.relative_to(src).with_suffix("").parts).removesuffix(".__init__")
            found[name] = (file, ast.parse(file.read_text(encoding="utf-8")))
    return found


def imported(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """The modules of ours that one imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {one for one in found if one in known and one != name}


def functions(found: dict[str, tuple[Path, ast.Module]]) -> list[tuple[int, str]]:
    """Length and dotted name of every function, the longest first."""
    lengths = [
        ((node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}")
        for name, (_, tree) in found.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(lengths, reverse=True)


def too_long(found: dict[str, tuple[Path, ast.Module]], lines: dict[str, int]) -> list[str]:
    """A line for each module and function that is too long."""
    modules = [f"{name}: {n} lines (limit {MODULE_LINES})" for name, n in lines.items() if n > MODULE_LINES]
    return modules + [
        f"{name}: {n} lines (limit {FUNCTION_LINES})" for n, name in functions(found) if n > FUNCTION_LINES
    ]


def benchmarks(root: Path) -> dict[str, int]:
    """Lines of the src of every benchmark's package, as ``wc -l`` counts them, those of the example included."""
    folders = [*root.glob("packages/wmtp-eval-*"), root / "packages/wmtp-sample-plugin"]
    return {
        folder.name: sum(file.read_bytes().count(b"\n") for file in (folder / "src").rglob("*.py"))
        for folder in sorted(folders)
    }


def main(arguments: list[str]) -> int:
    folders = [one for one in arguments if one != "--check"]
    root = Path(folders[0]) if folders else Path(__file__).resolve().parent.parent
    found = modules(root)
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, (file, _) in found.items()}
    if "--check" in arguments:
        faults = too_long(found, lines)
        faults += [
            f"{name}: {n} lines (limit {BENCHMARK_LINES})"
            for name, n in benchmarks(root).items()
            if n > BENCHMARK_LINES
        ]
        print("\n".join(faults), end="\n" if faults else "")
        return 1 if faults else 0
    print(f"src: {len(found)} modules, {sum(lines.values()):,} lines")
    print(f"over 300 lines: {sum(n > 300 for n in lines.values())} · longest modules:", top(lines))
    print("longest functions:", functions(found)[:5])
    print("benchmarks:", benchmarks(root))
    outgoing = {name: imported(name, tree, set(found)) for name, (_, tree) in found.items()}
    incoming = Counter(target for targets in outgoing.values() for target in targets)
    busy = sorted(found, key=lambda name: -(incoming[name] + len(outgoing[name])))[:5]
    print("fan-in/out of the busiest:", {name: f"{incoming[name]}/{len(outgoing[name])}" for name in busy})
    text = "\n".join(file.read_text(encoding="utf-8") for file, _ in found.values())
    counts = {word: len(re.findall(rf"(?<![\w\"'`-]){word}(?![\w\"'`-])", text)) for word in WORDS}
    print("words left:", {word: n for word, n in counts.items() if n})
    return 0


def top(lines: dict[str, int]) -> dict[str, int]:
    """The three longest modules."""
    return dict(sorted(lines.items(), key=lambda item: -item[1])[:3])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
