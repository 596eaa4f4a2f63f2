"""``textomorph mine``: the lesions that a trained nnU-Net missed, as a bank to train on (paper Eq. 4).

Validation folders of nnU-Net's folds, or a folder of predictions, are held against the labels; every missed lesion is
stored with its mask, described, and drawn.
"""

from __future__ import annotations

import csv
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import ndimage
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.llm_reports.describer import RING_MM, describe_lesion
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import describe
from nnunet_textomorph.llm_reports.variants import vary_offline
from nnunet_textomorph.matching import Lesion, match_lesions
from nnunet_textomorph.missed import (
    BANK_NAME,
    FOLDER_NAME,
    MissedBank,
    MissedLesion,
    StoredMask,
    file_digest,
    save_missed,
)
from nnunet_textomorph.nnunet_files import (
    Region,
    Validated,
    check_grid,
    check_unchanged,
    environment_folder,
    label_reader,
    read_image,
    read_label_map,
    read_splits,
    validated_cases,
)
from nnunet_textomorph.plan import (
    FILE_NAME,
    TextoMorphPlans,
    check_configuration,
    infer_plan,
    load_plan,
    organ_of,
    pathology_of,
    preprocessed_folder,
    read_json,
)
from nnunet_textomorph.preview import save_missed_picture
from nnunet_textomorph.resuming import SETTINGS_NAME, resume_folder
from nnunet_textomorph.shapes import SIZE_CLASSES_MM, equivalent_diameter, size_class

if TYPE_CHECKING:
    from nnunet_textomorph.llm_reports.client import ChatModel

VARIANTS = 20  # validated wordings of a description
AROUND_MM = 25.0  # of a lesion, that its description and its picture need
HOST_MM = 5.0  # from a lesion, where the host that it lies in is looked for


@dataclass(frozen=True)
class Case(Validated):
    """One image with its labels and a prediction; ``true_voxels`` is empty where nothing was validated."""

    image: Path


@dataclass(frozen=True)
class Task:
    """What is the same for all cases. ``reader``: nnU-Net's, that the plans name. ``pictures``: folder of PNG."""

    plan: TextoMorphPlans
    reader: Any
    ignore: int | None
    min_overlap: float
    pictures: Path


class FalsePositive(NamedTuple):
    """A predicted lesion where no real one is. ``centroid`` in voxels (z, y, x)."""

    case: str
    fold: int | None
    tumor: str
    size: str
    diameter_mm: float
    centroid: tuple[float, float, float]
    in_host: float  # share of it


class CaseRecord(BaseModel):
    """What one case gave, kept until all are done. ``lesions``, ``found``: how many, by "tumor, size class"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels_sha256: str
    predicted_sha256: str
    missed: tuple[MissedLesion, ...]
    lesions: dict[str, int]
    found: dict[str, int]
    false_positives: tuple[FalsePositive, ...]


class Row(NamedTuple):
    """One line of the summary: of a tumor label and a size class, either of them maybe "all"."""

    tumor: str
    size: str
    lesions: int
    found: int
    missed: int
    false_positives: int


@dataclass(frozen=True)
class Mined:
    """What :func:`mine` wrote into ``folder``. ``unfinished``: folds without a finished validation."""

    folder: Path
    bank: MissedBank
    summary: list[Row]
    unfinished: list[int]


def mine(
    dataset: str,
    configuration: str = "3d_fullres",
    trainer: str = "nnUNetTrainer",
    plans: str = "nnUNetPlans",
    *,
    predictions: Path | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    min_overlap: float = 0.0,
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    model: ChatModel | None = None,
) -> Mined:
    """Write a bank of missed lesions, with pictures, a summary and a list of false positives.

    Without ``predictions`` the validation folders of all finished folds are read. ``predictions`` alone: of the
    dataset's own training cases. With ``images`` and ``labels`` the predictions are of other cases, and the bank is
    marked external. ``model``: a vision model that describes instead of the measurements. ``out``: the dataset's own
    place by default. Cases that an interrupted run has done are not done again.

    Raises :class:`UserError` for missing or unfinished validations, grids or labels that do not belong together, and an
    existing ``out``; ``StoppedError`` where the model gives no answer.
    """
    preprocessed = preprocessed_folder(dataset)
    nnunet_plans, dataset_json = read_json(preprocessed / f"{plans}.json"), read_json(preprocessed / "dataset.json")
    check_configuration(nnunet_plans, configuration, str(preprocessed / f"{plans}.json"))
    out = mining_folder(dataset, out)
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists; replace it with --overwrite, or give --out another folder.")
    if out.exists() and not (out / BANK_NAME).is_file():  # replacing deletes: not what may be something else
        raise UserError(f"{out}: is no bank of missed lesions, so it is not replaced; give --out another folder.")
    plan_file = preprocessed / FILE_NAME
    plan = load_plan(plan_file) if plan_file.is_file() else infer_plan(dataset_json, where=str(preprocessed))
    ending = str(dataset_json["file_ending"])

    unfinished: list[int] = []
    external = images is not None or labels is not None
    if external:
        if predictions is None or images is None or labels is None:
            raise UserError("Lesions of other cases need all of --predictions, --images and --labels.")
        cases = _external_cases(predictions, images, labels, ending, read_splits(preprocessed), preprocessed.name)
        source = f"predictions {predictions.absolute()}"
    elif predictions is not None:
        cases = _predicted_cases(predictions, preprocessed, ending)
        source = f"predictions {predictions.absolute()}"
    else:
        name = f"{trainer}__{plans}__{configuration}"
        cases, unfinished = _validated_cases(preprocessed, name, ending)
        source = f"{name}, folds {', '.join(str(k) for k in sorted({c.fold for c in cases if c.fold is not None}))}"

    partial = out.with_name(f".partial-{out.name}")
    settings = {
        "source": source,
        "external": external,
        "min_overlap": min_overlap,
        "plan": plan.model_dump(include={"hosts", "tumors", "organ"}),
        "described_by": "measurement" if model is None else model.name,
    }
    resume_folder(partial, settings)
    task = Task(
        plan, label_reader(nnunet_plans), dataset_json["labels"].get("ignore"), min_overlap, partial / "pictures"
    )
    records = _records(cases, task, partial / "cases", workers, model)

    bank = MissedBank(
        dataset=preprocessed.name,
        source=source,
        external=external,
        min_overlap=min_overlap,
        lesions=tuple(lesion for record in records for lesion in record.missed),
    )
    summary = _summary(records, list(plan.tumors))
    save_missed(bank, partial / BANK_NAME)
    _write_csv(partial / "summary.csv", Row._fields, summary)
    false_positives = [fp for record in records for fp in record.false_positives]
    _write_csv(partial / "false_positives.csv", FalsePositive._fields, false_positives)
    wanted = {f"{lesion.id}.png" for lesion in bank.lesions}
    for picture in (partial / "pictures").iterdir():  # of a case whose prediction changed between two runs
        if picture.name not in wanted:
            picture.unlink()
    shutil.rmtree(partial / "cases")
    (partial / SETTINGS_NAME).unlink()
    if out.exists():
        shutil.rmtree(out)
    os.replace(partial, out)
    return Mined(out, bank, summary, unfinished)


def mining_folder(dataset: str, out: Path | None) -> Path:
    """Where :func:`mine` writes."""
    return (out or preprocessed_folder(dataset) / FOLDER_NAME).absolute()


def summary_table(summary: Sequence[Row]) -> str:
    """The summary as text, a line per tumor label and size class."""
    lines = [
        f"{'tumor':16s}{'size':8s}{'lesions':>9s}{'found':>7s}{'missed':>8s}{'sensitivity':>13s}{'false pos.':>12s}"
    ]
    for row in summary:
        found = f"{100 * row.found / row.lesions:.1f} %" if row.lesions else "-"
        counts = f"{row.lesions:9d}{row.found:7d}{row.missed:8d}{found:>13s}{row.false_positives:12d}"
        lines.append(f"{row.tumor:16s}{row.size:8s}{counts}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Scan:
    """A case's arrays (D, H, W), axes as nnU-Net reads them: HU, labels int16, predicted tumors bool. Spacing: mm."""

    ct_hu: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    spacing: tuple[float, float, float]


def mine_case(case: Case, task: Task, model: ChatModel | None = None) -> CaseRecord:
    """Match, describe and draw the missed lesions of one case; :class:`UserError` names the file that is unfit."""
    labels, of_model = read_label_map(task.reader, case.labels), read_label_map(task.reader, case.predicted)
    check_grid(case, labels, of_model)
    truth, spacing, predicted = labels.array, labels.spacing, of_model.array
    check_unchanged(case, truth, task.ignore)
    names = {value: name for name, value in task.plan.tumors.items()}
    matches = match_lesions(truth, predicted, list(names), min_overlap=task.min_overlap, ignore=task.ignore)
    missed: list[MissedLesion] = []
    if matches.missed:
        ct = read_image(task.reader, case.image, truth.shape)
        scan = _Scan(ct, truth, np.isin(predicted, list(names)), spacing)
        for number, lesion in enumerate(matches.missed):
            missed.append(_missed_lesion(case, number, names[lesion.label], lesion, scan, task, model))
    host = np.isin(truth, task.plan.host_values)
    return CaseRecord(
        labels_sha256=file_digest(case.labels),
        predicted_sha256=file_digest(case.predicted),
        missed=tuple(missed),
        lesions=_counted([*matches.found, *matches.missed], names, spacing),
        found=_counted(matches.found, names, spacing),
        false_positives=tuple(_false_positive(case, x, names, host, spacing) for x in matches.false_positives),
    )


def _missed_lesion(
    case: Case, number: int, tumor: str, lesion: Lesion, scan: _Scan, task: Task, model: ChatModel | None
) -> MissedLesion:
    identity = f"{case.name}_{number}"
    wide = _wider(lesion.box, scan.truth.shape, scan.spacing)
    near = _Scan(scan.ct_hu[wide], scan.truth[wide], scan.predicted[wide], scan.spacing)
    mask = np.zeros(near.truth.shape, bool)
    mask[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(lesion.box, wide, strict=True))] = lesion.mask
    host = _host(mask, near, task.plan)
    d, checks = _describe(mask, near, task.plan, host, model)
    d = d.model_copy(update={"pathology": pathology_of(tumor)})
    description = describe(d)
    diameter = equivalent_diameter(lesion.mask, scan.spacing)
    title = f"{identity}, {tumor}: {diameter:.0f} mm, {100 * lesion.overlap:.0f} % found. {description}"
    path = task.pictures / f"{identity}.png"
    save_missed_picture(path, near.ct_hu, mask, near.predicted, scan.spacing, title)
    return MissedLesion(
        id=identity,
        case=case.name,
        fold=case.fold,
        tumor=tumor,
        host=host,
        centroid=_centroid(lesion),
        diameter_mm=round(diameter, 2),
        overlap=round(lesion.overlap, 3),
        descriptors=d,
        description=description,
        variants=tuple(vary_offline(d, VARIANTS, seed=zlib.crc32(identity.encode()), encoder=None)),
        checks=checks,
        labels_sha256=file_digest(case.labels),
        mask=StoredMask.of(lesion.mask, scan.spacing),
    )


def _describe(
    mask: np.ndarray, near: _Scan, plan: TextoMorphPlans, host_name: str | None, model: ChatModel | None
) -> tuple[Descriptors, tuple[str, ...]]:
    """Measured, or by a vision model where there is one; against what surrounds it where no host is near."""
    organ = plan.organ if host_name is None else organ_of(host_name)
    host = np.isin(near.truth, plan.host_values)
    if not (host & (ndimage.distance_transform_edt(~mask, near.spacing) < RING_MM[1])).any():
        host = ~np.isin(near.truth, list(plan.tumors.values())) & ~mask
    if model is None:
        return describe_lesion(near.ct_hu, mask, host, near.spacing, organ=organ), ()
    from nnunet_textomorph.llm_reports.vision import describe_views

    segmentation = np.where(mask, 2, host.astype(np.int16))
    view = next(describe_views(near.ct_hu, segmentation, near.spacing, [1], [2], organ, model))
    return view.descriptors, view.checks


def _host(mask: np.ndarray, near: _Scan, plan: TextoMorphPlans) -> str | None:
    """The host with most voxels next to a lesion, if any is."""
    reach = max(HOST_MM, 1.5 * max(near.spacing))
    around = near.truth[ndimage.distance_transform_edt(~mask, near.spacing) <= reach]
    voxels = {name: int(np.isin(around, plan.values_of([name])).sum()) for name in plan.hosts}
    best = max(voxels, key=lambda name: voxels[name])
    return best if voxels[best] else None


def _centroid(lesion: Lesion) -> tuple[float, float, float]:
    middle = np.argwhere(lesion.mask).mean(axis=0)
    z, y, x = (round(float(v) + b.start, 1) for v, b in zip(middle, lesion.box, strict=True))
    return z, y, x


def _wider(box: Sequence[slice], shape: Sequence[int], spacing: Sequence[float]) -> tuple[slice, ...]:
    margins = [int(np.ceil(AROUND_MM / s)) + 1 for s in spacing]
    return tuple(slice(max(0, b.start - m), min(n, b.stop + m)) for b, m, n in zip(box, margins, shape, strict=True))


def _false_positive(
    case: Case, lesion: Lesion, names: dict[int, str], host: np.ndarray, spacing: Sequence[float]
) -> FalsePositive:
    diameter = equivalent_diameter(lesion.mask, spacing)
    size, in_host = size_class(diameter), round(float(host[lesion.box][lesion.mask].mean()), 3)
    return FalsePositive(
        case.name, case.fold, names[lesion.label], size, round(diameter, 2), _centroid(lesion), in_host
    )


def _counted(lesions: Sequence[Lesion], names: dict[int, str], spacing: Sequence[float]) -> dict[str, int]:
    return dict(Counter(f"{names[x.label]}, {size_class(equivalent_diameter(x.mask, spacing))}" for x in lesions))


def _summary(records: Sequence[CaseRecord], tumors: Sequence[str]) -> list[Row]:
    def row(tumor: str, size: str) -> Row:
        kinds = [f"{t}, {s}" for t in _all_or(tumor, tumors) for s in _all_or(size, list(SIZE_CLASSES_MM))]
        lesions = sum(record.lesions.get(kind, 0) for record in records for kind in kinds)
        found = sum(record.found.get(kind, 0) for record in records for kind in kinds)
        made = sum(f"{fp.tumor}, {fp.size}" in kinds for record in records for fp in record.false_positives)
        return Row(tumor, size, lesions, found, lesions - found, made)

    shown = [*tumors, "all"] if len(tumors) > 1 else list(tumors)
    return [row(tumor, size) for tumor in shown for size in (*SIZE_CLASSES_MM, "all")]


def _all_or(name: str, names: Sequence[str]) -> Sequence[str]:
    return names if name == "all" else [name]


def _records(
    cases: Sequence[Case], task: Task, folder: Path, workers: int, model: ChatModel | None
) -> list[CaseRecord]:
    """The record of every case, in order; those that an earlier run left are taken if their files are the same."""
    folder.mkdir(exist_ok=True)
    task.pictures.mkdir(exist_ok=True)
    records = {case.name: record for case in cases if (record := _earlier(folder, case)) is not None}
    rest = [case for case in cases if case.name not in records]
    with tqdm(total=len(cases), initial=len(records), desc="cases", unit="case", disable=None) as bar:
        for case, record in _worked(rest, task, workers, model):
            path = folder / f"{case.name}.json"
            temporary = path.with_suffix(".tmp")
            temporary.write_text(record.model_dump_json(exclude_none=True), encoding="utf-8")
            os.replace(temporary, path)
            records[case.name] = record
            bar.update()
    return [records[case.name] for case in cases]


def _worked(
    cases: Sequence[Case], task: Task, workers: int, model: ChatModel | None
) -> Iterator[tuple[Case, CaseRecord]]:
    """In whatever order they are done: by processes, or where a model is waited for by threads."""
    if workers < 2 or len(cases) < 2:
        yield from ((case, mine_case(case, task, model)) for case in cases)
        return
    pool: Executor
    pool = ThreadPoolExecutor(workers) if model else ProcessPoolExecutor(workers, get_context("spawn"))
    with pool:
        pending = {pool.submit(mine_case, case, task, model): case for case in cases}
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        finally:  # after an error or Ctrl-C, what has not begun is not begun
            pool.shutdown(wait=True, cancel_futures=True)


def _earlier(folder: Path, case: Case) -> CaseRecord | None:
    try:
        record = CaseRecord.model_validate_json((folder / f"{case.name}.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    same = (record.labels_sha256, record.predicted_sha256) == (file_digest(case.labels), file_digest(case.predicted))
    return record if same else None


def _validated_cases(preprocessed: Path, name: str, ending: str) -> tuple[list[Case], list[int]]:
    """The validation cases of all finished folds, and the folds that are not finished."""
    validated, unfinished = validated_cases(preprocessed, name, ending)
    if not validated:
        raise UserError(
            f"{environment_folder('nnUNet_results') / preprocessed.name / name}: no fold has a finished validation; "
            f"folds {', '.join(map(str, unfinished))} lack fold_K/validation/summary.json. Train them with "
            "nnUNetv2_train, or validate with its --val, and check --trainer, -c and -p."
        )
    files = _training_files(preprocessed)
    return [_case(v.name, v.fold, files, v.labels, v.predicted, v.true_voxels) for v in validated], unfinished


def _predicted_cases(predictions: Path, preprocessed: Path, ending: str) -> list[Case]:
    """Predictions of the dataset's own training cases; a case's fold is the one that validates it."""
    files = _training_files(preprocessed)
    fold_of = {case: fold for fold, split in enumerate(read_splits(preprocessed)) for case in split["val"]}
    cases = []
    for case in _predicted_names(predictions, ending):
        if case not in files:
            raise UserError(
                f"{predictions / (case + ending)}: is no training case of {preprocessed.name}; for other cases give "
                "--images and --labels too."
            )
        labels = preprocessed / "gt_segmentations" / f"{case}{ending}"
        cases.append(_case(case, fold_of.get(case), files, labels, predictions / f"{case}{ending}", {}))
    return cases


def _external_cases(
    predictions: Path, images: Path, labels: Path, ending: str, splits: list[dict[str, list[str]]], dataset: str
) -> list[Case]:
    own = {case for split in splits for cases in split.values() for case in cases}
    files = {path.name.removesuffix(f"_0000{ending}"): path for path in images.glob(f"*_0000{ending}")}
    cases = []
    for case in _predicted_names(predictions, ending):
        if case in own:  # else a validation case could come in by another door
            raise UserError(
                f"{predictions / (case + ending)}: is also the name of a case of {dataset}; leave out --images and "
                "--labels if it is the same, rename it if it is not."
            )
        cases.append(_case(case, None, files, labels / f"{case}{ending}", predictions / f"{case}{ending}", {}))
    return cases


def _predicted_names(predictions: Path, ending: str) -> list[str]:
    names = sorted(path.name.removesuffix(ending) for path in predictions.glob(f"*{ending}"))
    if not names:
        raise UserError(f"{predictions}: holds no prediction (*{ending}); give a folder that nnUNetv2_predict wrote.")
    return names


def _case(
    name: str, fold: int | None, images: dict[str, Path], labels: Path, predicted: Path, voxels: dict[Region, int]
) -> Case:
    image = images.get(name)
    if image is None:
        raise UserError(f"{name}: has no image; its CT is needed to describe what was missed.")
    for path in (image, labels, predicted):
        if not path.is_file():
            raise UserError(f"{path}: no such file; it is needed for {name}.")
    return Case(name, fold, labels, predicted, voxels, image)


def _training_files(preprocessed: Path) -> dict[str, Path]:
    """The CT of every training case."""
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    raw = environment_folder("nnUNet_raw") / preprocessed.name
    content = read_json(raw / "dataset.json")
    if "dataset" not in content and not (raw / "imagesTr").is_dir():
        raise UserError(f"{raw / 'imagesTr'}: no such folder; the CT are needed to describe what was missed.")
    files = get_filenames_of_train_images_and_targets(str(raw), content)
    return {case: Path(entry["images"][0]) for case, entry in files.items()}


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
