"""What diffusion training draws from, one batch of it, and the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .autoencoder import Autoencoder
from .config import GeneratorConfig
from .crops import Crop, cache_crops
from .denoiser import Denoiser
from .diffusion import target
from .errors import GeneratorError
from .latents import CachedExamples, Example, TextTable, cache_latents, cache_texts
from .manifest import ManifestLine
from .sampling import mean_within

TEXT_DROPOUT = 0.1
HEALTHY_WEIGHT = 0.1  # of the loss away from the tumor, over that in it: an implant takes nothing from there
RARE_MOST = 20.0  # of a voxel's squared distance from its tumor's mean: a speck of calcium has 10 to 25, a texture 1
BATCH_LATENT_SIDE = 12  # ``batch`` is meant for windows of this side; larger windows come in smaller batches


@dataclass(frozen=True)
class TrainingSet:
    """Everything that training draws from: windows by size, texts and descriptors by manifest line.

    Windows and embeddings of texts lie on disk; a step reads those that it draws.
    """

    cached: CachedExamples
    buckets: list[CachedExamples]  # the same, by size
    lines: dict[str, ManifestLine]
    texts: TextTable
    words: dict[str, list[str]]  # descriptor -> its values, for the classification
    crops: list[Crop]


@dataclass(frozen=True)
class Windows:
    """What a training step draws, on the CPU: B windows, their texts, timesteps, dropped texts and the noise's seed."""

    latents: tuple[Tensor, ...]  # z, z_healthy, z_plain, mask: float16, (B, C, d, h, w)
    tokens: Tensor  # (B, L, width)
    token_mask: Tensor  # (B, L), True where there is a token
    t: Tensor  # (B,), int
    drop: Tensor  # (B,), True where the text is left out
    noise_seed: int
    lines: list[ManifestLine]
    said: list[str]  # their texts


@dataclass(frozen=True)
class Batch:
    """A training step's windows with their noise, on the device: (B, C, d, h, w); the rest as in :class:`Windows`."""

    z_t: Tensor
    t: Tensor
    target: Tensor
    z0: Tensor
    z_healthy: Tensor
    plain: Tensor
    mask: Tensor
    tokens: Tensor
    token_mask: Tensor
    drop: Tensor
    lines: list[ManifestLine]


def training_set(
    lines: list[ManifestLine],
    more_texts: Sequence[str],
    vqgan: Autoencoder,
    config: GeneratorConfig,
    cache: Path,
    views: int,
    seed: int,
    workers: int,
    progress: bool,
    skipped: list[str] | None = None,
    *,
    bfloat16: bool,
) -> TrainingSet:
    """Prepare crops, latents and embeddings of a manifest's lines and of ``more_texts``; arguments as of
    ``train_diffusion``, ``skipped`` as of ``cache_crops``, ``bfloat16`` as of ``cache_latents``."""
    crops = cache_crops(lines, cache / "crops", config.domain, workers=workers, skipped=skipped, progress=progress)
    usable = {crop.line for crop in crops}
    lines = [line for line in lines if line.id in usable]
    noisy = {line.id for line in lines if line.noisy}
    examples = cache_latents(
        crops,
        noisy,
        vqgan,
        config.domain,
        cache,
        views=views,
        seed=seed,
        workers=workers,
        bfloat16=bfloat16,
        progress=progress,
    )
    assert config.text is not None
    device = next(vqgan.parameters()).device
    texts = cache_texts(lines, config.text, cache, more=more_texts, device=device, progress=progress)
    return TrainingSet(examples, examples.by_size(), {line.id: line for line in lines}, texts, _words(lines), crops)


def _words(lines: Sequence[ManifestLine], most: int = 12) -> dict[str, list[str]]:
    """The descriptors that are words and take two or more values."""
    found: dict[str, set[str]] = {}
    for line in lines:
        for field, value in line.descriptors.items():
            if isinstance(value, str):
                found.setdefault(field, set()).add(value)
    return {field: sorted(values) for field, values in sorted(found.items()) if 2 <= len(values) <= most}


def near_tumor(mask: Tensor) -> Tensor:
    """1 in the tumor and, 4 mm wide, in what the implant blends; 0 elsewhere; of a latent mask (B, 1, d, h, w)."""
    return (F.max_pool3d(mask, 3, 1, 1) + 1.0) / 2.0


def weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``error`` (B, C, d, h, w) per example with ``weight`` (B, 1, d, h, w): small tumors count like large."""
    return (error * weight).sum(dim=(1, 2, 3, 4)) / (weight.sum(dim=(1, 2, 3, 4)) * error.shape[1])


def draw_examples(buckets: Sequence[CachedExamples], batch: int, rng: np.random.Generator) -> list[Example]:
    """Examples of one size; sizes come as often as they have examples, larger ones in smaller batches."""
    shares = np.array([len(bucket) / _batch_of(bucket, batch) for bucket in buckets])
    bucket = buckets[int(rng.choice(len(buckets), p=shares / shares.sum()))]
    return [bucket[int(i)] for i in rng.integers(0, len(bucket), _batch_of(bucket, batch))]


def _batch_of(bucket: CachedExamples, batch: int) -> int:
    return max(1, round(batch * (BATCH_LATENT_SIDE / bucket.side) ** 3))


def draw_windows(examples: TrainingSet, batch: int, schedule_steps: int, rng: np.random.Generator) -> Windows:
    """Windows of one size; ``schedule_steps``: of the noise schedule, among which timesteps are drawn."""
    chosen = draw_examples(examples.buckets, batch, rng)
    lines = [examples.lines[e.line] for e in chosen]
    said = [str(rng.choice(line.texts)) for line in lines]
    tokens, token_mask = examples.texts(said)
    return Windows(
        latents=stacked(chosen),
        tokens=tokens,
        token_mask=token_mask,
        t=torch.from_numpy(rng.integers(0, schedule_steps, len(chosen))),
        drop=torch.from_numpy(rng.random(len(chosen)) < TEXT_DROPOUT),
        noise_seed=int(rng.integers(2**62)),
        lines=lines,
        said=said,
    )


def noised(given: Windows, denoiser: Denoiser, schedule: Any) -> Batch:
    """What the denoiser is to see and to predict of windows, on its device."""
    device = denoiser.tumor_sd.device
    z, z_healthy, z_plain, mask = (latents.to(device).float() for latents in given.latents)
    z0, plain = denoiser.added(z, z_healthy), denoiser.added(z_plain, z_healthy)
    generator = torch.Generator(device).manual_seed(given.noise_seed)
    noise = torch.randn(z0.shape, generator=generator, device=device)
    t = given.t.to(device)
    return Batch(
        z_t=schedule.add_noise(z0, noise, t),
        t=t,
        target=target(schedule, z0, noise, t),
        z0=z0,
        z_healthy=z_healthy,
        plain=plain,
        mask=mask,
        tokens=given.tokens.to(device),
        token_mask=given.token_mask.to(device),
        drop=given.drop.to(device),
        lines=given.lines,
    )


def stacked(examples: Sequence[Example]) -> tuple[Tensor, ...]:
    """z, z_healthy, z_plain and mask of windows of one size, float16: (B, C, d, h, w) each."""
    return tuple(torch.stack([getattr(e, name) for e in examples]) for name in ("z", "z_healthy", "z_plain", "mask"))


def windows_loss(predicted: Tensor, target: Tensor, mask: Tensor, extra_weight: Tensor | float = 1.0) -> Tensor:
    """Mean square error, in and beside the tumor above all; ``extra_weight``: of each voxel, besides."""
    weight = HEALTHY_WEIGHT + (1.0 - HEALTHY_WEIGHT) * near_tumor(mask)
    return weighted_mean((predicted.float() - target) ** 2, weight * extra_weight).mean()


def check_rare_weight(weight: float) -> None:
    """Raise :class:`GeneratorError` for what no weight of :func:`rare_weights` can be."""
    if not 0.0 <= weight < math.inf:
        raise GeneratorError(f"rare_weight is {weight}; give a finite number, 0 or more.")


def rare_weights(z0: Tensor, mask: Tensor, weight: float) -> Tensor:
    """(B, 1, d, h, w), from 1 on: a tumor's voxels count the more, the farther ``z0`` lies from its mean there.

    A speck of calcium is one to three latent voxels among hundreds: where all count the same it is learned last.
    """
    share = (mask + 1.0) / 2.0
    away = ((z0 - mean_within(z0, share)) ** 2).mean(dim=1, keepdim=True)
    return 1.0 + weight * share * away.clamp(max=RARE_MOST)
