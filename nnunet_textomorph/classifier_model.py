"""classifier.json: what makes an nnU-Net model folder a classifier's, beside plans.json and dataset.json."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnunet_textomorph.classifier_cases import ClassNames
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.plan import TextoMorphPlans

MODEL_FILE = "classifier.json"
PREDICT_SENTENCE = (
    "This model classifies lesions and does not segment: use textomorph classify -i IMAGES -m MODEL_FOLDER -o OUT "
    "instead of nnUNetv2_predict."
)


class ClassifierModel(BaseModel):
    """Contents of the file. ``tumors``, ``hosts``: values of the segmentation, ``classes``: in the network's order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=2)
    malignant: tuple[str, ...]
    normal: str | None
    pooling: Literal["patch", "lesion"]
    tumors: dict[str, int]
    hosts: tuple[int, ...]
    labels_from: Literal["label values", "classes.csv"]
    version: str


def describe_model(classes: ClassNames, plan: TextoMorphPlans) -> ClassifierModel:
    """What a training with these classes and this plan makes."""
    return ClassifierModel(
        classes=classes.names,
        malignant=classes.malignant,
        normal=classes.normal,
        pooling=plan.classification.pooling,
        tumors=plan.tumors,
        hosts=tuple(plan.host_values),
        labels_from="label values" if classes.of_case is None else "classes.csv",
        version=version("nnunet-textomorph"),
    )


def save_model(model: ClassifierModel, folder: Path) -> None:
    """Write under a temporary name, then rename."""
    temporary = folder / f".partial-{os.getpid()}-{MODEL_FILE}"
    temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / MODEL_FILE)


def load_model(folder: Path) -> ClassifierModel:
    """Read the file; :class:`UserError` where the folder is no classifier's, or the file unfit."""
    path = folder / MODEL_FILE
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one in nnUNet_results that holds fold_0.")
    if not path.is_file():
        if (folder / "plans.json").is_file():
            raise UserError(
                f"{folder}: is the folder of a segmentation model ({MODEL_FILE} is absent); give it as --segmenter, "
                "and as -m one that nnUNetTrainerTextoMorphClassifier trained."
            )
        raise UserError(f"{path}: no such file; give the folder TRAINER__PLANS__CONFIGURATION of a classifier.")
    try:
        return ClassifierModel.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {field}: {first['msg']}; train again.") from None


def check_same(model: ClassifierModel, folder: Path) -> None:
    """Raise :class:`UserError` where other folds in ``folder`` were trained on other classes or otherwise."""
    if not (folder / MODEL_FILE).is_file():
        return
    there = load_model(folder)
    for field in ("classes", "normal", "pooling", "malignant", "tumors", "hosts"):
        new, old = getattr(model, field), getattr(there, field)
        if new != old:
            raise UserError(
                f"{folder / MODEL_FILE}: {field} was {old} when folds were trained, and is {new} now; restore the plan "
                "and the classes, or move that folder away."
            )
