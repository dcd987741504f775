"""report.md: a run for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any

from wmtp.evaluation.printable import printable


def percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


def amount(metric: Mapping[str, Any]) -> str:
    """A metric's value with its unit."""
    if metric["value"] is None or not metric.get("unit"):
        return percent(metric["value"])
    return f"{metric['value']:.3f} {metric['unit']}"


def span(metric: Mapping[str, Any]) -> str:
    if metric["low"] is not None and metric.get("unit"):
        return f"{metric['low']:.3f} – {metric['high']:.3f}"
    return "—" if metric["low"] is None else f"{100 * metric['low']:.1f} – {100 * metric['high']:.1f}"


def report(results: Mapping[str, Any], details: Mapping[str, Sequence[str]] = {}) -> str:
    """The text of report.md: the object of results.json, and what each evaluator has to say (`EvaluationResult.report`)."""
    run, model = results["run"], results["provenance"]["model"]
    name = " ".join(str(model[k]) for k in ("id", "variant") if model.get(k))
    if name == "samples:":
        name += str(model.get("file", ""))
    lines = [
        f"# {run['name']}",
        "",
        f"Model **{name or 'unknown'}**, finished {run['finished']}, {run['seconds']:.0f} s in this session.",
        "",
    ]
    lines += ["## Metrics", "", "| metric | value | 95 % interval | problems | samples |", "|---|---:|---:|---:|---:|"]
    for metric, value in results["metrics"].items():
        cells = (amount(value), span(value), value["problems"], value["samples"])
        lines.append(f"| `{metric}` | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "Intervals are 95 %, for new problems like these.", ""]
    lines += _failures(results)
    lines += ["## How the programs ended", "", "| evaluator | verdicts |", "|---|---|"]
    for evaluator, counts in results["verdicts"].items():
        lines.append(f"| {evaluator} | " + ", ".join(f"{n} {status}" for status, n in counts.items()) + " |")
    judging = results["judging"]
    lines += ["", " ".join((f"Judged at level **{judging['level']}**.", *judging["notes"])), ""]
    for evaluator, said in details.items():
        if said:
            lines += [f"## What failed in {evaluator}", "", *said, ""]
    lines += _generation(results["generation"])
    lines += ["## What was run", "", "| | |", "|---|---|"]
    lines += [f"| model {key} | `{value}` |" for key, value in model.items() if value != ""]
    sampling = results["recipe"]["eval"]["sampling"]
    if results["generation"]["tokens"]:  # replays draw nothing
        lines += [f"| sampling | {', '.join(f'{k} {v}' for k, v in sampling.items() if v is not None)} |"]
    for dataset, where in results["provenance"]["data"].items():
        lines.append(f"| data set {dataset} | {where['source']}: `{where['path']}` {where['version']}".rstrip() + " |")
    for plugin in results["provenance"]["plugins"]:
        lines.append(f"| plugin | {plugin['distribution']} {plugin['version']} ({plugin['state']}) |")
    lines += ["", f"Once more: `{_command(Path(run['directory']))}`"]
    return printable("\n".join(lines)) + "\n"


def _command(folder: Path) -> str:
    runs = [] if folder.parent == Path("runs") else ["--runs", str(folder.parent)]
    return join(["wmtp", "eval", str(folder / "config.yaml"), str(folder / "recipe.yaml"), *runs])


def _failures(results: Mapping[str, Any]) -> list[str]:
    lines = [f"- **{who}** failed: {what['error']}" for who, what in results["failed_evaluators"].items()]
    lines += [f"- {who}: {note}" for who, notes in results["notes"].items() for note in notes]
    if count := results["judging"]["infrastructure"]:
        lines.append(
            f"- {count} verdict{'s' if count > 1 else ''} could not be reached, through no fault of the model. The same "
            f"command does {'them' if count > 1 else 'it'} again."
        )
    return ["## What is missing", "", *lines, ""] if lines else []


def _generation(generation: Mapping[str, Any]) -> list[str]:
    rows = [("samples", generation["samples"]), ("tokens", generation["tokens"])]
    rows += [("cut off at max_new_tokens", generation["truncated"])]
    for key, title in (("tokens_per_forward", "tokens per forward pass"), ("tokens_per_second", "tokens per second")):
        if generation[key] is not None:
            rows.append((title, generation[key]))
    for head, share in enumerate(generation["acceptance"], 1):
        if share is not None:
            rows.append((f"drafts of extra head {head} accepted", percent(share)))
    lines = ["## Generation", "", "| | |", "|---|---:|", *(f"| {title} | {value} |" for title, value in rows), ""]
    for note in generation["notes"]:
        lines += [note, ""]
    if generation["batch_invariant"] is False:
        lines += ["Logits vary with the batch on this device, so another batch size may give other samples.", ""]
    return lines
