"""Other ways of making tumors, written from their papers, to compare with. No weights to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from nnunet_textomorph.generator.config import Domain, GeneratorConfig, SamplingConfig
from nnunet_textomorph.generator.crops import healthy_context
from nnunet_textomorph.generator.generator import Generator

if TYPE_CHECKING:
    import torch

CONTRAST_HU = (30.0, 70.0)  # that a hand-crafted tumor is darker than its host
TEXTURE_SD_HU = (5.0, 20.0)
GRAIN_MM = (2.0, 6.0)  # of its texture, before the blur
BLUR_MM = (0.6, 1.2)  # of its texture
EDGE_MM = (0.8, 2.0)  # blur of its border
CAPSULE_HU = (10.0, 30.0)
FULL = 10  # population of a voxel of the cellular automaton
GROWTH, INVASION, DEATH = 0.5, 0.9, 0.03  # probabilities per step
CROWDED, REACHED = 0.97, 0.97  # shares of what there could be
NECROTIC_SHARE = 0.3  # of the tumors
NECROSIS_HU = (15.0, 35.0)
RESISTING_HU, MOST_RESISTANCE = 60.0, 0.9  # tissue so far from the host's level resists most
CELL_BLUR_MM = 0.8
CAPSULE_FROM_MM = 20.0  # diameters from which a capsule is drawn, with a probability of a half

_NEIGHBOURS = ndimage.generate_binary_structure(3, 1).astype(np.float32)
_NEIGHBOURS[1, 1, 1] = 0.0


class HandCrafted:
    """What the generators in one pass share: no settings of sampling, and a text that is not looked at."""

    config = GeneratorConfig(sampling=SamplingConfig(steps=1, guidance=0.0))
    region_multiple = 1
    weights_hash = ""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        del device  # nothing to compute there

    @property
    def domain(self) -> Domain:
        return self.config.domain

    def synthesize(
        self,
        context_hu: np.ndarray,
        mask: np.ndarray,
        texts: Sequence[str],
        *,
        seed: int,
        host: np.ndarray | None = None,
        **_sampling: Any,
    ) -> np.ndarray:
        """As :meth:`Generator.synthesize`; ``texts`` and the settings of sampling change nothing."""
        hosts = [None] * len(mask) if host is None else host
        made = [
            self._one(ct.astype(np.float32), tumor.astype(bool), organ, np.random.default_rng([seed, number]))
            for number, (ct, tumor, organ) in enumerate(zip(context_hu, mask, hosts, strict=True))
        ]
        return np.stack(made).astype(np.float32)

    def _one(self, ct: np.ndarray, mask: np.ndarray, host: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """One tumor: HU (D, H, W) of the region with it, smooth outside."""
        raise NotImplementedError


class SynTumor(HandCrafted):
    """Hand-crafted tumors (Hu et al., Label-Free Liver Tumor Segmentation, CVPR 2023), section 3.

    A dark tumor in the host's level, with a texture of Gaussian noise drawn on a coarse grid, interpolated by cubic
    splines and blurred, and a softened border; larger ones may have a brighter capsule. Shape and place are the
    request's, so that all methods have the same; the paper's elastic ellipsoids are about what ``random_shape`` draws.
    Its mass effect is left out: only the tumor and 4 mm around it are put into the CT.
    """

    weights_hash = "syntumor-1"

    def _one(self, ct: np.ndarray, mask: np.ndarray, host: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        spacing = np.asarray(self.domain.spacing_mm)
        healthy = healthy_context(ct, mask, self.domain, noisy=True, host=host)
        grain = rng.uniform(*GRAIN_MM)
        coarse = np.ceil(np.array(mask.shape) * spacing / grain).astype(int) + 3
        noise = rng.standard_normal(tuple(coarse), dtype=np.float32)
        texture = ndimage.affine_transform(noise, spacing / grain, offset=1.0, output_shape=mask.shape, order=3)
        texture = ndimage.gaussian_filter(texture, rng.uniform(*BLUR_MM) / spacing)
        texture = (texture - texture[mask].mean()) / max(float(texture[mask].std()), 1e-6)
        level = rng.uniform(*TEXTURE_SD_HU) * texture - rng.uniform(*CONTRAST_HU)
        soft = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(*EDGE_MM) / spacing)
        made = healthy + soft * level
        diameter = float(6 / np.pi * mask.sum() * spacing.prod()) ** (1 / 3)
        if diameter >= CAPSULE_FROM_MM and rng.random() < 0.5:
            rim = ndimage.gaussian_gradient_magnitude(mask.astype(np.float32), 1.0 / spacing)
            made = made + rng.uniform(*CAPSULE_HU) * rim / max(float(rim.max()), 1e-6)
        return made


class Pixel2Cancer(HandCrafted):
    """A cellular automaton (Lai et al., From Pixel to Cancer, MICCAI 2024): tumor cells grow, invade and die.

    Every voxel holds a population of 0 to 10. It grows by itself, spreads to its neighbours the more the larger it is
    and the less the tissue there resists (vessels and fat, by how far their HU are from the host's), and dies where it
    is crowded on all sides. The image gets darker with the population, and darkest where it died. So that all methods
    have the same masks it grows inside the request's, until nearly all of that is reached; the paper's grows freely.
    """

    weights_hash = "pixel2cancer-1"

    def _one(self, ct: np.ndarray, mask: np.ndarray, host: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        healthy = healthy_context(ct, mask, self.domain, noisy=True, host=host)
        box = ndimage.find_objects(ndimage.binary_dilation(mask, iterations=2).astype(np.uint8))[0]
        tissue = ndimage.gaussian_filter(ct[box], self.domain.noise_sigma_mm / np.asarray(self.domain.spacing_mm))
        level = float(np.median(healthy[mask]))
        resistance = np.clip(np.abs(tissue - level) / RESISTING_HU, 0.0, MOST_RESISTANCE)
        population, dead = grow(mask[box], resistance, rng)
        darker = rng.uniform(*CONTRAST_HU) * population / FULL + rng.uniform(*NECROSIS_HU) * dead
        made = healthy.copy()
        made[box] -= ndimage.gaussian_filter(
            darker.astype(np.float32), CELL_BLUR_MM / np.asarray(self.domain.spacing_mm)
        )
        return made


def grow(inside: np.ndarray, resistance: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grow a population inside a mask: its size per voxel, 0 to 10, and where it died; both (D, H, W).

    ``resistance``: 0 to 1, by which spreading is less likely.
    """
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
    population = np.zeros(inside.shape, np.int16)
    population[np.unravel_index(int(depth.argmax()), inside.shape)] = 1
    dead = np.zeros(inside.shape, bool)
    necrotic = rng.random() < NECROTIC_SHARE
    for _ in range(4 * sum(inside.shape)):
        alive = (population > 0) & ~dead
        population[alive & (population < FULL) & (rng.random(inside.shape) < GROWTH)] += 1
        pressure = ndimage.convolve(population.astype(np.float32), _NEIGHBOURS, mode="constant") / (6 * FULL)
        invaded = rng.random(inside.shape) < INVASION * pressure * (1 - resistance)
        population[inside & (population == 0) & invaded] = 1
        if necrotic:
            dead |= alive & (pressure > CROWDED) & (rng.random(inside.shape) < DEATH)
        if (population[inside] > 0).mean() > REACHED:
            break
    return population, dead


class DiffTumor(Generator):
    """Latent diffusion conditioned on the mask only (Chen et al., Towards Generalizable Tumor Synthesis, CVPR 2024).

    The shipped generator sampled without guidance from its unconditional branch, which training taught by leaving out
    texts: everything but the text is the same as TextoMorph, so that a difference between them is the text's.
    """

    def synthesize(self, context_hu: np.ndarray, mask: np.ndarray, texts: Sequence[str], **settings: Any) -> np.ndarray:
        """As :meth:`Generator.synthesize` at guidance 0; ``texts`` and ``guidance`` change nothing."""
        return super().synthesize(context_hu, mask, ["a tumor"] * len(texts), **{**settings, "guidance": 0.0})


def difftumor(device: str | torch.device = "cpu") -> DiffTumor:
    """The entry point of :class:`DiffTumor`."""
    made = DiffTumor.load(None, device)
    assert isinstance(made, DiffTumor)
    sampling = made.config.sampling.model_copy(update={"guidance": 0.0})
    made.config = made.config.model_copy(update={"sampling": sampling, "distilled": None})
    made.distilled = None  # it was taught with guidance
    return made
