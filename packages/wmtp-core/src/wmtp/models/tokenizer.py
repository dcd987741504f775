"""`load_tokenizer`: the tokenizer of a folder in transformers format, with the ids that its own files give."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from wmtp.errors import ResourceError, first_line
from wmtp.models.sentencepiece import OWN_TEXT, class_name, load_sentencepiece, read_object, sentencepiece_file

log = logging.getLogger("wmtp.models")
_PROBES = (
    'def f(x):\n    if x > 10:\n        return  [x, 2345]\n\n\n# it\'s "done"\tHello  WORLD_42\n',
    " leading space, CamelCase and snake_case = 0xFF;\r\n\t\tindented\n",
    "한국어 café naïve — 漢字\n",
)


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder, as transformers' interface.

    What decides ids is the folder's own file: ``tokenizer.json``, or a SentencePiece file. transformers goes by the names that
    ``tokenizer_class`` and ``model_type`` give and rebuilds the pipeline of that class, so its ids are compared with the file's
    on a few texts, and where they part the file is loaded as it stands.

    Args:
        folder: where the files lie.
        trust_remote_code: whether a class that the folder brings may run.

    Raises:
        ResourceError: there is no tokenizer, or none that gives a program back; what is wrong and what to do.
        PluginError: a library that reads its file is not installed.
    """
    from transformers import AutoTokenizer

    file = sentencepiece_file(folder)
    remote = trust_remote_code and "auto_map" in read_object(folder / "tokenizer_config.json")
    if file is not None and class_name(folder) not in OWN_TEXT and not remote:
        return load_sentencepiece(file)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers raises what it likes for files that do not fit the class they name
        if not remote and (whole := _as_it_stands(folder)) is not None:
            return whole
        raise ResourceError(
            f"{folder} has no tokenizer that transformers can load (tokenizer.json, or the files of a slow one with "
            f"tokenizer_config.json). Save it beside the model. {type(error).__name__}: {first_line(error)}"
        ) from error
    return tokenizer if remote else _checked(tokenizer, folder)


def _as_it_stands(folder: Path) -> Any:
    """``tokenizer.json`` with no class's rules over it; ``None`` where it is missing or cannot be read."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # the caller has an error of its own to tell  # noqa: BLE001
        log.debug("%s/tokenizer.json: %s", folder, error)
        return None


def _checked(tokenizer: Any, folder: Path) -> Any:
    """The tokenizer, or the file's own where the two give other ids for the same text."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return tokenizer
    file = Tokenizer.from_file(str(path))
    if all(_agree(tokenizer, file, text) for text in _PROBES):
        return tokenizer
    log.warning(
        "%s: transformers' %s gives other token ids than %s itself; the file is followed",
        folder, type(tokenizer).__name__, path.name,
    )  # fmt: skip
    return _as_it_stands(folder)


def _agree(tokenizer: Any, file: Any, text: str) -> bool:
    """Whether the two give the same ids for a text, and the same text for the ids."""
    ids = file.encode(text, add_special_tokens=False).ids
    try:
        theirs = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    except Exception as error:  # a pipeline of a class whose unknown token the file does not have  # noqa: BLE001
        log.debug("%s: %s", type(tokenizer).__name__, error)
        return False
    back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return bool(theirs == ids and back == file.decode(ids, skip_special_tokens=True))
