"""The forward process and Eq. 1, on diffusers' schedulers (typed ``Any``: their methods are not visible to mypy)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from .config import DiffusionConfig, Solver


def noise_schedule(config: DiffusionConfig) -> Any:
    """The training schedule: ``add_noise`` and ``get_velocity`` are used."""
    return DDPMScheduler(
        num_train_timesteps=config.steps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction_type,
        clip_sample=False,
    )


def sampling_timesteps(config: DiffusionConfig, steps: int) -> list[int]:
    """``steps`` timesteps from the noisiest on, spread evenly: every (config.steps / steps)-th, the last one near 0.

    diffusers' "trailing" spacing, which for some numbers of steps (29, 31, 58 ... 199 of 200) adds a timestep -1 by a
    rounding error, so that UniPC ends in NaN or takes one step more than asked for.
    """
    return [round(config.steps * left / steps) - 1 for left in range(steps, 0, -1)]


def build_solver(name: Solver, config: DiffusionConfig, steps: int) -> Any:
    """A scheduler of diffusers over the training schedule, with :func:`sampling_timesteps` set.

    The last step of each goes to alpha-bar 1: it returns the estimate of the clean latents (Eq. 1).

    ``ddpm``: ancestral with the posterior's variance (Ho et al. 2020, Eq. 7), respaced below ``config.steps`` steps.
        The only one that draws noise: give its ``step`` a ``generator``.
    ``ddim``: deterministic DDIM, as DPM-Solver++ of order 1, the same update. diffusers' ``DDIMScheduler`` goes to the
        timestep ``config.steps // steps`` below instead of to the next one, and so is wrong where that leaves a rest.
    ``dpmsolver++``: of order 2, multistep (2M).
    ``unipc``: of order 2. In as few steps it keeps more of a tumor's texture than ``dpmsolver++``: docs/method.md.
    """
    timesteps = sampling_timesteps(config, steps)
    training = {
        "num_train_timesteps": config.steps,
        "beta_schedule": config.beta_schedule,
        "prediction_type": config.prediction_type,
    }
    solver: Any
    if name == "unipc":
        solver = UniPCMultistepScheduler(**training, solver_order=2)
        solver.set_timesteps(steps)
        # it takes no timesteps of ours; these two are all that it keeps of them
        alpha_bar = solver.alphas_cumprod[timesteps]
        solver.timesteps = torch.tensor(timesteps)
        solver.sigmas = torch.cat([torch.sqrt((1 - alpha_bar) / alpha_bar), torch.zeros(1)])
        return solver
    if name == "ddpm":
        solver = DDPMScheduler(**training, clip_sample=False)
    else:
        solver = DPMSolverMultistepScheduler(**training, solver_order=1 if name == "ddim" else 2)
    solver.set_timesteps(timesteps=timesteps)
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
