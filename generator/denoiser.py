"""The denoiser of section III-B: what the latents' noise is, given time, healthy context, mask and text.

What is diffused is not E(x) itself but what the tumor adds to the healthy context, z0 = (E(x) - z_healthy) / tumor_sd:
0 away from the tumor and of SD 1 in it. In E(x), of SD 1 over fat, muscle and bone, a lesion's texture has an SD of
0.1: it would be decided in the last of a few sampling steps.
"""

from __future__ import annotations

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional as F

from .config import AutoencoderConfig, DenoiserConfig, TextConfig
from .text_encoder import TextAdapter

NORM_GROUPS = 8  # MONAI's 32 would normalize each of 32 channels alone, and with it a tumor's own level


class Denoiser(nn.Module):
    """MONAI's diffusion U-Net with a text adapter, and ``tumor_sd`` (C,), the SD of what tumors add to latents.

    The text reaches the network twice: by cross-attention to its tokens, as in the paper, and pooled with the time
    embedding, which every residual block sees. The second carries what holds for the whole tumor.
    """

    tumor_sd: Tensor

    def __init__(self, config: DenoiserConfig, autoencoder: AutoencoderConfig, text: TextConfig) -> None:
        super().__init__()
        latent = autoencoder.latent_channels
        time_width = 4 * config.channels[0]
        self.adapter = TextAdapter(text, time_width)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=2 * latent + 1,
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
        self, z_t: Tensor, t: Tensor, z_healthy: Tensor, mask: Tensor, context: Tensor, pooled: Tensor
    ) -> Tensor:
        """Predict epsilon or v, shape of ``z_t``.

        ``z_t``, ``z_healthy`` (B, C, d, h, w); ``t`` (B,) int in 0..199; ``mask`` (B, 1, d, h, w), see
        :func:`latent_mask`; ``context`` and ``pooled`` from ``adapter``.
        """
        x = torch.cat([z_t, z_healthy, mask], dim=1)
        return self.unet(x, t, context=context, class_labels=pooled)


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """Share of tumor in each latent voxel, float in [-1, 1]: (B, 1, D, H, W) to (B, 1, D/f, H/f, W/f)."""
    return 2.0 * F.avg_pool3d(mask.float(), factor) - 1.0
