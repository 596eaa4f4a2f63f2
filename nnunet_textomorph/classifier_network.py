"""The classification network (paper §III-D): nnU-Net's own, its last convolution replaced by a linear layer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class LesionClassifier(nn.Module):
    """Features of the decoder's last stage, averaged over the lesion or over the patch, then a linear layer.

    ``network``: an nnU-Net segmentation network of dynamic-network-architectures (plain or residual encoder). Encoder
    and decoder keep their names, and the new layer has one that nnU-Net takes for a segmentation layer
    (``.seg_layers.``): so ``nnUNetv2_train -pretrained_weights`` loads a segmentation training into all but that layer.
    """

    def __init__(self, network: Any, classes: int) -> None:
        super().__init__()
        self.encoder: nn.Module = network.encoder
        self.decoder: Any = network.decoder
        features = self.decoder.seg_layers[-1].in_channels
        self.decoder.seg_layers = nn.ModuleList([nn.Identity()])  # the decoder returns its last stage's features
        self.decoder.deep_supervision = False
        self.head = nn.ModuleDict({"seg_layers": nn.Linear(features, classes)})

    def forward(self, image: Tensor, lesion: Tensor | None = None) -> Tensor:
        """Logits (B, classes) of patches (B, 1, D, H, W).

        ``lesion``: bool (B, 1, D, H, W), where features are averaged; all of the patch without it or where it is empty.
        """
        features = self.decoder(self.encoder(image)).float()  # half precision cannot add up so many voxels
        axes = tuple(range(2, features.ndim))
        pooled = features.mean(axes)
        if lesion is not None:
            inside = lesion.to(features.dtype)
            voxels = inside.sum(axes)
            pooled = torch.where(voxels > 0, (features * inside).sum(axes) / voxels.clamp(min=1), pooled)
        return self.head["seg_layers"](pooled)


def half_precision(device: torch.device) -> Any:
    """As nnU-Net does it: autocast on CUDA, nothing elsewhere (MPS does not even take a disabled autocast)."""
    return torch.autocast("cuda") if device.type == "cuda" else nullcontext()


def build_classifier(
    plans_manager: Any,
    configuration_manager: Any,
    num_input_channels: int,
    num_output_channels: int,
    enable_deep_supervision: bool = False,
    *,
    classes: int,
) -> LesionClassifier:
    """The classifier of nnU-Net's plans. Arguments as of ``nnUNetTrainer.build_network_architecture``, and ``classes``.

    ``num_output_channels`` belongs to segmentation and is not used.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network = get_network_from_plans(
        configuration_manager.network_arch_class_name,
        configuration_manager.network_arch_init_kwargs,
        configuration_manager.network_arch_init_kwargs_req_import,
        num_input_channels,
        1,
        allow_init=True,
        deep_supervision=enable_deep_supervision,
    )
    return LesionClassifier(network, classes)
