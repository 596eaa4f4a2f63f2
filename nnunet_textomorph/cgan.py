"""A conditional GAN that paints tumors, after pix2pix (Isola et al., CVPR 2017), in 3D.

Section 3 of the paper: a U-Net sees what is given, here the CT with the tumor's place masked out and the mask, and
noise; a patch discriminator tells its images from real ones; an L1 term keeps them near the real one. Two things are
otherwise, since the same CT and mask may bear a dark tumor or a bright one, of which an L1 term would make the mean, a
tumor that is not seen: the network is told the tumor's look, a few numbers measured on the real one (``looks``) and
drawn from the training's at sampling; and the L1 term compares these, coarse images and the discriminator's features
(pix2pixHD, Wang et al., CVPR 2018, section 3.3), not voxels. No text, one pass.

Networks work relative to the host's level, in units of 100 HU, on the shipped generator's grid (1 mm).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_textomorph.generator.crops import healthy_context
from nnunet_textomorph.generator.errors import GeneratorError
from nnunet_textomorph.generator.folder import read_weights
from nnunet_textomorph.generator.latents import weights_hash
from nnunet_textomorph.other_generators import HandCrafted

DATA = Path(__file__).parent / "data"
WEIGHTS_NAME = "cgan.safetensors"
UNIT_HU = 100.0
FARTHEST = 2.0  # units from the host's level: fat and bone beyond look alike
CHANNELS = (32, 64, 96)  # at 2, 4 and 8 mm
FINE_CHANNELS = 12  # at 1 mm
NOISES = 4
LOOK = 5  # numbers of a look
LOOKS = 512  # of the training's, kept with the weights
REACH = 4  # voxels around the mask that are masked out too, and painted: margins reach beyond masks


class Block(nn.Module):
    """Two convolutions with a residual, scaled and shifted per channel by the look, with noise between them.

    Normalized at each voxel over its channels, so that a tumor does not depend on the region's size.
    """

    def __init__(self, into: int, out: int, told: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(into, out, 3, padding=1), nn.Conv3d(out, out, 3, padding=1)
        self.skip = nn.Conv3d(into, out, 1)
        self.noise = nn.Conv3d(NOISES, out, 1, bias=False)
        self.told = nn.Linear(told, 2 * out)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, look: Tensor, noise: Tensor) -> Tensor:
        scale, shift = self.told(look)[:, :, None, None, None].chunk(2, dim=1)
        made = _even(self.first(F.silu(x))) * (1.0 + scale) + shift + self.noise(noise)
        total: Tensor = self.skip(x) + self.second(F.silu(made))
        return total


class Painter(nn.Module):
    """The generator: what a tumor adds to the CT, of its surroundings, mask, look and noise.

    ``known`` (LOOKS, LOOK): looks of training tumors; ``look_mean`` and ``look_sd`` (LOOK,) standardize them.
    """

    known: Tensor
    look_mean: Tensor
    look_sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        at_2mm, at_4mm, at_8mm = CHANNELS
        told = 64
        self.look = nn.Sequential(nn.Linear(LOOK, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.enter = nn.Conv3d(2 * 8 + NOISES, at_2mm, 3, padding=1)
        self.down = nn.ModuleList([Block(at_2mm, at_4mm, told), Block(at_4mm, at_8mm, told)])
        self.middle = Block(at_8mm, at_8mm, told)
        self.narrow = nn.ModuleList(
            [nn.Conv3d(at_8mm, at_4mm, 1), nn.Conv3d(at_4mm, at_2mm, 1), nn.Conv3d(at_2mm, FINE_CHANNELS, 1)]
        )
        self.up = nn.ModuleList([Block(2 * at_4mm, at_4mm, told), Block(2 * at_2mm, at_2mm, told)])
        self.fine = nn.Conv3d(FINE_CHANNELS + 2, FINE_CHANNELS, 3, padding=1)
        self.last = nn.Conv3d(FINE_CHANNELS, 1, 3, padding=1)
        self.register_buffer("known", torch.zeros(LOOKS, LOOK))
        self.register_buffer("look_mean", torch.zeros(LOOK))
        self.register_buffer("look_sd", torch.ones(LOOK))

    def forward(self, surroundings: Tensor, mask: Tensor, look: Tensor, noise: Tensor) -> Tensor:
        """(B, 1, D, H, W) in units, 0 away from the tumor.

        ``surroundings`` (B, 1, D, H, W): from :func:`masked_out`; ``mask``, of its shape: 0 or 1; ``look`` (B, LOOK);
        ``noise`` (B, NOISES, D/2, H/2, W/2), SD 1. Sides are multiples of 8.
        """
        told = self.look((look - self.look_mean) / self.look_sd)
        given = torch.cat([surroundings, mask], dim=1)
        noises = [noise]
        for _ in range(2):
            noises.append(F.avg_pool3d(noises[-1], 2) * 8.0**0.5)  # SD 1 again
        fine = self.enter(torch.cat([pixelunshuffle(given, 3, 2), noise], dim=1))
        middle = self.down[0](F.avg_pool3d(fine, 2), told, noises[1])
        coarse = self.down[1](F.avg_pool3d(middle, 2), told, noises[2])
        coarse = self.middle(coarse, told, noises[2])
        middle = self.up[0](torch.cat([_doubled(self.narrow[0](coarse)), middle], dim=1), told, noises[1])
        fine = self.up[1](torch.cat([_doubled(self.narrow[1](middle)), fine], dim=1), told, noises[0])
        finest = self.fine(torch.cat([_doubled(self.narrow[2](F.silu(fine))), given], dim=1))
        painted: Tensor = self.last(F.silu(finest))
        return painted.float() * reach(mask)


def _even(x: Tensor) -> Tensor:
    """Channels (B, C, ...) scaled to a mean square of 1 at each voxel."""
    return x * torch.rsqrt((x.float() ** 2).mean(1, keepdim=True) + 1e-4).to(x.dtype)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)


def masked_out(ct: Tensor, mask: Tensor) -> Tensor:
    """The CT relative to its host's level (B, 1, D, H, W), in units, with the level in and around the tumor."""
    near = _widened(mask, REACH)
    return ct.clamp(-FARTHEST, FARTHEST) * (1.0 - near)


def reach(mask: Tensor) -> Tensor:
    """1 in the mask (B, 1, D, H, W), and falling to 0 within ``REACH`` voxels of it."""
    return _around(_around(_widened(mask, 2), 1), 1)


def looks(added: Tensor, mask: Tensor, seen: Tensor) -> Tensor:
    """A tumor's look (B, LOOK), of what it adds (B, 1, D, H, W) in units: a few numbers that its mask does not tell.

    Mean and SD deep in it, the SD there of what is finer than 5 mm, and the means within and beyond its border, 2 mm
    each. ``seen``: 1 where ``added`` is the tumor's and not other tissue beside it, else 0.
    """
    around = _around(mask, 2)
    deep = mask * around**4
    beyond = (_widened(mask, 2) - mask) * seen
    mean = _mean(added, deep)
    fine = added - _around(added, 2)
    numbers = [
        mean,
        (_mean((added - _spread(mean)) ** 2, deep) + 1e-4).sqrt(),
        (_mean((fine - _spread(_mean(fine, deep))) ** 2, deep) + 1e-4).sqrt(),
        _mean(added, mask * (1.0 - around)),
        _mean(added, beyond),
    ]
    return torch.stack(numbers, dim=1)


def _widened(mask: Tensor, by: int) -> Tensor:
    """The largest value within ``by`` voxels along each axis, one axis after the other: a tenth of the time."""
    for axis in range(3):
        size, padding = _along(axis, 2 * by + 1, 1), _along(axis, by, 0)
        mask = F.max_pool3d(mask, size, 1, padding)
    return mask


def _around(image: Tensor, within: int) -> Tensor:
    """The mean within so many voxels along each axis; beyond the image is 0."""
    for axis in range(3):
        size, padding = _along(axis, 2 * within + 1, 1), _along(axis, within, 0)
        image = F.avg_pool3d(image, size, 1, padding)
    return image


def _along(axis: int, value: int, others: int) -> tuple[int, int, int]:
    d, h, w = (value if number == axis else others for number in range(3))
    return d, h, w


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    total: Tensor = weight.sum((1, 2, 3, 4)).clamp(min=1e-3)
    return (values * weight).sum((1, 2, 3, 4)) / total


def _spread(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1, 1)


class ConditionalGAN(HandCrafted):
    """The trained generator, ready to sample: see the module. Satisfies ``generators.AnyGenerator``."""

    region_multiple = 8

    def __init__(self, device: str | torch.device = "cpu", folder: Path = DATA) -> None:
        self.device = torch.device(device)
        self.network = Painter().eval().requires_grad_(False)
        read_weights(folder, self.network, WEIGHTS_NAME)
        self.weights_hash = weights_hash(self.network)
        self.network.to(self.device)

    @torch.inference_mode()
    def _one(self, ct: np.ndarray, mask: np.ndarray, host: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        if any(n % self.region_multiple for n in ct.shape):
            raise GeneratorError(f"The region {ct.shape} must have sides that {self.region_multiple} divides.")
        healthy = healthy_context(ct, mask, self.domain, noisy=True, host=host)
        level = float(np.median(healthy[mask])) if mask.any() else 0.0
        look = self.network.known[int(rng.integers(len(self.network.known)))][None]
        noise = rng.standard_normal((1, NOISES, *(n // 2 for n in ct.shape)), dtype=np.float32)
        relative, place = _batch((healthy - level) / UNIT_HU, self.device), _batch(mask, self.device)
        added = self.network(masked_out(relative, place), place, look, torch.from_numpy(noise).to(self.device))
        made = healthy + UNIT_HU * added[0, 0].cpu().numpy()
        return np.where(mask, np.clip(made, *self.domain.window_hu), made)


def _batch(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None].to(device)
