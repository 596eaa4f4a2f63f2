"""Sampling latents: classifier-free guidance and a solver."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from .config import DiffusionConfig, Sampler
from .denoiser import Denoiser
from .diffusion import build_solver, estimate_z0

NOISY = 0.1
"""Alpha-bar below which a step's level in the tumor is the mean of two answers, to the noise and to the noise reversed.

There the text alone should tell the level, but a denoiser takes the noise for a little of it: an isoattenuating tumor
comes out too bright or too dark by chance. What the noise does to the level with one sign it does with the other with
the opposite one, so the mean is free of it. Texture comes from the noise, and keeps the first answer's. Costs 3 calls
of 10 more.
"""
DEEP = 4
"""Power of a voxel's share of tumor by which it weighs in the level that guidance leaves.

At the border the level is the margin's, which guidance is to exaggerate.
"""


@torch.no_grad()
def sample_latents(
    denoiser: Denoiser,
    config: DiffusionConfig,
    z_healthy: Tensor,
    z_plain: Tensor,
    mask: Tensor,
    tokens: Tensor,
    token_mask: Tensor,
    noise: Tensor,
    *,
    source: torch.Generator | list[torch.Generator],
    solver: Sampler,
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents (B, C, d, h, w) of tumors in ``z_healthy``.

    ``z_healthy``, ``z_plain`` (B, C, d, h, w): the autoencoder's, of ``crops.healthy_context`` and of that with
    ``crops.plain_tumor``; ``mask`` (B, 1, d, h, w) from ``latent_mask``; ``tokens`` (B, L, width) and ``token_mask``
    (B, L) from the text encoder; ``noise`` of the latents' shape, SD 1; ``source`` of what noise ``ddpm`` draws on
    the way, one for all or B of them. Guidance g mixes u + g (c - u) of the predictions with (c) and without (u) text;
    1 asks for c alone and halves the cost. Above 1 the level deep in the tumor stays c's: exaggerated with the rest, a
    hypoattenuating tumor came out 90 HU darker than the liver instead of 50, and a cyst darker than water.
    ``distilled``: DDIM's update, for a denoiser that was trained for it
    (``train_distillation``).
    """
    context = denoiser.adapter(tokens, token_mask)
    plain = denoiser.added(z_plain, z_healthy)
    given = (z_healthy, plain, mask, *context, noise)
    points = trajectory(denoiser, config, *given, source=source, solver=solver, steps=steps, guidance=guidance)
    (z,) = deque(points, maxlen=1)
    return denoiser.with_tumor(z, z_healthy)


@torch.no_grad()
def trajectory(
    denoiser: Denoiser,
    config: DiffusionConfig,
    z_healthy: Tensor,
    plain: Tensor,
    mask: Tensor,
    context: Tensor,
    pooled: Tensor,
    noise: Tensor,
    *,
    source: torch.Generator | list[torch.Generator],
    solver: Sampler,
    steps: int,
    guidance: float,
) -> Iterator[Tensor]:
    """What the denoiser sees at each step, from ``noise`` on, and last z0 (``Denoiser.added``): (B, C, d, h, w) each.

    ``plain`` as in ``Denoiser.forward``; ``context`` and ``pooled`` from its adapter; the rest as in
    :func:`sample_latents`.
    """
    guided = guidance != 1.0
    if guided:
        no_context, no_pooled = denoiser.adapter.nothing(len(noise))
        context, pooled = torch.cat([context, no_context]), torch.cat([pooled, no_pooled])
    repeats = 2 if guided else 1
    healthy_in, plain_in, mask_in = (torch.cat([given] * repeats) for given in (z_healthy, plain, mask))

    def predict(z: Tensor, t: int) -> Tensor:
        step = torch.full((len(z) * repeats,), t, dtype=torch.long, device=z.device)
        given = (torch.cat([z] * repeats), step, healthy_in, plain_in, mask_in, context, pooled)
        prediction = denoiser(*given).to(
            z.dtype
        )  # a network may answer in half precision; the solver is to work in z's
        if not guided:
            return prediction
        with_text, without = prediction.chunk(2)
        told = with_text - without
        if guidance > 1.0:  # the level is c's: see sample_latents
            return with_text + (guidance - 1.0) * (told - share * mean_within(told, share**DEEP))
        return without + guidance * told

    share = (mask + 1.0) / 2.0
    scheduler = build_solver("ddim" if solver == "distilled" else solver, config, steps)
    # without text the noise is all that can tell the level
    shared_level = config.prediction_type == "v_prediction" and solver not in ("ddpm", "distilled") and guidance != 0.0
    drawing = {"generator": source} if solver == "ddpm" else {}
    z, z0 = noise, torch.zeros_like(noise)
    for t in scheduler.timesteps.tolist():
        yield z
        prediction = predict(z, t)
        alpha_bar = scheduler.alphas_cumprod[t]
        if shared_level and alpha_bar < NOISY:
            opposite = 2.0 * torch.sqrt(alpha_bar) * z0 - z  # the estimate so far, with the noise reversed
            z0 = estimate_z0(scheduler, z, prediction, torch.tensor([t]))
            other = estimate_z0(scheduler, opposite, predict(opposite, t), torch.tensor([t]))
            z0 = z0 + share * mean_within(other - z0, share) / 2.0
            prediction = (torch.sqrt(alpha_bar) * z - z0) / torch.sqrt(1.0 - alpha_bar)  # v, of that estimate
        z = scheduler.step(prediction, t, z, **drawing).prev_sample
    yield z


def mean_within(values: Tensor, share: Tensor) -> Tensor:
    """(B, C, 1, 1, 1): the mean of ``values`` (B, C, d, h, w) over the tumor, of which each voxel has ``share``."""
    total = share.sum((2, 3, 4), keepdim=True).clamp(min=1e-6)
    return (values * share).sum((2, 3, 4), keepdim=True) / total
