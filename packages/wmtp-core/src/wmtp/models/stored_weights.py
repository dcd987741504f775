"""What is wrong with stored weights that transformers loads all the same, or calls by a name that tells nobody what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from wmtp.errors import ResourceError
from wmtp.models.architectures.load import Checkpoint
from wmtp.models.weight_files import indexed

_PICKLE = b"\x80"  # what torch wrote before it wrote zip files
_SCALES = re.compile(
    r"\.(weight_scale\w*|weight_zero_point|weight\.(absmax|quant_\w+|nested_\w+)(\.\w+)*|SCB|scales|qzeros|g_idx)$"
)


def check_pickles(files: Sequence[Path]) -> None:
    """Looks at pytorch_model*.bin files without reading them.

    Raises:
        ResourceError: one is cut off or damaged, or one that the index names is missing.
    """
    folder = files[0].parent
    for path in files:
        with path.open("rb") as opened:
            begins = opened.read(1)
        if not is_zipfile(path) and begins != _PICKLE:
            raise ResourceError(
                f"{path} cannot be loaded: it holds Python objects, or is damaged or cut off. Fetch it again"
            )
    if (folder / "pytorch_model.bin").is_file():
        return
    index = "pytorch_model.bin.index.json"
    if absent := [name for name in sorted(indexed(folder, index)) if not (folder / name).is_file()]:
        raise ResourceError(f"{folder / absent[0]} is missing: {index} names it. Fetch it as well")


def check_unscaled(checkpoint: Checkpoint, unexpected: Iterable[str], model: Any) -> None:
    """Looks whether a folder whose config.json speaks of no quantisation holds quantised weights.

    transformers takes such numbers as they stand, without what scales them.

    Raises:
        ResourceError: weights are whole numbers, or scales lie beside them.
    """
    missing = (
        "config.json has no quantization_config, so nobody knows what scales them. Fetch the whole config.json again"
    )
    if scales := sorted(name for name in unexpected if _SCALES.search(name) and not checkpoint.is_module(name)):
        raise ResourceError(f"{checkpoint.folder}: the weights are quantised ({scales[0]} …), and {missing}")
    floating = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    if whole := checkpoint.whole_numbers(floating):
        raise ResourceError(f"{checkpoint.folder}: weights are stored as whole numbers ({whole} …), and {missing}")
