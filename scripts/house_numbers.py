"""Numbers of the house: lines of src, long modules and functions, imports of the busiest modules, words that were to go.

    python scripts/house_numbers.py [FOLDER]

FOLDER is a checkout (this one). A line counts whatever is in it; decorators are not a function's lines.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

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


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = modules(root)
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, (file, _) in found.items()}
    print(f"src: {len(found)} modules, {sum(lines.values()):,} lines")
    longest = sorted(lines.items(), key=lambda item: -item[1])
    print("over 300 lines:", sum(n > 300 for n in lines.values()), "· over 400:", [m for m in longest if m[1] > 400])
    functions = [
        ((node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}")
        for name, (_, tree) in found.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    print("longest functions:", sorted(functions, reverse=True)[:5])
    outgoing = {name: imported(name, tree, set(found)) for name, (_, tree) in found.items()}
    incoming = Counter(target for targets in outgoing.values() for target in targets)
    busy = sorted(found, key=lambda name: -(incoming[name] + len(outgoing[name])))[:5]
    print("fan-in/out of the busiest:", {name: f"{incoming[name]}/{len(outgoing[name])}" for name in busy})
    text = "\n".join(file.read_text(encoding="utf-8") for file, _ in found.values())
    counts = {word: len(re.findall(rf"(?<![\w\"'`-]){word}(?![\w\"'`-])", text)) for word in WORDS}
    print("words left:", {word: n for word, n in counts.items() if n})
    return 0


if __name__ == "__main__":
    sys.exit(main())
