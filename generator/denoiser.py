"""The denoiser of section III-B: what the latents' noise is, given time, healthy context, mask and text."""

from __future__ import annotations

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional as F

from .config import AutoencoderConfig, DenoiserConfig, TextConfig
from .text_encoder import TextAdapter


class Denoiser(nn.Module):
    """MONAI's diffusion U-Net with a text adapter.

    The text reaches the network twice: by cross-attention to its tokens, as in the paper, and pooled with the time
    embedding, which every residual block sees. The second carries what holds for the whole tumor.
    """

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
            with_conditioning=True,
            cross_attention_dim=text.context_width,
            num_class_embeds=1,
        )
        # takes the pooled text where MONAI has a table of classes
        self.unet.class_embedding = nn.Identity()  # type: ignore[assignment]

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
