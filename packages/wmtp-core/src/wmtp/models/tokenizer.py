"""`load_tokenizer`: the tokenizer of a folder in transformers format, with the ids that its own files give."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from wmtp.errors import ResourceError, first_line
from wmtp.models.causal import check_object
from wmtp.models.sentencepiece import (
    OWN_TEXT,
    class_name,
    load_sentencepiece,
    processor,
    read_object,
    sentencepiece_file,
)

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

    _check_small_files(folder)
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
            f"tokenizer_config.json). Save it beside the model. {_unread(folder)}{type(error).__name__}: {first_line(error)}"
        ) from error
    if not remote and not any(_ids(tokenizer, text) for text in _PROBES) and _as_it_stands(folder) is None:
        raise ResourceError(
            f"{folder}: transformers makes a {type(tokenizer).__name__} without any token of these files, so every prompt "
            f"would be empty. {_unread(folder)}Put the model's tokenizer.json beside it"
        )
    return tokenizer if remote else _checked(tokenizer, folder)


def _check_small_files(folder: Path) -> None:
    """Raises ResourceError for what says how a tokenizer is used and cannot be read: nobody would know what it said."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (path := folder / name).is_file():
            check_object(path)
    longest = read_object(folder / "tokenizer_config.json").get("model_max_length")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, (int, float))):
        raise ResourceError(f"{folder / 'tokenizer_config.json'}: model_max_length is {longest!r}, which is no number")


def _unread(folder: Path) -> str:
    """A file that looks like SentencePiece's and is none: transformers tells of another format's library, or of nothing."""
    found = next((path for path in sorted(folder.glob("*.model")) if processor(path) is None), None)
    return f"{found.name} is no whole file of SentencePiece's (fetch it again, if it is to be one). " if found else ""


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
    file.no_truncation()  # what was set for training holds for no prompt, in transformers neither
    file.no_padding()
    if all(_agree(tokenizer, file, text) for text in _PROBES):
        return tokenizer
    log.warning(
        "%s: transformers' %s gives other token ids than %s itself; the file is followed",
        folder, type(tokenizer).__name__, path.name,
    )  # fmt: skip
    if (found := _as_it_stands(folder)) is None:
        raise ResourceError(
            f"{path} cannot be loaded without the class that {folder.name} names, and with it the ids differ"
        )
    return found


def _agree(tokenizer: Any, file: Any, text: str) -> bool:
    """Whether the two give the same ids for a text, and the same text for the ids."""
    ids = file.encode(text, add_special_tokens=False).ids
    back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return bool(_ids(tokenizer, text) == ids and back == file.decode(ids, skip_special_tokens=True))


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Those of a text; none where it cannot be encoded: a class whose unknown token the file does not have."""
    try:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    except Exception as error:  # of the tokenizers library  # noqa: BLE001
        log.debug("%s: %s", type(tokenizer).__name__, error)
        return []
