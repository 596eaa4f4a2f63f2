"""What the commands read of nnU-Net's folders: splits, finished validations, label maps, CT."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_textomorph.errors import UserError

Region = int | tuple[int, ...]

SPACING_TOLERANCE = 1e-3  # relative
ORIGIN_TOLERANCE = 0.1  # of the smallest spacing
DIRECTION_TOLERANCE = 2e-3  # of direction cosines, which NIfTI's quaternions in 32 bits give to about 7e-4


@dataclass(frozen=True)
class Validated:
    """A case that a finished fold validated. ``true_voxels``: of each label or region at that time."""

    name: str
    fold: int | None
    labels: Path
    predicted: Path
    true_voxels: dict[Region, int]

    @property
    def given(self) -> bool:
        """Whether the prediction is one that the user named, not nnU-Net's own of the validation."""
        return not self.true_voxels


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels int16 (D, H, W) and spacing in mm, axes as nnU-Net reads them, and where they lie in space.

    ``origin`` (n) in mm, of the first voxel, and ``directions`` (n, n), a unit vector per column, n the image's
    dimensions; both None of a format that knows no such thing (TIFF, PNG).
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    origin: np.ndarray | None
    directions: np.ndarray | None


def validated_cases(preprocessed: Path, model: str, ending: str) -> tuple[list[Validated], list[int]]:
    """The validation cases of a model's finished folds (``trainer__plans__configuration``), and the unfinished folds.

    Raises :class:`UserError` where a validation is of another split or its summary is damaged, or nnUNet_results is not
    set.
    """
    from nnunetv2.evaluation.evaluate_predictions import load_summary_json

    results = environment_folder("nnUNet_results") / preprocessed.name / model
    unfinished, cases = [], []
    for fold, split in enumerate(read_splits(preprocessed)):
        folder = results / f"fold_{fold}" / "validation"
        if not (folder / "summary.json").is_file():
            unfinished.append(fold)
            continue
        try:
            metrics = load_summary_json(str(folder / "summary.json"))["metric_per_case"]
            voxels = {
                Path(entry["prediction_file"]).name.removesuffix(ending): {
                    region: int(values["n_ref"]) for region, values in entry["metrics"].items()
                }
                for entry in metrics
            }
        except (ValueError, KeyError, TypeError, AttributeError):  # cut off by a crash, or not nnU-Net's
            raise UserError(
                f"{folder / 'summary.json'}: is no summary of a validation; validate the fold again "
                f"(nnUNetv2_train ... {fold} --val)."
            ) from None
        if set(voxels) != set(split["val"]):
            odd = sorted(set(voxels) ^ set(split["val"]))
            raise UserError(
                f"{folder}: holds other cases than fold {fold} validates by {preprocessed / 'splits_final.json'} "
                f"({odd[0]} is in one of them only); the split changed since, train or validate the fold again."
            )
        for case in sorted(split["val"]):
            labels = preprocessed / "gt_segmentations" / f"{case}{ending}"
            cases.append(Validated(case, fold, labels, folder / f"{case}{ending}", voxels[case]))
    return cases, unfinished


def read_splits(preprocessed: Path) -> list[dict[str, list[str]]]:
    """The folds of ``splits_final.json``, each with its ``train`` and ``val`` cases."""
    path = preprocessed / "splits_final.json"
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        return [{"train": list(split["train"]), "val": list(split["val"])} for split in splits]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train at least one fold of the baseline first.") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: is no list of splits with train and val; restore it.") from None


def environment_folder(variable: str) -> Path:
    """The folder that one of nnU-Net's environment variables names."""
    folder = os.environ.get(variable)
    if not folder:
        raise UserError(f"{variable} is not set; set nnU-Net's three environment variables first.")
    return Path(folder)


def label_reader(nnunet_plans: dict[str, Any]) -> Any:
    """nnU-Net's reader that the plans name."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    return PlansManager(nnunet_plans).image_reader_writer_class()


def read_label_map(reader: Any, path: Path) -> LabelMap:
    """Labels, by nnU-Net's reader. Raises :class:`UserError` for what cannot be read or holds several volumes."""
    array, properties = _read(reader.read_seg, str(path))
    if len(array) != 1:
        raise UserError(f"{path}: holds {len(array)} volumes, and labels are one; store one 3D label map per case.")
    z, y, x = (float(s) for s in properties["spacing"])
    origin, directions = _place(properties)
    return LabelMap(np.rint(array[0]).astype(np.int16), (z, y, x), origin, directions)


def _place(properties: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Origin and directions of the grid that nnU-Net's reader gave, after any reorientation of its own."""
    if "sitk_stuff" in properties:
        origin, directions = (np.asarray(properties["sitk_stuff"][key], float) for key in ("origin", "direction"))
        directions = directions.reshape(len(origin), len(origin))
        return origin[:3], directions[:3, :3]  # of a single volume that is stored in 4D too
    if "nibabel_stuff" in properties:
        stuff = properties["nibabel_stuff"]
        affine = np.asarray(stuff.get("reoriented_affine", stuff["original_affine"]), float)
        return affine[:3, 3], affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return None, None


def read_image(reader: Any, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The first channel (D, H, W), on the grid of its labels."""
    array, _ = _read(reader.read_images, [str(path)])
    if array.shape[1:] != shape:
        raise UserError(f"{path}: has {array.shape[1:]} voxels, its labels have {shape}; one of them changed since.")
    return np.asarray(array[0])


def _read(read: Any, what: Any) -> Any:
    try:
        return read(what)
    except (RuntimeError, OSError, EOFError, ValueError, AssertionError) as error:  # the last: NibabelIO, of 4D
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(f"{what if isinstance(what, str) else what[0]}: cannot be read ({reason}).") from None


def check_unchanged(case: Validated, truth: np.ndarray, ignore: int | None) -> None:
    """Raise :class:`UserError` where the labels are others than when the case was validated."""
    for region, voxels in case.true_voxels.items():
        now = int((np.isin(truth, region) & (truth != (-1 if ignore is None else ignore))).sum())
        if now != voxels:
            raise UserError(
                f"{case.labels}: has {now} voxels of the label {region}, but had {voxels} when fold {case.fold} was "
                f"validated; the labels changed since, validate the fold again (nnUNetv2_train ... {case.fold} --val)."
            )


def check_grid(case: Validated, truth: LabelMap, predicted: LabelMap) -> None:
    """Raise :class:`UserError` for a prediction of another shape or spacing than the labels', and for one that the user
    gave of another orientation or origin."""
    if truth.array.shape != predicted.array.shape:
        raise UserError(
            f"{case.predicted}: has {predicted.array.shape} voxels, the labels {case.labels} have {truth.array.shape}; "
            "predict on the grid of the labels."
        )
    if not np.allclose(truth.spacing, predicted.spacing, rtol=SPACING_TOLERANCE):
        shown, wanted = (" x ".join(f"{s:g}" for s in each.spacing) for each in (predicted, truth))
        raise UserError(
            f"{case.predicted}: has a spacing of {shown} mm, the labels {case.labels} {wanted} mm; predict on the grid "
            "of the labels."
        )
    # nnU-Net's own predictions lie as its images do; by voxel they are the labels' whatever the labels' header says
    if case.given and (difference := _displaced(truth, predicted)):
        raise UserError(
            f"{case.predicted}: {difference} the labels {case.labels}; resample it onto the grid of the labels, with "
            "the nearest neighbour, or predict on that grid."
        )


def _displaced(truth: LabelMap, predicted: LabelMap) -> str:
    """How two label maps of one shape and spacing lie apart in space, as a part of a sentence; empty if they do not."""
    if truth.origin is None or truth.directions is None or predicted.origin is None or predicted.directions is None:
        return ""
    if truth.directions.shape != predicted.directions.shape:
        return "has other dimensions than"
    if not np.allclose(truth.directions, predicted.directions, rtol=0, atol=DIRECTION_TOLERANCE):
        return "is stored in another orientation than"
    if not np.allclose(truth.origin, predicted.origin, rtol=0, atol=ORIGIN_TOLERANCE * min(truth.spacing)):
        apart = ", ".join(f"{d:g}" for d in np.round(predicted.origin - truth.origin, 3))
        return f"has an origin that is ({apart}) mm away from that of"
    return ""
