"""Sets one version for every package of this repository: ``python scripts/set_version.py 0.2.0``.

Rewrites ``version`` in each packages/*/pyproject.toml, ``__version__`` of wmtp, and the range of wmtp-core that the
siblings require (``>=0.2,<0.3``: ranges, since pins between siblings conflict at every release). Refuses a version that
is not newer than today's. ``--check`` changes nothing and exits 1 if the packages are out of step.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
INIT = Path("packages/wmtp-core/src/wmtp/__init__.py")
VERSION_LINE = re.compile(r'^version = "[^"]*"$', re.M)
DUNDER_LINE = re.compile(r'^__version__ = "[^"]*"$', re.M)
SIBLING = re.compile(r'"wmtp-core(\[[a-z,]+\])?>=[^"]*"')


def projects(root: Path) -> list[Path]:
    return sorted(root.glob("packages/*/pyproject.toml"))


def sibling_range(version: Version) -> str:
    return f">={version.major}.{version.minor},<{version.major}.{version.minor + 1}"


def found(root: Path) -> dict[str, str]:
    """Every place that states a version → the version or range it states."""
    places = {}
    for path in projects(root):
        data = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        places[data["name"]] = data["version"]
        for requirement in data.get("dependencies", []):
            if match := re.match(r"wmtp-core(?:\[[a-z,]+\])?(.*)", requirement):
                places[f"{data['name']} → wmtp-core"] = match[1]
    init = DUNDER_LINE.search((root / INIT).read_text(encoding="utf-8"))
    places["wmtp.__version__"] = init[0].split('"')[1] if init else "missing"
    return places


def check(root: Path) -> list[str]:
    """What is out of step, as lines for people; empty if all agree with wmtp-core's version."""
    places = found(root)
    version = Version(places["wmtp-core"])
    wanted = sibling_range(version)
    return [
        f"{place}: {stated}" for place, stated in places.items() if stated != (wanted if "→" in place else str(version))
    ]


def replace(path: Path, pattern: re.Pattern[str], text: str, *, required: bool = True) -> None:
    old = path.read_text(encoding="utf-8")
    new, count = pattern.subn(text, old)
    if required and count != 1:
        raise SystemExit(f"{path}: expected one line that matches {pattern.pattern}, found {count}")
    path.write_text(new, encoding="utf-8")


def set_version(root: Path, text: str) -> None:
    try:
        version = Version(text)
    except InvalidVersion:
        raise SystemExit(f"{text!r} is no version (PEP 440): write something like 0.2.0") from None
    current = Version(found(root)["wmtp-core"])
    if version <= current:
        raise SystemExit(f"{version} is not newer than {current}; nothing was changed")
    for path in projects(root):
        replace(path, VERSION_LINE, f'version = "{version}"')
        replace(path, SIBLING, f'"wmtp-core\\1{sibling_range(version)}"', required=False)
    replace(root / INIT, DUNDER_LINE, f'__version__ = "{version}"')


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        wrong = check(ROOT)
        print("\n".join(wrong) if wrong else f"all in step at {found(ROOT)['wmtp-core']}")
        return 1 if wrong else 0
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    set_version(ROOT, arguments[0])
    print("\n".join(f"{place}: {stated}" for place, stated in found(ROOT).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
