"""Latents and text embeddings of the training set, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from .autoencoder import Autoencoder, normalize
from .config import Domain, TextConfig
from .crops import Crop, healthy_context, load_crop, plain_tumor, random_window, without_noise
from .denoiser import latent_mask
from .manifest import ManifestLine
from .text_encoder import TextEncoder, pad

WINDOW_VERSION = 6  # raised when a window or its healthy context is made otherwise than before


@dataclass(frozen=True)
class Example:
    """One window: ``z``, ``z_healthy`` and ``z_plain`` (C, d, h, w), ``mask`` (1, d, h, w), float16; ``line``: its id.

    The latents are those of the CT, of its healthy context, and of that with a plain tumor in it.
    """

    z: Tensor
    z_healthy: Tensor
    z_plain: Tensor
    mask: Tensor
    line: str


class TextTable:
    """Token embeddings of every text of a manifest, in one tensor in half precision."""

    def __init__(self, flat: Tensor, starts: Tensor, texts: Sequence[str]) -> None:
        self._flat, self._starts = flat, starts
        self._row = {text: i for i, text in enumerate(texts)}

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As :class:`TextEncoder`: (tokens (B, L, width) float32, mask (B, L) bool)."""
        rows = [self._row[text] for text in texts]
        return pad([self._flat[self._starts[r] : self._starts[r + 1]] for r in rows])


@torch.inference_mode()
def cache_latents(
    crops: Sequence[Crop],
    noisy: set[str],
    autoencoder: Autoencoder,
    domain: Domain,
    folder: Path,
    *,
    views: int,
    seed: int,
    progress: bool = True,
) -> list[Example]:
    """Encode ``views`` random windows of every crop, reading what an earlier run has left in ``folder``.

    ``noisy``: ids of the manifest lines whose CT is smoothed first.

    The folder's name carries the autoencoder's hash: latents of another autoencoder are never mixed in.
    """
    folder = folder / f"latents-{weights_hash(autoencoder)}-{WINDOW_VERSION}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    device = next(autoencoder.parameters()).device
    examples: list[Example] = []
    jobs = [(crop, view) for view in range(views) for crop in crops]
    for (path, line), view in tqdm(jobs, desc="latents", disable=not progress):
        file = folder / f"{path.stem}-{view}.safetensors"
        if not file.is_file():
            rng = np.random.default_rng([seed, view, int(hashlib.sha256(path.stem.encode()).hexdigest()[:8], 16)])
            ct, mask = load_crop(path)
            ct, mask = random_window(ct, mask, rng)
            smooth = without_noise(ct, domain) if line in noisy else ct
            healthy = healthy_context(ct, mask, domain, noisy=line in noisy)
            m = torch.from_numpy(mask)[None, None].to(device, torch.float32)
            images = torch.from_numpy(np.stack([smooth, healthy, plain_tumor(healthy, mask)]))[:, None].to(device)
            latents = zip(("z", "z_healthy", "z_plain"), autoencoder.encode(normalize(images, domain)), strict=True)
            tensors = {**dict(latents), "mask": latent_mask(m, domain.latent_factor)[0]}
            _save(file, {name: tensor.half().cpu().contiguous() for name, tensor in tensors.items()})
        examples.append(Example(**load_file(file), line=line))
    return examples


def cache_texts(lines: Sequence[ManifestLine], config: TextConfig, folder: Path, *, progress: bool = True) -> TextTable:
    """Embed every distinct text of the manifest, or read what an earlier run has left in ``folder``."""
    texts = sorted({text for line in lines for text in line.texts})
    key = hashlib.sha256("\n".join([config.model_dump_json(), *texts]).encode()).hexdigest()[:16]
    file = folder / f"texts-{key}.safetensors"
    if not file.is_file():
        embedded = [e.half() for e in TextEncoder(config).embed(texts, progress=progress)]
        starts = torch.tensor([0, *np.cumsum([len(e) for e in embedded])])
        folder.mkdir(parents=True, exist_ok=True)
        _save(file, {"flat": torch.cat(embedded), "starts": starts})
    loaded = load_file(file)
    return TextTable(loaded["flat"], loaded["starts"], texts)


def weights_hash(module: nn.Module) -> str:
    """A short hash of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    save_file(tensors, temporary)
    os.replace(temporary, path)
