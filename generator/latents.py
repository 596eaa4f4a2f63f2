"""Latents and text embeddings of the training set, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from .parallel import mapped
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
    workers: int = 0,
    progress: bool = True,
) -> list[Example]:
    """Encode ``views`` random windows of every crop, reading what an earlier run has left in ``folder``.

    ``noisy``: ids of the manifest lines whose CT is smoothed first. ``workers``: processes that prepare windows.

    The folder's name carries the autoencoder's hash: latents of another autoencoder are never mixed in.
    """
    folder = folder / f"latents-{weights_hash(autoencoder)}-{WINDOW_VERSION}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    device = next(autoencoder.parameters()).device
    jobs = [(crop, view) for view in range(views) for crop in crops]
    files = [folder / f"{crop.path.stem}-{view}.safetensors" for crop, view in jobs]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    window = partial(_window, noisy=noisy, domain=domain, seed=seed)
    windows = mapped(window, [jobs[number] for number in missing], workers)
    bar = tqdm(windows, total=len(files), initial=len(files) - len(missing), desc="latents", disable=not progress)
    for number, (images, mask) in zip(missing, bar, strict=True):
        z, z_healthy, z_plain = autoencoder.encode(normalize(images.to(device), domain)).half().cpu()
        tensors = {"z": z, "z_healthy": z_healthy, "z_plain": z_plain, "mask": latent_mask(mask, domain.latent_factor)}
        save_tensors(files[number], {name: tensor.half().contiguous() for name, tensor in tensors.items()})
    return [Example(**load_file(file), line=crop.line) for file, (crop, _) in zip(files, jobs, strict=True)]


def _window(job: tuple[Crop, int], noisy: set[str], domain: Domain, seed: int) -> tuple[Tensor, Tensor]:
    """HU (3, 1, D, H, W) of a random window: CT, healthy context, that with a plain tumor; and mask (1, D, H, W)."""
    (path, line), view = job
    rng = np.random.default_rng([seed, view, int(hashlib.sha256(path.stem.encode()).hexdigest()[:8], 16)])
    ct, mask = random_window(*load_crop(path), rng)
    smooth = without_noise(ct, domain) if line in noisy else ct
    healthy = healthy_context(ct, mask, domain, noisy=line in noisy)
    images = np.stack([smooth, healthy, plain_tumor(healthy, mask)])[:, None]
    return torch.from_numpy(images), torch.from_numpy(mask)[None]


def cache_texts(
    lines: Sequence[ManifestLine],
    config: TextConfig,
    folder: Path,
    *,
    more: Sequence[str] = (),
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> TextTable:
    """Embed every distinct text of the manifest and of ``more``, or read what an earlier run has left in ``folder``.

    ``device``: where that is computed.
    """
    texts = sorted({text for line in lines for text in line.texts} | set(more))
    key = hashlib.sha256("\n".join([config.model_dump_json(), *texts]).encode()).hexdigest()[:16]
    file = folder / f"texts-{key}.safetensors"
    if not file.is_file():
        embedded = [e.half() for e in TextEncoder(config, device).embed(texts, progress=progress)]
        starts = torch.tensor([0, *np.cumsum([len(e) for e in embedded])])
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(file, {"flat": torch.cat(embedded), "starts": starts})
    loaded = load_file(file)
    return TextTable(loaded["flat"], loaded["starts"], texts)


def weights_hash(module: nn.Module) -> str:
    """A short hash of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file under a temporary name first."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    save_file(tensors, temporary)
    os.replace(temporary, path)
