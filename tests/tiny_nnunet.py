"""A tiny nnU-Net dataset with a trained baseline's validation folders, fabricated: boxes of liver, balls of tumor."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

SHAPE, SPACING = (20, 48, 56), (3.0, 1.5, 1.5)
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
INTENSITIES = {"mean": 90.0, "std": 30.0, "percentile_00_5": -20.0, "percentile_99_5": 140.0}
Ball = tuple[tuple[int, int, int], float, int]  # centre in voxels, radius in mm, value


@dataclass
class TinyNnUNet:
    """nnU-Net's three folders under ``root``. Give the environment its paths; then fill it with :meth:`add`."""

    root: Path
    name: str = "Dataset985_Tiny"
    labels: dict[str, int | list[int]] = field(default_factory=lambda: {"background": 0, "liver": 1, "tumor": 2})
    splits: list[dict[str, list[str]]] = field(default_factory=list)
    transpose_forward: list[int] = field(default_factory=lambda: [0, 1, 2])
    configuration: str = "3d_fullres"
    residual: bool = False

    def __post_init__(self) -> None:
        for folder in (self.raw / "imagesTr", self.raw / "labelsTr", self.gt, self.results):
            folder.mkdir(parents=True)
        for path, content in (
            (self.raw / "dataset.json", self.dataset_json),
            (self.preprocessed / "dataset.json", self.dataset_json),
            (self.preprocessed / "nnUNetPlans.json", self.plans),
            (self.preprocessed / "dataset_fingerprint.json", {}),
        ):
            path.write_text(json.dumps(content))

    @property
    def dataset_json(self) -> dict[str, Any]:
        made = {"channel_names": {"0": "CT"}, "labels": self.labels, "file_ending": ".nii.gz", "numTraining": 1}
        if any(isinstance(value, list) for value in self.labels.values()):
            named = [value for name, value in self.labels.items() if name not in ("background", "ignore")]
            made["regions_class_order"] = [value[0] if isinstance(value, list) else value for value in named]
        return made

    @property
    def plans(self) -> dict[str, Any]:
        """What nnU-Net would plan, but smaller."""
        network = {
            "n_stages": 3,
            "features_per_stage": [4, 4, 4],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 3,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_blocks_per_stage" if self.residual else "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        kind = "ResidualEncoderUNet" if self.residual else "PlainConvUNet"
        resampling = {
            f"resampling_fn_{what}{end}": value
            for what in ("data", "seg", "probabilities")
            for end, value in (
                ("", "resample_data_or_seg_to_shape"),
                ("_kwargs", {"is_seg": what == "seg", "order": 1}),
            )
        }
        configuration = {
            "data_identifier": f"nnUNetPlans_{self.configuration}",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [16, 32, 32],
            "median_image_size_in_voxels": list(SHAPE),
            "spacing": [SPACING[axis] for axis in self.transpose_forward],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            **resampling,
            "architecture": {
                "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
                "arch_kwargs": network,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
            "batch_dice": False,
        }
        return {
            "dataset_name": self.name,
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": self.transpose_forward,
            "transpose_backward": [int(a) for a in np.argsort(self.transpose_forward)],
            "configurations": {
                self.configuration: configuration,
                "3d_second_stage": {**configuration, "previous_stage": "3d_lowres"},
                "2d": {**configuration, "patch_size": [32, 32]},
            },
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
        }

    @property
    def environment(self) -> dict[str, str]:
        return {f"nnUNet_{part}": str(self.root / part) for part in ("raw", "preprocessed", "results")}

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.name

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.name

    @property
    def gt(self) -> Path:
        return self.preprocessed / "gt_segmentations"

    @property
    def results(self) -> Path:
        return self.root / "results" / self.name / MODEL

    def validation(self, fold: int) -> Path:
        return self.results / f"fold_{fold}" / "validation"

    def add(self, fold: int, case: str, truth: Sequence[Ball], predicted: Sequence[Ball]) -> None:
        """A case that ``fold`` validates, with its CT, labels and prediction."""
        while len(self.splits) <= fold:
            self.splits.append({"train": [], "val": []})
        cases = {c for split in self.splits for c in split["val"]} | {case}
        self.splits[fold]["val"].append(case)
        for split in self.splits:
            split["train"] = sorted(cases - set(split["val"]))
        (self.preprocessed / "splits_final.json").write_text(json.dumps(self.splits))
        labels = label_map(truth)
        rng = np.random.default_rng(len(cases))
        ct = np.where(labels == 1, 100.0, -80.0) + rng.normal(0, 8, SHAPE)
        ct[labels > 1] = 50.0 + rng.normal(0, 8, (labels > 1).sum())
        write(self.raw / "imagesTr" / f"{case}_0000.nii.gz", ct.astype(np.int16))
        write(self.raw / "labelsTr" / f"{case}.nii.gz", labels)
        write(self.gt / f"{case}.nii.gz", labels)
        self.validation(fold).mkdir(parents=True, exist_ok=True)
        write(self.validation(fold) / f"{case}.nii.gz", label_map(predicted))
        self.summarize(fold)

    def summarize(self, fold: int) -> None:
        """``summary.json`` as nnU-Net writes it at the end of a validation, as far as it is read."""
        entries = []
        for case in self.splits[fold]["val"]:
            truth = sitk.GetArrayFromImage(sitk.ReadImage(str(self.gt / f"{case}.nii.gz")))
            values = [v for k, v in self.labels.items() if k not in ("background", "ignore")]
            regions = [tuple(v) if isinstance(v, list) else v for v in values]
            metrics = {str(r): {"n_ref": int(np.isin(truth, r).sum())} for r in regions}
            entries.append({"prediction_file": str(self.validation(fold) / f"{case}.nii.gz"), "metrics": metrics})
        content = {"metric_per_case": entries, "mean": {}}
        (self.validation(fold) / "summary.json").write_text(json.dumps(content))

    def preprocess(self) -> None:
        """The training data, on the grid that they have, as nnU-Net's preprocessing leaves them."""
        folder = self.preprocessed / f"nnUNetPlans_{self.configuration}"
        folder.mkdir()
        for path in self.gt.glob("*.nii.gz"):
            case = path.name.removesuffix(".nii.gz")
            image = sitk.GetArrayFromImage(sitk.ReadImage(str(self.raw / "imagesTr" / f"{case}_0000.nii.gz")))
            labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.int8)
            image, labels = (a.transpose(self.transpose_forward)[None] for a in (image, labels))
            hu = np.clip(image, INTENSITIES["percentile_00_5"], INTENSITIES["percentile_99_5"])
            data = ((hu - INTENSITIES["mean"]) / INTENSITIES["std"]).astype(np.float32)
            np.savez(folder / f"{case}.npz", data=data, seg=labels)
            regions = [v for k, v in self.labels.items() if k not in ("background", "ignore")]
            if "ignore" in self.labels:  # nnU-Net's key for all that is annotated
                known = {int(v) for k, r in self.labels.items() if k != "ignore" for v in np.ravel(r)}
                regions.append([-1, *sorted(known)])
            places = {tuple(r) if isinstance(r, list) else r: np.argwhere(np.isin(labels, r)) for r in regions}
            (folder / f"{case}.pkl").write_bytes(pickle.dumps({"class_locations": places}))


def label_map(balls: Sequence[Ball]) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:19, 4:44, 4:52] = 1
    for centre, radius, value in balls:
        labels[ball(centre, radius)] = value
    return labels


def ball(centre: Sequence[int], radius_mm: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return (((grid - np.array(centre)) * SPACING) ** 2).sum(-1) <= radius_mm**2


def write(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(path))
