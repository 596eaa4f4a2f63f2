"""LeFusion: diffusion of the lesion alone, in a real background (Zhang et al., ICLR 2025), written from the paper.

What is the paper's: the loss counts in the lesion only (its lesion-focused loss); at every sampling step what lies
around the lesion is replaced by the real background with that step's noise on it (its lesion-focused sampling); and
the lesion's look is chosen by a cluster of its histogram (its histogram-based texture control), drawn at random by
the clusters' frequencies in the training data where nobody asks for one. No text.

What is ours, so that a difference from TextoMorph is the method's: the latents of the shipped autoencoder, what a
lesion adds to them as what is diffused (``denoiser.Denoiser``; the real background adds nothing, so its forward
diffusion is the step's noise), healthy context and implant, and few-step solvers. Left out: the paper's multi-channel
decomposition, for several kinds of lesion at once, and its diffusion of masks: shapes are the request's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_textomorph.generator.autoencoder import denormalize
from nnunet_textomorph.generator.config import (
    DenoiserConfig,
    DiffusionConfig,
    Domain,
    GeneratorConfig,
    Sampler,
    SamplingConfig,
    Solver,
    TextConfig,
)
from nnunet_textomorph.generator.denoiser import Denoiser
from nnunet_textomorph.generator.diffusion import build_solver
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER, read_config, read_weights
from nnunet_textomorph.generator.generator import (
    check_regions,
    chosen_sampling,
    encoded_regions,
    healthy_regions,
    load_autoencoder,
    region_multiple,
    sharpened,
)
from nnunet_textomorph.generator.latents import weights_hash
from nnunet_textomorph.generator.training_set import near_tumor

DATA = Path(__file__).parent / "data"
WEIGHTS_NAME = "lefusion.safetensors"
CLUSTERS = 6  # of the training lesions' histograms
NETWORK = DenoiserConfig(channels=(32, 64), attention=(False, True))


class Clusters(nn.Module):
    """The look of a lesion as one of ``CLUSTERS`` histogram clusters, in the text adapter's place.

    ``frequency`` (K,): their shares of the training lesions.
    """

    frequency: Tensor

    def __init__(self, context_width: int, pooled_width: int) -> None:
        super().__init__()
        self.context = nn.Embedding(CLUSTERS, context_width)
        self.pooled = nn.Embedding(CLUSTERS, pooled_width)
        self.register_buffer("frequency", torch.full((CLUSTERS,), 1.0 / CLUSTERS))

    def forward(self, cluster: Tensor) -> tuple[Tensor, Tensor]:
        """(context (B, 1, W), pooled (B, P)) of cluster numbers (B,)."""
        return self.context(cluster)[:, None], self.pooled(cluster)


class LesionDenoiser(Denoiser):
    """The denoiser of TextoMorph, smaller, told a histogram cluster where that one is told a text."""

    clusters: Clusters

    def __init__(self, config: GeneratorConfig) -> None:
        assert config.denoiser is not None
        text = TextConfig()
        super().__init__(config.denoiser, config.autoencoder, text)
        del self.adapter  # nothing of it is used
        self.clusters = Clusters(text.context_width, 4 * config.denoiser.channels[0])


def lefusion_config() -> GeneratorConfig:
    """The shipped generator's domain and autoencoder with this network."""
    shipped = read_config(DEFAULT_FOLDER)
    return GeneratorConfig(
        domain=shipped.domain,
        autoencoder=shipped.autoencoder,
        denoiser=NETWORK,
        diffusion=DiffusionConfig(),
        sampling=SamplingConfig(solver="unipc", steps=10, guidance=0.0),
    )


def lesion_region(mask: Tensor) -> Tensor:
    """1 where the lesion is diffused, else 0; of a latent mask (B, 1, d, h, w).

    One latent voxel (4 mm) wider than the mask: latents see their neighbours, and an implant is blended as far out.
    """
    return (near_tumor(mask) > 0.0).to(mask.dtype)


@torch.no_grad()
def sample_lesions(
    denoiser: LesionDenoiser,
    config: DiffusionConfig,
    z_healthy: Tensor,
    z_plain: Tensor,
    mask: Tensor,
    cluster: Tensor,
    noise: Tensor,
    *,
    source: torch.Generator,
    solver: Solver,
    steps: int,
) -> Tensor:
    """Latents (B, C, d, h, w) of lesions inpainted in ``z_healthy``.

    ``z_healthy``, ``z_plain``, ``mask`` and ``noise`` as of ``sampling.sample_latents``; ``cluster`` (B,) int;
    ``source``: of what noise ``ddpm`` draws on the way. The background takes its noise from ``noise`` at every step.
    """
    context, pooled = denoiser.clusters(cluster)
    plain, inside = denoiser.added(z_plain, z_healthy), lesion_region(mask)
    background = denoiser.added(z_healthy, z_healthy)
    scheduler = build_solver(solver, config, steps)
    times = scheduler.timesteps.tolist()
    drawing = {"generator": source} if solver == "ddpm" else {}
    z = noise
    for t, following in zip(times, [*times[1:], None], strict=True):
        step = torch.full((len(z),), t, dtype=torch.long, device=z.device)
        prediction = denoiser(z, step, z_healthy, plain, mask, context, pooled).to(z.dtype)
        z = scheduler.step(prediction, t, z, **drawing).prev_sample
        kept = 1.0 if following is None else float(scheduler.alphas_cumprod[following])
        real = kept**0.5 * background + (1.0 - kept) ** 0.5 * noise
        z = inside * z + (1.0 - inside) * real
    return denoiser.with_tumor(z, z_healthy)


class LeFusion:
    """The trained generator, ready to sample: see the module. Satisfies ``generators.AnyGenerator``."""

    def __init__(self, device: str | torch.device = "cpu", folder: Path = DATA) -> None:
        self.device = torch.device(device)
        self.config = lefusion_config()
        self.autoencoder = load_autoencoder(DEFAULT_FOLDER)[1].to(self.device)
        self.denoiser = LesionDenoiser(self.config).eval().requires_grad_(False)
        read_weights(folder, self.denoiser, WEIGHTS_NAME)
        self.denoiser.to(self.device)

    @property
    def domain(self) -> Domain:
        return self.config.domain

    @property
    def region_multiple(self) -> int:
        """What a region's sides, in voxels, have to be multiples of."""
        return region_multiple(self.config)

    @cached_property
    def weights_hash(self) -> str:
        """A short hash of the networks' weights."""
        return weights_hash(nn.ModuleList([self.autoencoder, self.denoiser]))

    @torch.inference_mode()
    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        solver: Sampler | None = None,
        steps: int | None = None,
        host: np.ndarray | None = None,
        **_guidance: Any,
    ) -> np.ndarray:
        """As :meth:`Generator.synthesize`; ``texts`` and ``guidance`` change nothing, the seed chooses the clusters.

        Raises :class:`GeneratorError` as that does.
        """
        sampling = chosen_sampling(self.config, solver, steps, None)
        assert sampling.solver != "distilled"  # this configuration has none: refused above
        check_regions(self.config, context_hu, mask, host, texts)
        healthy = healthy_regions(context_hu, mask, host, self.domain)
        z_healthy, z_plain, share = encoded_regions(self.autoencoder, healthy, mask, self.domain)
        source = torch.Generator().manual_seed(seed)
        shares = self.denoiser.clusters.frequency.float().cpu()
        cluster = torch.multinomial(shares, len(mask), replacement=True, generator=source)
        z = sample_lesions(
            self.denoiser,
            self.config.diffusion,
            z_healthy,
            z_plain,
            share,
            cluster.to(self.device),
            torch.randn(z_healthy.shape, generator=source).to(self.device),
            source=source,
            solver=sampling.solver,
            steps=sampling.steps,
        )
        decoded = denormalize(self.autoencoder.decode(z)[:, 0], self.domain)
        return sharpened(decoded.cpu().numpy(), self.domain)
