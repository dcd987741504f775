"""Writes docs/hooks.md from hookspecs.py: ``python scripts/make_hooks_page.py [--check]``."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path

from wmtp.plugins import hookspecs, runhooks
from wmtp.plugins.kinds import KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs/hooks.md"
HEAD = """# Hooks

This page is generated from `wmtp.plugins.hookspecs` by `scripts/make_hooks_page.py`; a test holds it to its source, and another
runs every example.

{module}

## How plugins are loaded

- One broken plugin costs one line on stderr and nothing else; a recipe that *needs* it fails with that plugin's own error
  and the pip line. `WMTP_STRICT_PLUGINS=1` makes any broken plugin an error.
- `WMTP_PLUGINS=dist-a,dist-b` loads these distributions only (empty: none), `--no-plugin DIST` leaves one out; what is
  left out is never imported.
- Two plugins that claim one name ({kinds}) are an error that names both
  distributions. For metrics, `eval.metric_prefix: {{distribution: prefix_}}` keeps both.
- A misspelt hook name is an error, and so is a `wmtp_*` function that nobody marked with `@wmtp.hookimpl`.
- A plugin's own requirement on `wmtp-core` is checked before it is imported.
- Hook wrappers are refused, on every hook: one could rewrite everybody's results.
- A record whose field is wrong is refused where it is made, so the error names the plugin's own line.

`wmtp plugins list` shows every plugin, its state and its error.
"""


def hooks() -> dict[str, object]:
    """Name → function of every hook, in the order of the page."""
    of_runs = {name: value for name, value in vars(runhooks).items() if name.startswith("wmtp_")}
    return {kind.hook_name: kind.hook for kind in KINDS} | of_runs


def example(docstring: str) -> str:
    """The code behind ``Example:`` in a docstring."""
    return textwrap.dedent(docstring.split("Example:\n", 1)[1]).strip() + "\n"


def _text(docstring: str) -> str:
    """RST-flavoured docstring text as markdown: double backticks become single, paragraphs stay."""
    text = re.sub(r"``([^`]+)``", r"`\1`", docstring)
    return re.sub(
        r"::\n\n((?:    .*\n?|\n)+)", lambda m: ":\n\n```toml\n" + textwrap.dedent(m[1]).strip() + "\n```\n", text
    )


def page() -> str:
    names = [name for kind in KINDS for name in (kind.name, *(c.kind for c in kind.claims if c.registry))]
    parts = [HEAD.format(kinds=", ".join(names), module=_text(inspect.cleandoc(hookspecs.__doc__ or "")))]
    for name, function in hooks().items():
        docstring = inspect.getdoc(function) or ""
        prose = docstring.split("Example:\n", 1)[0].strip()
        signature = str(inspect.signature(function)).replace("'", "")  # type: ignore[arg-type]
        parts.append(
            f"## {name}\n\n```python\n{name}{signature}\n```\n\n{_text(prose)}\n\n```python\n{example(docstring)}```\n"
        )
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
