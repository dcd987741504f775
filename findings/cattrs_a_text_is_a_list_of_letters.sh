#!/usr/bin/env bash
# cattrs: a text where a configuration's record wants a list of texts is taken letter by letter, in the strictest mode too.
#
# Versions: cattrs 26.2.1, attrs 26.1.0.
# Seen: {"stop": "def"} into a record with `stop: list[str]` gives ['d', 'e', 'f'], and as a tuple of texts likewise; a number in
#   its place is an error. So does the JSON converter, with forbid_extra_keys and with prefer_attrib_converters.
# Why it matters: a setting of a generation, stop texts say, that somebody wrote without brackets ends every completion at a single
#   letter, and nothing says so.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'cattrs==26.2.1' 'attrs==26.1.0'
"$work/venv/bin/python" - <<'P'
import importlib.metadata
import sys

import attrs
import cattrs
from cattrs.preconf.json import make_converter


@attrs.define
class Generation:
    stop: list[str]


@attrs.define
class Frozen:
    stop: tuple[str, ...]


print("cattrs", importlib.metadata.version("cattrs"), "attrs", importlib.metadata.version("attrs"))
converters = {
    "default": cattrs.Converter(),
    "strict": cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=True, detailed_validation=True),
    "json": make_converter(forbid_extra_keys=True),
}
seen = []
for name, converter in converters.items():
    listed = converter.structure({"stop": "def"}, Generation).stop
    held = converter.structure({"stop": "def"}, Frozen).stop
    try:
        refused = not converter.structure({"stop": 3}, Generation)
    except Exception as error:
        refused = type(error).__name__
    print(f"{name}: a text becomes {listed!r} and {held!r}; a number: {refused}")
    seen.append((listed, held, bool(refused)))
sys.exit(0 if seen == [(["d", "e", "f"], ("d", "e", "f"), True)] * 3 else 1)
P
