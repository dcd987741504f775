"""From examples to rows: what is trained, where documents lie, and how it is counted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import byte_tokenizer

import wmtp
from wmtp.weighting import trained_positions
from wmtp_train.rows import Rows, pack
from wmtp_train.tokens import Document, document

TOKENIZER = byte_tokenizer()


def doc(length: int, answer_from: int, number: int = 0) -> Document:
    return Document(id=str(number), ids=tuple(range(2, 2 + length)), answer_from=answer_from)


DOCUMENTS = st.lists(
    st.tuples(st.integers(2, 12), st.integers(0, 11)).map(lambda pair: doc(pair[0], min(pair[1], pair[0] - 1))),
    min_size=1,
    max_size=12,
)


@given(documents=DOCUMENTS, several=st.booleans())
def test_every_document_is_in_one_row_and_no_row_is_too_long(documents: list[Document], several: bool) -> None:
    rows = pack(documents, 16, several=several)
    assert sorted(number for row in rows for number in row) == list(range(len(documents)))
    assert all(sum(len(documents[number].ids) for number in row) <= 16 for row in rows)


@given(documents=DOCUMENTS, several=st.booleans(), prompt_weight=st.sampled_from([0.0, 0.5]))
def test_counts_are_those_of_the_loss(documents: list[Document], several: bool, prompt_weight: float) -> None:
    rows = Rows(documents, 16, several=several, prompt_weight=prompt_weight)
    batch = rows.batch(range(len(rows)))
    for head in range(4):
        there = trained_positions(batch.exists, head, segments=batch.segments, trained=batch.trained)
        assert there.sum(1).tolist() == [rows.counts(row, 4)[head] for row in range(len(rows))]


def test_an_empty_micro_batch_trains_nothing() -> None:
    rows = Rows([doc(5, 2)], 16, several=True, prompt_weight=0.0)
    batch = rows.batch([])
    assert not batch.trained.any()
    assert not batch.exists.any()


def test_the_answer_is_trained_with_its_end_token_and_the_prompt_is_not() -> None:
    found = document(TOKENIZER, wmtp.Example(id="a", prompt="ab", answer="cd"), max_length=20, chat=False)
    assert found.answer_from == 2
    assert TOKENIZER.decode(found.ids) == "abcd</s>"


def test_faults_of_examples_name_them() -> None:
    with pytest.raises(wmtp.ConfigError, match="example a: its answer is empty"):
        document(TOKENIZER, wmtp.Example(id="a", prompt="ab", answer=" \n"), max_length=20, chat=False)
    with pytest.raises(wmtp.ConfigError, match="no token of the answer is left"):
        document(TOKENIZER, wmtp.Example(id="a", prompt="abcdef", answer="g"), max_length=6, chat=False)


def test_weights_of_spans_fall_on_their_tokens() -> None:
    example = wmtp.Example(id="a", prompt="ab", answer="cdef", weights=((1, 3, 5.0),))
    found = document(TOKENIZER, example, max_length=20, chat=False)
    assert found.given == (1.0, 1.0, 1.0, 5.0, 5.0, 1.0, 1.0)


def test_segments_and_positions_begin_anew_in_every_document() -> None:
    rows = Rows([doc(4, 1), doc(3, 1)], 8, several=True, prompt_weight=0.0)
    batch = rows.batch([0])
    assert batch.segments.tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert batch.packed
    assert torch.equal(batch.exists, torch.ones(1, 7, dtype=torch.bool))
