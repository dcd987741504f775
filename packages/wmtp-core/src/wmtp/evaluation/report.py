"""report.md: a run for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import GenerationRecord, RunRecord, SpeculationRecord
from wmtp.errors import ConfigError
from wmtp.runs.folder import write_atomically
from wmtp.runs.printable import printable
from wmtp.runs.reader import Run
from wmtp.runs.record import command, model_name

TOO_LONG = {
    "error": "prompt too long: not there",
    "fail": "prompt too long: counted as failed",
    "fewer-shots": "prompt too long: asked with fewer examples",
}


def percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


def amount(metric: MetricValue) -> str:
    """A metric's value with its unit."""
    if metric.value is None or not metric.unit:
        return percent(metric.value)
    return f"{metric.value:.3f} {metric.unit}"


def span(metric: MetricValue) -> str:
    if metric.low is None or metric.high is None:
        return "—"
    if metric.unit:
        return f"{metric.low:.3f} – {metric.high:.3f}"
    return f"{100 * metric.low:.1f} – {100 * metric.high:.1f}"


def write_report(folder: Path, run: Run) -> Path:
    """Write report.md of a run: the reporter ``markdown``.

    Args:
        folder: The run folder.
        run: What is in it.

    Returns:
        The file.

    Raises:
        ConfigError: The run has no results yet.
    """
    if run.record is None:
        raise ConfigError(f"{folder} has no results yet, so there is nothing to report")
    path = folder / "report.md"
    write_atomically(path, report(run.record, run.details))
    return path


def report(record: RunRecord, details: Mapping[str, Sequence[str]] = {}) -> str:
    """The text of report.md: the record, and what each evaluator has to say (`EvaluationResult.report`)."""
    run, name = record.run, model_name(record.provenance.model)
    lines = [
        f"# {run.name}",
        "",
        f"Model **{name or 'unknown'}**, finished {run.finished}, {run.seconds:.0f} s in this session.",
        "",
    ]
    lines += ["## Metrics", "", "| metric | value | 95 % interval | made by | problems | samples |"]
    lines += ["|---|---:|---:|---|---:|---:|"]
    for metric, value in record.metrics.items():
        cells = (amount(value), span(value), value.method or "—", value.problems, value.samples)
        lines.append(f"| `{metric}` | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "An interval is for new problems like these.", ""]
    lines += _failures(record)
    lines += ["## How the programs ended", "", "| evaluator | verdicts |", "|---|---|"]
    for evaluator, counts in record.verdicts.items():
        lines.append(f"| {evaluator} | " + ", ".join(f"{n} {status}" for status, n in counts.items()) + " |")
    judged = f"Judged at level **{record.judging.level}**." if record.judging.level else "Nothing was judged."
    lines += ["", " ".join((judged, *record.judging.notes)), ""]
    for evaluator, said in details.items():
        if said:
            lines += [f"## What {evaluator} says", "", *said, ""]
    lines += _generation(record.generation)
    lines += _what_was_run(record)
    lines += ["", f"Once more: `{command(record)}`"]
    return printable("\n".join(lines)) + "\n"


def _what_was_run(record: RunRecord) -> list[str]:
    lines = ["## What was run", "", "| | |", "|---|---|"]
    lines += [f"| model {key} | `{value}` |" for key, value in record.provenance.model.items() if value != ""]
    sampling = record.recipe.get("eval", {}).get("sampling", {})
    if record.generation.tokens:  # replays draw nothing
        shown = {k: v for k, v in sampling.items() if v is not None and v != {}}
        lines += [f"| sampling | {', '.join(f'{k} {v}' for k, v in shown.items())} |"]
    for dataset, where in record.provenance.data.items():
        lines.append(f"| data set {dataset} | {where['source']}: `{where['path']}` {where['version']}".rstrip() + " |")
    for plugin in record.provenance.plugins:
        lines.append(f"| plugin | {plugin.distribution} {plugin.version} ({plugin.state}) |")
    return lines


def _failures(record: RunRecord) -> list[str]:
    lines = [f"- **{who}** failed: {what.error}" for who, what in record.failed_evaluators.items()]
    lines += [f"- {who}: {note}" for who, notes in record.notes.items() for note in notes]
    if count := record.judging.infrastructure:
        lines.append(
            f"- {count} verdict{'s' if count > 1 else ''} could not be reached, through no fault of the model. The same "
            f"command does {'them' if count > 1 else 'it'} again."
        )
    return ["## What is missing", "", *lines, ""] if lines else []


def _acceptance(drafts: SpeculationRecord) -> list[str]:
    lines = ["| draft | accepted | 95 % interval | of those whose predecessors were | |", "|---:|---:|---:|---:|:---|"]
    for depth, share in enumerate(drafts.per_position_acceptance_rate):
        span = drafts.per_position_interval[depth]
        shown = "—" if span is None else f"{100 * span[0]:.1f} – {100 * span[1]:.1f}"
        bar = "█" * round(20 * (share or 0))
        conditional = percent(drafts.conditional_acceptance_rate[depth])
        lines.append(f"| {depth + 1} | {percent(share)} | {shown} | {conditional} | {bar} |")
    return [*lines, "", "A draft is accepted where it is the token that was drawn, under the same noise.", ""]


def _generation(generation: GenerationRecord) -> list[str]:
    rows: list[tuple[str, object]] = [("samples", generation.samples), ("tokens", generation.tokens)]
    rows += [("cut off at max_new_tokens", generation.truncated)]
    rows += [(TOO_LONG.get(what, what), count) for what, count in generation.too_long.items()]
    if generation.tokens_per_forward is not None:
        rows.append(("tokens per forward pass", generation.tokens_per_forward))
    if generation.tokens_per_second is not None:
        rows.append(("tokens per second", generation.tokens_per_second))
    drafts = generation.speculation
    for head, share in enumerate(generation.acceptance if drafts is None else (), 1):
        if share is not None:
            rows.append((f"drafts of extra head {head} accepted", percent(share)))
    if drafts is not None:
        rows.append(("tokens a step that drafted, the bonus token included", drafts.mean_acceptance_length))
        rows.append(("the same, mean of completions' own", drafts.request_acceptance_length))
    lines = ["## Generation", "", "| | |", "|---|---:|", *(f"| {title} | {value} |" for title, value in rows), ""]
    lines += _acceptance(drafts) if drafts is not None else []
    for note in generation.notes:
        lines += [note, ""]
    if generation.batch_invariant is False:
        lines += ["Logits vary with the batch on this device, so another batch size may give other samples.", ""]
    return lines
