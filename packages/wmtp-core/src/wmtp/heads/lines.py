"""``wmtp heads`` for people."""

from __future__ import annotations

from typing import Any

from wmtp.heads.acceptance import RULES
from wmtp.heads.session import HeadReport

BAR = 30


def lines(found: HeadReport) -> list[str]:
    """The report, line by line."""
    data = found.to_json()
    what = (
        f"the model's own answers at temperature {found.sampling.temperature:g}" if found.drawn else "the given texts"
    )
    said = [f"On {what}: {len(found.texts)} text{'' if len(found.texts) == 1 else 's'}; 95 % intervals over them."]
    said += [f"  not measured: {name}: {why}" for name, why in list(found.skipped.items())[:5]]
    if len(found.skipped) > 5:
        said.append(f"  and {len(found.skipped) - 5} more")
    own = data["next_token"]
    said += ["", f"next token: loss {own['loss']:.3f} nats, first choice {100 * own['top1']:.1f} %", ""]
    said.append(f"{'draft':<6}{'loss':>7}{'top-1':>8}   {'accepted: argmax':<24}{'ratio':<24}shared noise")
    for row in data["depths"]:
        spans = "".join(f"{_share(row, 'acceptance', rule):<24}" for rule in RULES).rstrip()
        said.append(f"{row['depth']:<6}{row['loss']:>7.3f}{100 * row['top1']:>6.1f} %   {spans}")
    said.append("of those whose predecessors were accepted:")
    for row in data["depths"]:
        spans = "".join(f"{_share(row, 'conditional', rule):<24}" for rule in RULES).rstrip()
        said.append(f"{row['depth']:<6}{'':>15}   {spans}")
    said += ["", *_picture(data["depths"]), ""]
    for row in data["expected_length"]:
        pooled = ", ".join(f"{rule} {row[rule]:.2f}" for rule in RULES)
        per_request = ", ".join(f"{row['per_request'][rule]:.2f}" for rule in RULES)
        said.append(
            f"expected tokens a step with {row['k']} draft{'s' if row['k'] > 1 else ''}: {pooled} (per request: {per_request})"
        )
    if data["check"]:
        said += ["", *_check(data["check"])]
    return said


def _share(row: dict[str, Any], what: str, rule: str) -> str:
    value, span = row[what][rule], row["intervals"][what][rule]
    if value is None:
        return "—"
    return f"{100 * value:.1f} %" + (f" ({100 * span[0]:.1f} – {100 * span[1]:.1f})" if span else "")


def _picture(rows: list[dict[str, Any]]) -> list[str]:
    """Acceptance under shared noise, with its interval between the marks."""
    drawn = []
    for row in rows:
        value, span = row["acceptance"]["gumbel"] or 0.0, row["intervals"]["acceptance"]["gumbel"]
        cells = ["█" if i < round(BAR * value) else "·" for i in range(BAR + 1)]
        for end in span or ():
            cells[round(BAR * end)] = "|"
        drawn.append(f"{row['depth']:<6}{''.join(cells)}")
    return drawn


def _check(check: dict[str, Any]) -> list[str]:
    said = [f"convention: {check['says']}"]
    if check["engines"]:
        said.append(f"  in the field: {check['engines']}")
    for variant in check["variants"][:8]:
        span = variant["intervals"]["loss"]
        shown = f" ({span[0]:.3f} – {span[1]:.3f})" if span else ""
        name = (
            f"[{', '.join('embedding' if c == 'e' else 'hidden' for c in variant['concat'])}], {variant['hidden']}-norm"
        )
        name += f", {variant['chain']}-norm between steps" + (
            ", first embedding zeroed" if variant["zero_first"] else ""
        )
        said.append(f"  {name:<75} loss {variant['loss']:.3f}{shown}, first choice {100 * variant['top1']:.1f} %")
    said += [f"  control, {name:<66} loss {c['value']:.3f}" for name, c in check["controls"].items()]
    return said
