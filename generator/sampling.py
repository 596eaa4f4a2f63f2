"""Sampling latents: classifier-free guidance and a solver."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import DiffusionConfig, Solver
from .denoiser import Denoiser
from .diffusion import build_solver


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
    source: torch.Generator,
    solver: Solver,
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents (B, C, d, h, w) of tumors in ``z_healthy``.

    ``z_healthy``, ``z_plain`` (B, C, d, h, w): the autoencoder's, of ``crops.healthy_context`` and of that with
    ``crops.plain_tumor``; ``mask`` (B, 1, d, h, w) from ``latent_mask``; ``tokens`` (B, L, width) and ``token_mask``
    (B, L) from the text encoder; ``noise`` of the latents' shape, SD 1; ``source`` of what noise ``ddpm`` draws on
    the way. Guidance g mixes u + g (c - u) of the predictions with (c) and without (u) text; 1 asks for c alone and
    halves the cost.
    """
    context, pooled = denoiser.adapter(tokens, token_mask)
    guided = guidance != 1.0
    if guided:
        nothing = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        no_context, no_pooled = denoiser.adapter(tokens, token_mask, nothing)
        context, pooled = torch.cat([context, no_context]), torch.cat([pooled, no_pooled])
    repeats = 2 if guided else 1
    plain = denoiser.added(z_plain, z_healthy)
    healthy_in, plain_in, mask_in = (torch.cat([given] * repeats) for given in (z_healthy, plain, mask))
    scheduler = build_solver(solver, config, steps)
    drawing = {"generator": source} if solver == "ddpm" else {}
    z = noise
    for t in scheduler.timesteps:
        z_in = torch.cat([z] * repeats)
        step = torch.full((len(z_in),), int(t), dtype=torch.long, device=z.device)
        prediction = denoiser(z_in, step, healthy_in, plain_in, mask_in, context, pooled)
        if guided:
            with_text, without = prediction.chunk(2)
            prediction = without + guidance * (with_text - without)
        z = scheduler.step(prediction, t, z, **drawing).prev_sample
    return denoiser.with_tumor(z, z_healthy)
