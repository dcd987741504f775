"""Writes docs/models.md: what tiny models of transformers' types write beside its own ``generate``. Takes minutes."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
import transformers

from wmtp.testing.architectures import LENGTHS, LISTED, WINDOW, examine

PAGE = Path(__file__).resolve().parent.parent / "docs/models.md"
TEXT = """# Which models are decoded, and how

Any causal language model that transformers loads is decoded, in one of three ways. `results.json` says which
(`provenance.model.decoding`), and the report has a line where it was not the first.

| way | what it is |
|---|---|
| ragged | every row advances at its own pace, with drafts where a model has heads: the fastest |
| aligned | rows of equal length go together through the model's own cache; the shortest goes first, and groups merge |
| recomputed | the whole text is run again for every token: slow |

*ragged* is for attention that our masks and positions describe, sliding windows among them, and for the recurrent layers that
transformers keeps in its cache: hybrids and Mamba. *aligned* is for ALiBi, chunks, positions that are scaled by length,
recurrent states that a model keeps itself, and for hybrids that draft. *recomputed* is for models whose cache does not give
what a whole forward gives.

A type that is not listed here is compared once, when it is loaded: two texts, one longer than every window or threshold that
config.json names (up to 640 tokens), stepped through side by side and run whole. A difference leaves *recomputed*, and a model
that not even that decodes is refused. Encoders, encoders with decoders, and what embeds texts (`use_bidirectional_attention`:
EmbeddingGemma) are refused from config.json alone, before weights are fetched. A window of one position is kept as in a whole
forward; the cache of transformers keeps everything then.

## What is read beside the weights

Token ids are those of the folder's own file: `tokenizer.json`, or a SentencePiece file (`tokenizer.model`, `spiece.model`),
whatever `tokenizer_class` and `model_type` say. A SentencePiece file gives SentencePiece's ids with `<s>` in front
(`add_bos_token: false` in tokenizer_config.json leaves it out); one that drops spaces or line ends, and one of a class that
numbers its pieces by a rule of its own, is refused with the reason.

A folder whose files say one thing and whose weights another is refused, where transformers would run something else: a
tokenizer class without the file that it looks for, integer or scaled weights without a `quantization_config`, tensors that are
missing. What generation_config.json asks for beyond its end tokens (a repetition penalty, suppressed tokens, a temperature of
its own) is not applied, so that all models are asked alike, and report.md says so.

Python files that come with a model (`auto_map` in config.json) are not run unless the recipe says
`model.trust_remote_code: true`, and then they are part of what a run is known by.

Weights are read from safetensors, from `pytorch_model.bin`, and from a GGUF file alone in a folder (`pip install
"wmtp-core[gguf]"`; quantised weights become float32; `model.variant` names one among several). Of a GGUF file's tokenizer, a
SentencePiece model is put together again; another kind needs the model's `tokenizer.json` beside the file.

An adapter of peft (LoRA and its kin: a folder with `adapter_config.json` and `adapter_model.safetensors`; `pip install
"wmtp-core[torch,adapters]"`) is run with the model that it names in `base_model_name_or_path`. That one is looked for
where any model is: a folder (also beside the adapter), `paths.models.base_local` of that id, the cache, the storage, the
hub. The adapter is merged into the weights, but not into quantised ones. An adapter that lacks tensors, or has some that the
model has no place for, is refused; so are prompts that were trained (`PROMPT_TUNING`), which stand beside a model.

Quantised folders (`quantization_config` in config.json) are loaded by transformers and the package that each method needs;
one that is missing is named from config.json alone, before weights are fetched. Seen on the CPU: bitsandbytes in 4 and 8
bits, compressed-tensors, torchao. Eight bits of bitsandbytes round by what else is in the batch, so a quantised run is not
said to be independent of it.

## Several devices

`devices.device: balanced` spreads a model over all graphics processors in sight (transformers' `device_map`). A model in memory
may be spread in any way of accelerate's: `device_map`, `cpu_offload`, offloading to disk.

## A model in memory

A program that has a model already, in a training loop or a notebook, evaluates it without writing it out:

```python
plugins = wmtp.create_plugin_manager()
results = wmtp.evaluate(
    wmtp.load_config("config.yaml", plugins=plugins),
    wmtp.load_recipe("recipe.yaml", plugins=plugins),
    engine=wmtp.engine(model, tokenizer),
)
```

The weights are hashed when the engine is made and again at each `evaluate`: a run that was begun with other weights is not gone
on with, whatever changed them. All of them are read each time, about a second for a gigabyte: torch's version counters say
nothing of changes through `.data`. The model is in eval mode only while it is run; each of its modules is then in the mode that
its owner left it in.

## The table

The table is made by `python scripts/make_models_page.py` with transformers {version}: a random model of two to four layers a
type, windows and thresholds of {window} tokens, prompts of {lengths} tokens, float32, greedy at batch 1 and at batch 4
with three samples each, token for token beside `generate` at batch 1; and samples at temperature 0.9 that do not depend on
batch size or order. A slow test holds it.

| type | way | |
|---|---|---|
"""


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    lengths = ", ".join(map(str, LENGTHS))
    lines = [TEXT.format(version=transformers.__version__, window=WINDOW, lengths=lengths)]
    for name in LISTED:
        try:
            found = examine(name)
        except ValueError as reason:
            lines.append(f"| {name} | not tried | transformers does not run it at these sizes: {reason} |\n")
            continue
        note = found.note.split(":", 1)[-1].strip() if found.path == "refused" else ""
        if found.wrong:
            raise SystemExit(f"{name}: other tokens than generate: {found.wrong}")
        lines.append(f"| {name} | {found.path} | {note} |\n")
        print(lines[-1], end="", flush=True)
    page = "".join(lines)
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        raise SystemExit(f"{PAGE} is not what the script writes; run it without --check")


if __name__ == "__main__":
    main()
