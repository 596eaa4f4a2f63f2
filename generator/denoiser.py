"""The denoiser of section III-B: what the latents' noise is, given time, healthy context, mask and text.

What is diffused is not E(x) itself but what the tumor adds to the healthy context, z0 = (E(x) - z_healthy) / tumor_sd:
0 away from the tumor and of SD 1 in it. In E(x), of SD 1 over fat, muscle and bone, a lesion's texture has an SD of
0.1: it would be decided in the last of a few sampling steps.
"""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_timestep_embedding
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional as F

from .config import AutoencoderConfig, DenoiserConfig, TextConfig
from .text_encoder import TextAdapter

TIME_WIDTH = 64
PLACES = 6
NORM_GROUPS = 8  # MONAI's 32 would normalize each of 32 channels alone, and with it a tumor's own level


class VoxelwisePath(nn.Module):
    """The part of the answer that needs no neighbours: at each place of the mask, an affine map of the voxel's latents
    (noisy, healthy, what a plain tumor adds, mean noisy ones of the tumor), chosen by text and time.

    A tumor's contrast, its profile across the border and the strength of its texture are of this kind. The U-Net
    beside it would learn them too, but late.
    """

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.channels = channels
        self.time = nn.Sequential(nn.Linear(TIME_WIDTH, text_width), nn.SiLU(), nn.Linear(text_width, text_width))
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(text_width, text_width), nn.SiLU())
        self.maps = nn.Linear(text_width, PLACES * channels * (4 * channels + 1))
        nn.init.zeros_(self.maps.weight)
        nn.init.zeros_(self.maps.bias)

    def forward(self, z_t: Tensor, t: Tensor, z_healthy: Tensor, plain: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """As :meth:`Denoiser.forward`."""
        chosen = self.maps(self.mix(self.time(get_timestep_embedding(t, TIME_WIDTH).to(pooled.dtype)) + pooled))
        maps = chosen.view(len(t), PLACES, self.channels, -1)
        share = (mask + 1.0) / 2.0
        mean = (z_t * share).sum((2, 3, 4), keepdim=True) / share.sum((2, 3, 4), keepdim=True).clamp(min=0.1)
        inputs = torch.cat([z_t, z_healthy, plain, mean.expand_as(z_t), torch.ones_like(z_t[:, :1])], dim=1)
        # each place's map of all voxels, then weighted: a map for each voxel would be 33 times the memory
        mapped = torch.einsum("bkoi,bidhw->bkodhw", maps, inputs)
        return (mapped * places(share)[:, :, None]).sum(1)


def places(share: Tensor) -> Tensor:
    """Where voxels lie, of their shares of tumor in [0, 1] (B, 1, d, h, w): (B, PLACES, d, h, w), in [0, 1] too.

    Anywhere, in the tumor, in it or beside it, deep in it, its share around, and whether all of it is tumor.
    """
    wide, deep = F.max_pool3d(share, 3, 1, 1), -F.max_pool3d(-share, 3, 1, 1)
    around = F.avg_pool3d(share, 3, 1, 1, count_include_pad=False)
    return torch.cat([torch.ones_like(share), share, wide, deep, around, share**2], dim=1)


class Denoiser(nn.Module):
    """MONAI's diffusion U-Net with a text adapter, and ``tumor_sd`` (C,), the SD of what tumors add to latents.

    The text reaches the answer three times: by cross-attention to its tokens, as in the paper; pooled with the time
    embedding, which every residual block sees; and through the voxelwise path, which is added to the U-Net's output.
    The second and third carry what holds for the whole tumor.
    """

    tumor_sd: Tensor

    def __init__(self, config: DenoiserConfig, autoencoder: AutoencoderConfig, text: TextConfig) -> None:
        super().__init__()
        latent = autoencoder.latent_channels
        time_width = 4 * config.channels[0]
        self.adapter = TextAdapter(text, time_width)
        self.voxelwise = VoxelwisePath(latent, time_width)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=3 * latent + 1,
            out_channels=latent,
            channels=config.channels,
            attention_levels=config.attention,
            num_res_blocks=config.residual_blocks,
            num_head_channels=config.head_channels,
            norm_num_groups=NORM_GROUPS,
            with_conditioning=True,
            cross_attention_dim=text.context_width,
            num_class_embeds=1,
        )
        self.register_buffer("tumor_sd", torch.ones(latent))
        # takes the pooled text where MONAI has a table of classes
        self.unet.class_embedding = nn.Identity()  # type: ignore[assignment]

    def added(self, z: Tensor, z_healthy: Tensor) -> Tensor:
        """z0: what the tumor adds, of the latents with and without it (B, C, d, h, w)."""
        return (z - z_healthy) / self.tumor_sd.view(1, -1, 1, 1, 1)

    def with_tumor(self, z0: Tensor, z_healthy: Tensor) -> Tensor:
        """The latents of the CT with the tumor; undoes :meth:`added`."""
        return z_healthy + z0 * self.tumor_sd.view(1, -1, 1, 1, 1)

    def forward(
        self, z_t: Tensor, t: Tensor, z_healthy: Tensor, plain: Tensor, mask: Tensor, context: Tensor, pooled: Tensor
    ) -> Tensor:
        """Predict epsilon or v, shape of ``z_t``.

        ``z_t``, ``z_healthy`` (B, C, d, h, w); ``plain``, of their shape: what a plain tumor (``crops.plain_tumor``)
        adds, which says where the mask's edge lies within a latent voxel; ``t`` (B,) int in 0..199; ``mask``
        (B, 1, d, h, w), see :func:`latent_mask`; ``context`` and ``pooled`` from ``adapter``.
        """
        z_far = far_from_tumor(z_healthy, mask)
        x = torch.cat([z_t, z_far, plain, mask], dim=1)
        unet: Tensor = self.unet(x, t, context=context, class_labels=pooled)
        return unet + self.voxelwise(z_t, t, z_far, plain, mask, pooled)


def far_from_tumor(z_healthy: Tensor, mask: Tensor) -> Tensor:
    """``z_healthy`` with zeros up to two latent voxels (8 mm) around the tumor.

    A training CT has its tumor in it, and an ill-defined one reaches beyond its mask: the healthy context would tell
    margin and attenuation, and the denoiser would learn to read them there and not in the text.
    """
    reached = F.max_pool3d((mask > -1.0).to(z_healthy.dtype), 5, 1, 2)
    return z_healthy * (1.0 - reached)


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """Share of tumor in each latent voxel, float in [-1, 1]: (B, 1, D, H, W) to (B, 1, D/f, H/f, W/f)."""
    return 2.0 * F.avg_pool3d(mask.float(), factor) - 1.0
