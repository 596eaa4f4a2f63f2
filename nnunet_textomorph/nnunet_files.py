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


@dataclass(frozen=True)
class Validated:
    """A case that a finished fold validated. ``true_voxels``: of each label or region at that time."""

    name: str
    fold: int | None
    labels: Path
    predicted: Path
    true_voxels: dict[Region, int]


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


def read_labels(reader: Any, path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Int16 (D, H, W) and spacing in mm, axes as nnU-Net reads them."""
    array, properties = _read(reader.read_seg, str(path))
    z, y, x = (float(s) for s in properties["spacing"])
    return np.rint(array[0]).astype(np.int16), (z, y, x)


def read_image(reader: Any, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The first channel (D, H, W), on the grid of its labels."""
    array, _ = _read(reader.read_images, [str(path)])
    if array.shape[1:] != shape:
        raise UserError(f"{path}: has {array.shape[1:]} voxels, its labels have {shape}; one of them changed since.")
    return np.asarray(array[0])


def _read(read: Any, what: Any) -> Any:
    try:
        return read(what)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
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
