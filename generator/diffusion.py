"""The forward process and Eq. 1, on diffusers' schedulers (typed ``Any``: their methods are not visible to mypy)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler, UniPCMultistepScheduler
from torch import Tensor

from .config import DiffusionConfig


def noise_schedule(config: DiffusionConfig) -> Any:
    """The training schedule: ``add_noise`` and ``get_velocity`` are used."""
    return DDPMScheduler(
        num_train_timesteps=config.steps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction_type,
        clip_sample=False,
    )


def few_step_solver(config: DiffusionConfig, steps: int) -> Any:
    """UniPC of order 2 over the training schedule, with its timesteps set.

    In as few steps it keeps more of a tumor's texture than DPM-Solver++ (2M): docs/method.md.
    """
    solver: Any = UniPCMultistepScheduler(
        num_train_timesteps=config.steps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction_type,
        solver_order=2,
        timestep_spacing="trailing",
    )
    solver.set_timesteps(steps)
    return solver


def target(schedule: Any, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the denoiser is to predict: the noise, or v = sqrt(a) noise - sqrt(1 - a) z0."""
    if schedule.config["prediction_type"] == "epsilon":
        return noise
    return schedule.get_velocity(z0, noise, t)


def estimate_z0(schedule: Any, z_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
    """Eq. 1: the clean latents that a prediction at step ``t`` (B,) implies; differentiable in ``prediction``."""
    alpha_bar = schedule.alphas_cumprod.to(z_t.device, z_t.dtype)[t].view(-1, 1, 1, 1, 1)
    if schedule.config["prediction_type"] == "epsilon":
        return (z_t - torch.sqrt(1 - alpha_bar) * prediction) / torch.sqrt(alpha_bar)
    return torch.sqrt(alpha_bar) * z_t - torch.sqrt(1 - alpha_bar) * prediction
