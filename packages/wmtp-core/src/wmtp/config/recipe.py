"""recipe.yaml: what to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from wmtp.config.checks import run_name
from wmtp.contracts.engines import MOST, Sampling
from wmtp.contracts.evaluation import TooLong
from wmtp.contracts.validators import at_least
from wmtp.contracts.values import at_most
from wmtp.statistics.margin import check_margin

# Used only when the command line, the recipe, the environment (WMTP_MODEL_BASE, …_RM, …_REF) and the local paths are
# silent: those always win.
DEFAULT_MODEL_IDS: Mapping[str, str] = {
    "base": "facebook/multi-token-prediction",
    "ref": "princeton-nlp/Sheared-LLaMA-1.3B",
    "rm": "sfairXC/FsfairX-LLaMA3-RM-v0.1",
}
DEFAULT_VARIANT = "7B_1T_4"
"""The variant meant when the default base model is named without one."""


@attrs.frozen(kw_only=True)
class RunConfig:
    """``run``. The name is the run directory's name."""

    name: str = attrs.field(default="run", validator=run_name)
    tags: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class MtpConfig:
    """``model.mtp``: heads to draft with (``None``: all the checkpoint has), and whether to draft at all.

    speculative   ``auto`` may give drafts up where they lose time, ``always`` does not, ``off`` makes none. No text differs.
    """

    n_heads: int | None = attrs.field(default=None, validator=at_least(1))
    speculative: Literal["auto", "always", "off"] = "auto"


@attrs.frozen(kw_only=True)
class ModelConfig:
    """``model``. `base_id` ``None`` leaves the choice to the environment and then to `DEFAULT_MODEL_IDS`.

    `loader` chooses one by name where several match; `loaders` maps a loader's name to its settings, structured by the class
    that its plugin declares. `trust_remote_code` lets Python files that come with the model run: its own
    classes, for types that transformers does not know.
    """

    base_id: str | None = None
    revision: str | None = None
    variant: str | None = None
    loader: str | None = None
    loaders: Mapping[str, Any] = attrs.field(factory=dict)
    trust_remote_code: bool = False
    mtp: MtpConfig = MtpConfig()


@attrs.frozen(kw_only=True)
class DecideConfig:
    """``eval.decide``: the difference of pass@1 that sampling against another run is to find (0.02 is two points)."""

    difference: float = attrs.field(default=0.02)

    @difference.validator
    def _a_margin(self, attribute: attrs.Attribute[float], value: float) -> None:
        check_margin(value, share=True)


@attrs.frozen(kw_only=True)
class EvalConfig:
    """``eval``. `evaluators` maps an evaluator id to its settings, structured by the class its plugin declares.

    `against` is the folder of a finished run to beat: sampling stops once `decide` stands, at `sampling.n` at the latest.

    `too_long` says what is done where a prompt does not fit the model's context: ``error`` leaves its metrics without a value,
    ``fail`` counts its samples as failed, ``fewer-shots`` asks again with fewer solved examples, where the prompt has some.

    Evaluators that the metrics need are always in it, with their defaults where the file says nothing.
    """

    protocol: str = "meta-mtp"
    sampling: Sampling = attrs.field(factory=Sampling)
    metrics: tuple[str, ...] = ()
    batch_size: int | Literal["auto"] = attrs.field(default="auto", validator=[at_least(1), at_most(MOST)])
    limit: int | None = attrs.field(default=None, validator=at_least(1))
    metric_prefix: Mapping[str, str] = attrs.field(factory=dict)
    evaluators: Mapping[str, Any] = attrs.field(factory=dict)
    against: str | None = None
    decide: DecideConfig = DecideConfig()
    too_long: TooLong = "error"


@attrs.frozen(kw_only=True)
class Recipe:
    """All of recipe.yaml. `sections` holds those that plugins own, by name, each an instance of its plugin's class."""

    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    eval: EvalConfig = EvalConfig()
    sections: Mapping[str, Any] = attrs.field(factory=dict)
