"""The 3D VQGAN that carries CT to latents and back (section III-B: z0 = E(x))."""

from __future__ import annotations

import torch
from monai.networks.nets import VQVAE
from torch import Tensor, nn
from torch.nn import functional as F

from .config import AutoencoderConfig, Domain


class Autoencoder(nn.Module):
    """MONAI's VQVAE with standardized latents.

    Images are (B, 1, D, H, W) float in [-1, 1] (see :func:`normalize`), sides multiples of 4; latents are
    (B, C, D/4, H/4, W/4), taken *before* the codebook and standardized per channel by the buffers ``latent_mean`` and
    ``latent_sd``, so that diffusion's noise of SD 1 fits them.
    """

    latent_mean: Tensor
    latent_sd: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        levels = len(config.channels)
        self.vqvae = VQVAE(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            channels=config.channels,
            num_res_layers=config.residual_layers,
            num_res_channels=config.channels,
            downsample_parameters=((2, 4, 1, 1),) * levels,
            upsample_parameters=((2, 4, 1, 1, 0),) * levels,
            num_embeddings=config.codebook_size,
            embedding_dim=config.latent_channels,
            decay=0.99,
        )
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_sd", torch.ones(config.latent_channels))

    def encode(self, image: Tensor) -> Tensor:
        """Standardized latents of an image in [-1, 1]."""
        return (self.vqvae.encode(image) - _per_channel(self.latent_mean)) / _per_channel(self.latent_sd)

    def decode(self, latent: Tensor, *, quantize: bool = False) -> Tensor:
        """Image of standardized latents; ``quantize`` replaces each by its nearest code first.

        The decoder is trained on both. Without the codebook the error is smaller (benchmarks/autoencoder_error.py).
        """
        z = latent * _per_channel(self.latent_sd) + _per_channel(self.latent_mean)
        return self.vqvae.decode(nearest_codes(z, self.codebook) if quantize else z)

    def forward(self, image: Tensor, through_codebook: int) -> tuple[Tensor, Tensor]:
        """Reconstruct for training: the first ``through_codebook`` images of the batch are quantized.

        Returns the images and the commitment loss. With no quantized image, a weak pull to the origin stands for
        that loss: it keeps latents from drifting before the codes come.
        """
        z = self.vqvae.encode(image)
        if not through_codebook:
            return self.vqvae.decode(z), 1e-3 * (z**2).mean()
        commitment, codes = self.vqvae.quantizer(z)
        return self.vqvae.decode(torch.cat([codes[:through_codebook], z[through_codebook:]])), commitment

    @property
    def codebook(self) -> Tensor:
        """The codes, (N, C)."""
        return self.vqvae.quantizer.quantizer.embedding.weight


def nearest_codes(z: Tensor, codebook: Tensor) -> Tensor:
    """Replace each latent vector of z (B, C, D, H, W) by the nearest row of ``codebook`` (N, C)."""
    flat = z.movedim(1, -1)
    index = torch.cdist(flat.reshape(-1, flat.shape[-1]), codebook).argmin(dim=1)
    return F.embedding(index, codebook).reshape(flat.shape).movedim(-1, 1)


def normalize(hu: Tensor, domain: Domain) -> Tensor:
    """HU to [-1, 1], clipped to the domain's window."""
    low, high = domain.window_hu
    return (hu.clamp(low, high) - low) * (2.0 / (high - low)) - 1.0


def denormalize(image: Tensor, domain: Domain) -> Tensor:
    """[-1, 1] to HU, clipped to the domain's window."""
    low, high = domain.window_hu
    return (image.clamp(-1.0, 1.0) + 1.0) * ((high - low) / 2.0) + low


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1, 1)
