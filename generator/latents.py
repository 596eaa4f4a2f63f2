"""Latents and text embeddings of the training set, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from .autoencoder import Autoencoder, normalize
from .config import Domain, TextConfig
from .crops import Crop, healthy_context, load_crop, plain_tumor, random_window, without_noise
from .denoiser import latent_mask
from .files import replacing
from .manifest import ManifestLine
from .parallel import mapped
from .text_encoder import TextEncoder, pad

WINDOW_VERSION = 6  # raised when a window or its healthy context is made otherwise than before
TEXTS_PER_FILE = 2048  # about 40 MiB of embeddings, which are computed and written at once


@dataclass(frozen=True)
class Example:
    """One window: ``z``, ``z_healthy`` and ``z_plain`` (C, d, h, w), ``mask`` (1, d, h, w), float16; where it is from.

    The latents are those of the CT, of its healthy context, and of that with a plain tumor in it.
    """

    z: Tensor
    z_healthy: Tensor
    z_plain: Tensor
    mask: Tensor
    window: CachedWindow

    @property
    def line(self) -> str:
        """Id of the manifest line whose texts describe it."""
        return self.window.crop.line


class CachedWindow(NamedTuple):
    """Where an example lies, the side of its latents, and what it was cut from: see :func:`window_voxels`."""

    path: Path
    side: int
    crop: Crop
    view: int
    seed: int


class CachedExamples(Sequence[Example]):
    """Windows on disk, each read when it is asked for: those of thousands of CT do not fit into memory."""

    def __init__(self, windows: Sequence[CachedWindow]) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices
        window = self._windows[index]
        return Example(**load_file(window.path), window=window)

    @property
    def side(self) -> int:
        """Of the first window's latents; of all, where they are those of one size."""
        return self._windows[0].side

    def by_size(self) -> list[CachedExamples]:
        """The windows of each size."""
        found: dict[int, list[CachedWindow]] = {}
        for window in self._windows:
            found.setdefault(window.side, []).append(window)
        return [CachedExamples(windows) for windows in found.values()]


class TextTable:
    """Token embeddings of every text of a manifest, in half precision, read from files when they are asked for.

    ``files``: safetensors with ``flat`` (tokens, width), of all tokens of the texts that the file holds.
    """

    def __init__(self, files: Sequence[tuple[Path, Sequence[str]]]) -> None:
        self._place: dict[str, tuple[Path, int, int]] = {}
        for file, texts in files:
            with safe_open(file, "pt") as content:
                starts = content.get_tensor("starts").tolist()
            self._place.update((text, (file, starts[i], starts[i + 1])) for i, text in enumerate(texts))

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As :class:`TextEncoder`: (tokens (B, L, width) float32, mask (B, L) bool)."""
        asked = {text: self._place[text] for text in texts}
        read: dict[str, Tensor] = {}
        for file in {file for file, _, _ in asked.values()}:
            with safe_open(file, "pt") as content:
                flat = content.get_slice("flat")
                for text, (of, start, end) in asked.items():
                    if of == file:
                        read[text] = flat[start:end].float()
        return pad([read[text] for text in texts])


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
    bfloat16: bool = False,
    progress: bool = True,
) -> CachedExamples:
    """Encode ``views`` random windows of every crop, but for those that an earlier run has left in ``folder``.

    ``noisy``: ids of the manifest lines whose CT is smoothed first. ``workers``: processes that prepare windows.
    ``bfloat16``: encode in it.

    The folder's name carries the autoencoder's hash: latents of another autoencoder are never mixed in, nor those of
    another precision.
    """
    rounded = "-bf16" if bfloat16 else ""
    folder = folder / f"latents-{weights_hash(autoencoder)}-{WINDOW_VERSION}-{seed}{rounded}"
    folder.mkdir(parents=True, exist_ok=True)
    device = next(autoencoder.parameters()).device
    jobs = [(crop, view) for view in range(views) for crop in crops]
    smoothed = {line: "" if line in noisy else "-sharp" for _, line in crops}
    files = [folder / f"{crop.path.stem}{smoothed[crop.line]}-{view}.safetensors" for crop, view in jobs]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    window = partial(_window, noisy=noisy, domain=domain, seed=seed)
    windows = mapped(window, [jobs[number] for number in missing], workers)
    bar = tqdm(windows, total=len(files), initial=len(files) - len(missing), desc="latents", disable=not progress)
    for number, (images, mask) in zip(missing, bar, strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            z, z_healthy, z_plain = autoencoder.encode(normalize(images.to(device), domain)).half().cpu()
        tensors = {"z": z, "z_healthy": z_healthy, "z_plain": z_plain, "mask": latent_mask(mask, domain.latent_factor)}
        save_tensors(files[number], {name: tensor.half().contiguous() for name, tensor in tensors.items()})
    named = zip(files, jobs, strict=True)
    return CachedExamples([CachedWindow(file, _latent_side(file), crop, view, seed) for file, (crop, view) in named])


def window_voxels(crop: Crop, view: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The CT in HU, float32, and the mask, bool, both (D, H, W), of one of a crop's random windows."""
    rng = np.random.default_rng([seed, view, int(hashlib.sha256(crop.path.stem.encode()).hexdigest()[:8], 16)])
    return random_window(*load_crop(crop.path), rng)


def _latent_side(file: Path) -> int:
    """Of a cached window, from the file's header."""
    with safe_open(file, "pt") as content:
        return int(content.get_slice("mask").get_shape()[-1])


def _window(job: tuple[Crop, int], noisy: set[str], domain: Domain, seed: int) -> tuple[Tensor, Tensor]:
    """HU (3, 1, D, H, W) of a random window: CT, healthy context, that with a plain tumor; and mask (1, D, H, W)."""
    crop, view = job
    ct, mask = window_voxels(crop, view, seed)
    smooth = without_noise(ct, domain) if crop.line in noisy else ct
    healthy = healthy_context(ct, mask, domain, noisy=crop.line in noisy)
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
    encoder = TextEncoder(config, device)
    files: list[tuple[Path, list[str]]] = []
    cut: list[str] = []
    for start in tqdm(range(0, len(texts), TEXTS_PER_FILE), desc="text embeddings", disable=not progress):
        some = texts[start : start + TEXTS_PER_FILE]
        key = hashlib.sha256("\n".join([config.model_dump_json(), *some]).encode()).hexdigest()[:16]
        files.append((folder / f"texts-{key}.safetensors", some))
        if not files[-1][0].is_file():
            read, too_long = encoder.embed_some(some)
            cut += too_long
            embedded = [e.half() for e in read]
            starts = torch.tensor([0, *np.cumsum([len(e) for e in embedded])])
            folder.mkdir(parents=True, exist_ok=True)
            save_tensors(files[-1][0], {"flat": torch.cat(embedded), "starts": starts})
    line = next((line.id for line in lines if cut and cut[0] in line.texts), None)
    encoder.warn_of_cut(cut, "" if line is None else f"Manifest line {line!r}: ")
    return TextTable(files)


def weights_hash(module: nn.Module) -> str:
    """A short hash of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file under a temporary name first."""
    with replacing(path) as temporary:
        save_file(tensors, temporary)
