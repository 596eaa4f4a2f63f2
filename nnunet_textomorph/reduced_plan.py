"""A small copy of nnU-Net's plans, for two cores: to try things, not to compare results."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import numpy as np

FEATURES = (8, 16, 32, 64)


def reduce_plans(
    preprocessed_folder: Path,
    configuration: str = "3d_fullres",
    plans: str = "nnUNetPlans",
    reduced: str = "nnUNetReducedPlans",
    patch: int = 48,
) -> Path:
    """Write ``reduced``.json beside ``plans``.json: four small stages, small patches, batch size 2.

    ``patch``: voxels along the axes of the finest spacing, at most.

    Preprocessed data are shared with the plans copied from. Returns the path; an existing file is replaced.
    """
    content = json.loads((preprocessed_folder / f"{plans}.json").read_text())
    content = copy.deepcopy(content)
    content["plans_name"] = reduced
    chosen = content["configurations"][configuration]
    network = chosen["architecture"]["arch_kwargs"]
    stages = min(len(FEATURES), network["n_stages"])
    network["n_stages"] = stages
    network["features_per_stage"] = list(FEATURES[:stages])
    for key in ("kernel_sizes", "strides"):
        network[key] = network[key][:stages]
    for key, number in (("n_conv_per_stage", stages), ("n_blocks_per_stage", stages)):
        if key in network:
            network[key] = [1] * number
    network["n_conv_per_stage_decoder"] = [1] * (stages - 1)
    whole = np.prod(network["strides"], axis=0)
    spacing = np.array(chosen["spacing"])
    wanted = np.minimum(patch * spacing.min() / spacing, chosen["patch_size"])
    chosen["patch_size"] = [int(max(1, round(w / s)) * s) for w, s in zip(wanted, whole, strict=True)]
    chosen["batch_size"] = 2
    path = preprocessed_folder / f"{reduced}.json"
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    temporary.write_text(json.dumps(content, indent=4) + "\n")
    os.replace(temporary, path)
    return path
