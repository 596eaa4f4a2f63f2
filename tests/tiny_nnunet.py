"""A tiny nnU-Net dataset with a trained baseline's validation folders, fabricated: boxes of liver, balls of tumor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE, SPACING = (20, 48, 56), (3.0, 1.5, 1.5)
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
Ball = tuple[tuple[int, int, int], float, int]  # centre in voxels, radius in mm, value


@dataclass
class TinyNnUNet:
    """nnU-Net's three folders under ``root``. Give the environment its paths; then fill it with :meth:`add`."""

    root: Path
    name: str = "Dataset985_Tiny"
    labels: dict[str, int | list[int]] = field(default_factory=lambda: {"background": 0, "liver": 1, "tumor": 2})
    splits: list[dict[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.raw / "imagesTr", self.raw / "labelsTr", self.gt, self.results):
            folder.mkdir(parents=True)
        dataset = {"channel_names": {"0": "CT"}, "labels": self.labels, "file_ending": ".nii.gz", "numTraining": 1}
        plans = {
            "dataset_name": self.name,
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "configurations": {"3d_fullres": {"normalization_schemes": ["CTNormalization"]}},
        }
        for path, content in (
            (self.raw / "dataset.json", dataset),
            (self.preprocessed / "dataset.json", dataset),
            (self.preprocessed / "nnUNetPlans.json", plans),
        ):
            path.write_text(json.dumps(content))

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
