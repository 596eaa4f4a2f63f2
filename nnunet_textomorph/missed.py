"""The bank of missed lesions: what ``textomorph mine`` writes, and which of it a fold may train on."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.llm_reports.descriptors import Descriptors

FOLDER_NAME = "TextoMorphMissed"  # beside nnU-Net's plans
BANK_NAME = "missed.json"
SPECK_MM = 3.0  # a component of a smaller equivalent diameter is a slip of the pen, nothing to train on


class StoredMask(BaseModel):
    """A mask in its bounding box: ``voxels`` are bits in C order, packed, compressed by zlib, in base64.

    ``spacing``: mm per voxel. Axes as nnU-Net reads the label file, (z, y, x), before any transposition of its plans.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    voxels: str

    @classmethod
    def of(cls, mask: np.ndarray, spacing: Sequence[float]) -> StoredMask:
        z, y, x = (float(s) for s in spacing)
        depth, height, width = mask.shape
        packed = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
        return cls(shape=(depth, height, width), spacing=(z, y, x), voxels=packed)

    def array(self) -> np.ndarray:
        """Bool (D, H, W)."""
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.voxels, validate=True)), np.uint8)
        if len(bits) != -(-int(np.prod(self.shape)) // 8):
            raise ValueError("the number of voxels is not that of the shape")
        return np.unpackbits(bits, count=int(np.prod(self.shape))).astype(bool).reshape(self.shape)

    @model_validator(mode="after")
    def _readable(self) -> StoredMask:
        if min(self.shape) < 1 or not min(self.spacing) > 0 or not np.isfinite(self.spacing).all():
            raise ValueError("shape and spacing must be above 0")
        try:
            empty = not self.array().any()
        except (ValueError, zlib.error):  # base64's error is a ValueError
            raise ValueError("voxels cannot be decoded; the file is damaged") from None
        if empty:
            raise ValueError("the mask is empty")
        return self


class MissedLesion(BaseModel):
    """One missed lesion. ``tumor`` and ``host``: label names; ``centroid``: voxels (z, y, x) of the label file.

    ``overlap``: share of it that was predicted; ``labels_sha256``: of the label file that it was found in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    case: str
    fold: int | None = None  # absent from the file where the cases are another set's
    tumor: str
    host: str | None = None  # likewise where none is near
    centroid: tuple[float, float, float]
    diameter_mm: float = Field(gt=0)
    overlap: float
    descriptors: Descriptors
    description: str = Field(min_length=1)
    variants: tuple[str, ...]
    checks: tuple[str, ...] = ()
    labels_sha256: str
    mask: StoredMask


class MissedBank(BaseModel):
    """Contents of the file. ``external``: the cases are not the dataset's own, so that no fold holds them back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    dataset: str
    source: str  # model and folds, or the folder of predictions
    external: bool
    min_overlap: float
    lesions: tuple[MissedLesion, ...]


@dataclass(frozen=True)
class MissedShape:
    """What a targeted request needs of a missed lesion: ``mask`` bool (D, H, W) with ``spacing`` in mm, axes as in
    training patches."""

    case: str
    tumor: str
    host: str | None
    texts: tuple[str, ...]
    mask: np.ndarray
    spacing: Spacing


def default_path(preprocessed: Path) -> Path:
    """Where a dataset's bank lies when nothing else is said."""
    return preprocessed / FOLDER_NAME / BANK_NAME


def save_missed(bank: MissedBank, path: Path) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    temporary.write_text(bank.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def load_missed(path: Path) -> MissedBank:
    """Read a bank; :class:`UserError` names the file and the field that is unfit."""
    try:
        return MissedBank.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such bank of missed lesions; make it with textomorph mine.") from None
    except OSError as error:  # such as the folder that mine wrote, in place of the file in it
        raise UserError(
            f"{path}: {(error.strerror or str(error)).lower()}; name the file {BANK_NAME} itself."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {field}: {first['msg']}; make it anew with textomorph mine.") from None


def usable_lesions(
    bank: MissedBank, training: Collection[str], validation: Collection[str]
) -> tuple[list[MissedLesion], Counter[str]]:
    """The lesions that a fold may train on, and how many of the others were left out for what reason.

    Only lesions of the fold's own training cases are kept, so nothing of a case that validates this fold gets into its
    training: such a lesion was found while another fold held its case back. Cases that are in both sets (custom splits)
    validate, hence count as held back; with the fold "all" (both sets equal) nothing is.
    """
    training = set(training)
    held_back = set(validation) if set(validation) != training else set()
    left_out: Counter[str] = Counter()
    kept = []
    for lesion in bank.lesions:
        if lesion.diameter_mm < SPECK_MM:
            left_out[f"specks under {SPECK_MM:g} mm"] += 1
        elif bank.external:
            kept.append(lesion)
        elif lesion.case in held_back:
            left_out["of this fold's validation cases"] += 1
        elif lesion.case not in training:
            left_out["of cases that this fold does not train on"] += 1
        else:
            kept.append(lesion)
    return kept, left_out


def check_fits(bank: MissedBank, path: Path, dataset: str, tumors: Collection[str]) -> None:
    """Raise :class:`UserError` for a bank of another dataset, or of tumor labels that the plan does not name."""
    if bank.dataset != dataset:
        raise UserError(f"{path}: is a bank of {bank.dataset}, not of {dataset}; run textomorph mine on {dataset}.")
    if not bank.lesions:
        raise UserError(f"{path}: holds no missed lesion, so there is nothing to target; set another mix in the plan.")
    unknown = sorted({lesion.tumor for lesion in bank.lesions} - set(tumors))
    if unknown:
        raise UserError(f"{path}: holds lesions of the label {unknown[0]!r}, but the plan's tumors are {list(tumors)}.")


def check_labels(lesions: Sequence[MissedLesion], path: Path, label_files: dict[str, Path]) -> None:
    """Raise :class:`UserError` where the labels of a lesion's case are others than when it was found."""
    for case, digest in {lesion.case: lesion.labels_sha256 for lesion in lesions}.items():
        if file_digest(label_files[case]) != digest:
            raise UserError(f"{path}: the labels {label_files[case]} changed since; run textomorph mine again.")


def shapes(lesions: Sequence[MissedLesion], transpose_forward: Sequence[int]) -> tuple[MissedShape, ...]:
    """Lesions as requests use them, with the axes in the order of nnU-Net's plans."""
    made = []
    for lesion in lesions:
        z, y, x = (lesion.mask.spacing[axis] for axis in transpose_forward)
        mask = np.ascontiguousarray(lesion.mask.array().transpose(transpose_forward))
        texts = (lesion.description, *lesion.variants)
        made.append(MissedShape(lesion.case, lesion.tumor, lesion.host, texts, mask, (z, y, x)))
    return tuple(made)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
