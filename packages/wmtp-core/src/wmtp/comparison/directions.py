"""Which of two values of a metric is the better one, by the metric's name: ours and other tools'."""

from __future__ import annotations

import re

UNITS = frozenset({"nats", "s", "MiB", "bytes"})
"""What is measured in these is the better the less of it there is."""

LOWER = frozenset({
    "loss", "nll", "negative_log_likelihood", "cross_entropy", "perplexity", "ppl", "bits_per_byte", "bits_per_character",
    "bpb", "bpc", "nats_per_word", "nats_per_byte", "latency", "time", "runtime", "duration", "seconds", "wer", "cer", "ter",
    "hter", "mer", "mse", "mae", "rmse", "mape", "brier", "brier_score", "ece", "calibration_error", "edit_distance",
    "levenshtein", "levenshtein_distance", "error", "errors", "error_rate", "failure_rate", "hallucination_rate", "toxicity",
    "toxicity_score",
})  # fmt: skip
"""Names, and what names end in behind an underscore, of which a smaller value is the better one."""

HIGHER = frozenset({
    "acc", "acc_norm", "acc_bytes", "acc_all", "acc_mutual_info", "accuracy", "exact", "exact_match", "em", "f1", "f1_score",
    "precision", "recall", "mcc", "bleu", "sacrebleu", "chrf", "chrf++", "rouge", "rouge1", "rouge2", "rougel", "rougelsum",
    "meteor", "bertscore", "comet", "likelihood", "log_likelihood", "loglikelihood", "match", "includes", "pattern", "answer",
    "choice", "math", "correct", "model_graded_qa", "model_graded_fact", "pass_rate", "reward", "ndcg", "mrr",
})  # fmt: skip

_OF_SAMPLES = re.compile(r"(_(mean|avg|average|median|total|sum|min|max|p\d\d))+$")
_PASS = re.compile(r"pass(@|_at_)(\d+|k)$")


def lower_is_better(metric: str, unit: str) -> bool:
    """Whether a smaller value is the better one: losses, errors, times, and what is measured in nats, seconds or bytes."""
    return unit in UNITS or _ends_in(_plain(metric), LOWER)


def is_known(metric: str, unit: str) -> bool:
    """Whether the name or unit says which direction is the better one; else `lower_is_better` assumed that the larger is."""
    plain = _plain(metric)
    return lower_is_better(metric, unit) or bool(_PASS.search(plain)) or _ends_in(plain, HIGHER)


def _plain(metric: str) -> str:
    """The name alone: without a filter behind it, the scorer before it, and what was made of the samples' values."""
    name = re.split(r"[ ,]", metric, maxsplit=1)[0].rpartition(".")[2]
    return _OF_SAMPLES.sub("", name.lower().replace("-", "_"))


def _ends_in(name: str, known: frozenset[str]) -> bool:
    words = name.split("_")
    return any("_".join(words[at:]) in known for at in range(len(words)))
