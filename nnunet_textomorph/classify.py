"""``textomorph classify``: classes of the lesions and patients of new CT, by a trained classifier. And validation."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from nnunet_textomorph.classification_results import (
    RESULTS_FILE,
    Result,
    metrics_table,
    patient_result,
    write_results,
)
from nnunet_textomorph.classifier_cases import (
    NORMAL,
    CaseContent,
    Example,
    FoundLesion,
    find_lesions,
    host_places,
    read_classes,
)
from nnunet_textomorph.classifier_loader import crop, lesion_at, mock_lesion
from nnunet_textomorph.classifier_model import MODEL_FILE, ClassifierModel, load_model
from nnunet_textomorph.classifier_network import build_classifier, half_precision
from nnunet_textomorph.errors import UserError
from nnunet_textomorph.plan import infer_plan, read_json
from nnunet_textomorph.resuming import resume_folder

NORMAL_PLACES = 4  # of the host, that a patient without lesions is judged by
MOCK_DIAMETERS_MM = (10.0, 20.0, 30.0)  # of the areas that features are averaged over there


class PatchClassifier:
    """Trained networks that judge patches; their probabilities, and those of mirrored patches, are averaged.

    ``patch_size`` in voxels and ``spacing`` in mm: of the plans, axes as in preprocessed cases. ``mirror_axes``: as
    nnU-Net allows them; empty for no test-time mirroring.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        model: ClassifierModel,
        patch_size: Sequence[int],
        spacing: Sequence[float],
        mirror_axes: Sequence[int],
        device: torch.device,
    ) -> None:
        self.networks, self.model, self.device = list(networks), model, device
        self.patch_size, self.spacing = [int(n) for n in patch_size], [float(s) for s in spacing]
        self.flips = [
            [axis + 2 for axis in axes]
            for number in range(len(mirror_axes) + 1)
            for axes in itertools.combinations(mirror_axes, number)
        ]

    def of_lesion(
        self, data: Any, segmentation: Any, lesion: FoundLesion, tumor_values: Sequence[int]
    ) -> tuple[float, ...]:
        """Probabilities of a lesion of a preprocessed case: ``data`` and ``segmentation`` (1, D, H, W)."""
        image, around = crop(data, segmentation, lesion.centre, self.patch_size)
        mask = None
        if self.model.pooling == "lesion":
            mask = lesion_at(around[0].numpy(), tumor_values, np.array(self.patch_size) // 2)
        return self._probabilities(image, mask)

    def without_lesion(self, data: Any, segmentation: Any, places: np.ndarray) -> tuple[float, ...] | None:
        """Mean probabilities at a few of these host voxels (n, 3); None without any, or without a class for them."""
        if self.model.normal is None or not len(places):
            return None
        rng = np.random.default_rng(0)
        found = []
        for index in np.unique(np.linspace(0, len(places) - 1, NORMAL_PLACES + 2).round().astype(int)[1:-1]):
            image, _ = crop(data, segmentation, places[index], self.patch_size)
            mask = None
            if self.model.pooling == "lesion":
                mask = mock_lesion(self.patch_size, MOCK_DIAMETERS_MM, self.spacing, rng)
            found.append(self._probabilities(image, mask))
        return tuple(float(p) for p in np.mean(found, axis=0))

    @torch.inference_mode()
    def _probabilities(self, image: torch.Tensor, mask: np.ndarray | None) -> tuple[float, ...]:
        patch = image[None].to(self.device)
        lesion = None if mask is None else torch.from_numpy(mask)[None, None].to(self.device)
        total = torch.zeros(len(self.model.classes), device=self.device)
        for network in self.networks:
            network.eval()
            for axes in self.flips:
                with half_precision(self.device):
                    logits = network(patch.flip(axes), None if lesion is None else lesion.flip(axes))
                total += logits.float().softmax(1)[0]
        return tuple(float(p) for p in (total / (len(self.networks) * len(self.flips))).cpu())


def classify_cases(
    classifier: PatchClassifier,
    dataset: Any,
    contents: Mapping[str, CaseContent],
    found: Sequence[Example],
    folder: Path,
    fold: str,
) -> dict[str, Any]:
    """Judge preprocessed cases whose lesions and classes are known, and write the results into ``folder``.

    Cases without lesions are judged where there is a class for them. Returns what :func:`write_results` wrote, and the
    metrics as text (``table``).
    """
    model = classifier.model
    tumor_values = list(model.tumors.values())
    lesions: list[Result] = []
    patients: list[Result] = []
    for case in tqdm(sorted(contents), desc="classified", unit="case", disable=None):
        own = [x for x in found if x.case == case]
        if not own and model.normal is None:
            continue
        data, segmentation, _, properties = dataset.load_case(case)
        results = [
            Result(
                case,
                number,
                classifier.of_lesion(data, segmentation, x.lesion, tumor_values),
                model.classes[x.true],
                _in_file(x.lesion.centre, properties, segmentation.shape[1:]),
                x.lesion.diameter_mm,
            )
            for number, x in enumerate(own)
        ]
        without = None if own else classifier.without_lesion(data, segmentation, contents[case].host)
        lesions += results
        patients.append(
            patient_result(
                case,
                results,
                model.classes,
                model.malignant,
                without_lesion=without,
                true=None if own else model.normal,
            )
        )
    facts = {"fold": fold, "lesions_from": "the dataset's segmentations"}
    written = write_results(folder, lesions, patients, model.classes, model.malignant, model.normal, facts)
    return {**written, "table": _tables(written)}


def classify(
    images: Path,
    model_folder: Path,
    out: Path,
    *,
    lesions: Path | None = None,
    segmenter: Path | None = None,
    lesion_labels: Sequence[int] = (),
    true_classes: Path | None = None,
    folds: Sequence[str] = (),
    checkpoint: str = "checkpoint_final.pth",
    device: str | None = None,
    mirroring: bool = True,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Classify the lesions of all images in a folder, and their patients; write the results into ``out``.

    ``images``: named as nnU-Net wants them (CASE_0000.nii.gz). ``lesions``: a folder of segmentations (CASE.nii.gz) on
    the images' grids, whose lesions have the values of the training's or ``lesion_labels``; or ``segmenter``: the
    folder of a trained nnU-Net segmentation model that finds them. ``true_classes``: a classes.csv to hold the results
    against; of lesions they are the true classes where a patient has one lesion, or the training's came from such a
    file. ``folds``: all trained ones by default; their probabilities are averaged. Cases that an interrupted run has
    done are not done again. Returns the content of classification.json, and the metrics as text (``table``).

    Raises :class:`UserError` for folders and files that are missing or unfit, true classes that the model does not
    know, and an existing result unless ``overwrite``.
    """
    if (lesions is None) == (segmenter is None):
        raise UserError("Give either --lesions (segmentations of them) or --segmenter (a model that finds them).")
    model = load_model(model_folder)
    trained = _load_networks(model_folder, model, folds, checkpoint, _device(device))
    if (out / RESULTS_FILE).exists() and not overwrite:
        raise UserError(f"{out / RESULTS_FILE}: exists; replace it with --overwrite, or give -o another folder.")
    cases = _image_files(images, trained.dataset_json)
    truth = {} if true_classes is None else _truth(true_classes, list(cases), model)
    ending = str(trained.dataset_json["file_ending"])
    if segmenter is not None:
        values, hosts = _segmenter_values(segmenter, ending, lesion_labels)
        segmentations, source = out / "segmentations", f"segmenter {segmenter.absolute()}"
        segmentations.mkdir(parents=True, exist_ok=True)
        _segment(segmenter, cases, segmentations, ending, trained.device, overwrite)
    else:
        assert lesions is not None
        values, hosts = list(lesion_labels) or list(model.tumors.values()), list(model.hosts)
        segmentations, source = lesions, str(lesions.absolute())
    for case in cases:
        if not (segmentations / f"{case}{ending}").is_file():
            raise UserError(f"{segmentations / (case + ending)}: no such file; every image needs its segmentation.")
    out.mkdir(parents=True, exist_ok=True)

    classifier = PatchClassifier(
        trained.networks,
        model,
        trained.configuration.patch_size,
        trained.configuration.spacing,
        trained.mirror_axes if mirroring else (),
        trained.device,
    )
    facts = {
        "model": str(model_folder.absolute()),
        "folds": trained.folds,
        "checkpoint": checkpoint,
        "images": str(images.absolute()),
        "lesions_from": source,
        "lesion_labels": values,
        "mirroring": mirroring,
    }
    partial = out / ".partial-cases"
    resume_folder(partial, {**facts, "weights": trained.stamp})
    judged, strange = [], set[int]()
    for case in tqdm(cases, desc="classified", unit="case", disable=None):
        record = partial / f"{case}.json"
        files = [*cases[case], segmentations / f"{case}{ending}"]
        stamp = [_stamp(file) for file in files]
        content = _earlier(record, stamp)
        if content is None:
            content = {"files": stamp, **_judge(classifier, trained, cases[case], files[-1], values, hosts)}
            temporary = record.with_suffix(".tmp")
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, record)
        strange |= set(content["other_values"])
        judged.append((case, content))
    if strange and not any(content["lesions"] for _, content in judged):
        raise UserError(
            f"{segmentations}: no segmentation has a lesion (values {', '.join(map(str, values))}), but there are the "
            f"values {', '.join(map(str, sorted(strange)))}; give those of lesions with --lesion-label."
        )
    written = _write(out, judged, truth, model, facts)
    shutil.rmtree(partial)
    return {**written, "table": _tables(written) if truth else ""}


@dataclass(frozen=True)
class _Trained:
    """Networks of the folds, and what nnU-Net's plans say of their input."""

    networks: list[nn.Module]
    folds: list[str]
    stamp: list[list[int]]  # sizes and times of the checkpoints
    plans: Any
    configuration: Any
    dataset_json: dict[str, Any]
    mirror_axes: tuple[int, ...]
    device: torch.device


def _load_networks(
    folder: Path, model: ClassifierModel, folds: Sequence[str], checkpoint: str, device: torch.device
) -> _Trained:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(read_json(folder / "plans.json"))
    dataset_json = read_json(folder / "dataset.json")
    if folds:
        files = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    else:
        files = sorted(folder.glob(f"fold_*/{checkpoint}"))
        files = [path for path in files if path.parent.name != "fold_all"] or files
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file; give trained folds with -f, or another checkpoint with -chk.")
    if not files:
        raise UserError(
            f"{folder}: no fold has a {checkpoint}; train one to its end, or give -chk checkpoint_best.pth."
        )
    networks: list[nn.Module] = []
    for path in files:
        try:
            stored = torch.load(path, map_location="cpu", weights_only=False)  # nnU-Net's own format
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError):
            raise UserError(
                f"{path}: cannot be read, it may be truncated; copy it again, or give another -f."
            ) from None
        configuration = plans.get_configuration(stored["init_args"]["configuration"])
        channels = determine_num_input_channels(plans, configuration, dataset_json)
        network = build_classifier(plans, configuration, channels, 1, classes=len(model.classes))
        try:
            network.load_state_dict(stored["network_weights"])
        except RuntimeError:
            raise UserError(
                f"{path}: does not fit {folder / MODEL_FILE} and plans.json; is it a segmentation model's, or another "
                "training's?"
            ) from None
        networks.append(network.to(device))
    axes = stored.get("inference_allowed_mirroring_axes") or ()
    stamp = [_stamp(path) for path in files]
    names = [path.parent.name.removeprefix("fold_") for path in files]
    return _Trained(networks, names, stamp, plans, configuration, dataset_json, tuple(axes), device)


def _image_files(images: Path, dataset_json: dict[str, Any]) -> dict[str, list[Path]]:
    """The files of every case, one per channel."""
    ending = str(dataset_json["file_ending"])
    if not images.is_dir():
        raise UserError(
            f"{images}: no such folder; give one with images named as nnU-Net wants them (CASE_0000{ending})."
        )
    first = {path.name.removesuffix(f"_0000{ending}"): path for path in sorted(images.glob(f"*_0000{ending}"))}
    if not first:
        raise UserError(f"{images}: holds no image named as nnU-Net wants it (CASE_0000{ending}).")
    channels = len(dataset_json.get("channel_names") or dataset_json["modality"])
    unnamed = [
        p.name for p in sorted(images.glob(f"*{ending}")) if not re.search(rf"_\d{{4}}{re.escape(ending)}$", p.name)
    ]
    if unnamed:
        print(f"left out, as not named CASE_0000{ending}: {', '.join(unnamed)}", file=sys.stderr)
    found = {}
    for case in first:
        found[case] = [images / f"{case}_{channel:04d}{ending}" for channel in range(channels)]
        for path in found[case]:
            if not path.is_file():
                raise UserError(f"{path}: no such file; the model wants {channels} channels.")
    return found


def _truth(path: Path, cases: Sequence[str], model: ClassifierModel) -> dict[str, str]:
    truth = {case: name for case, name in read_classes(path).items() if case in cases}
    for case, name in truth.items():
        if name not in model.classes and name != NORMAL:
            raise UserError(
                f"{path}: {case} is of the class {name!r}, which the model never saw (its classes: "
                f"{', '.join(model.classes)}); take such cases out, or name their class as the training did."
            )
    missing = [case for case in cases if case not in truth]
    if missing:
        raise UserError(f"{path}: has no line for {missing[0]} ({len(missing)} such); give the class of every image.")
    return truth


def _segmenter_values(folder: Path, ending: str, lesion_labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """A segmentation model's values of tumors (``lesion_labels``, where given) and of hosts."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one in nnUNet_results that holds the model's fold_0.")
    if (folder / MODEL_FILE).is_file():
        raise UserError(f"{folder}: is a classifier; give --segmenter the folder of a segmentation model.")
    dataset_json = read_json(folder / "dataset.json")
    if str(dataset_json["file_ending"]) != ending:
        raise UserError(f"{folder}: reads {dataset_json['file_ending']}, the classifier {ending}; use one file format.")
    if not any(folder.glob("fold_*/checkpoint_final.pth")):
        raise UserError(f"{folder}: no fold has a checkpoint_final.pth; train the segmentation model to its end.")
    if lesion_labels:
        listed = (value if isinstance(value, list) else [value] for value in dataset_json["labels"].values())
        known = {int(value) for values in listed for value in values} - {0}
        unknown = sorted(set(lesion_labels) - known)
        if unknown:
            raise UserError(
                f"--lesion-label {unknown[0]}: {folder / 'dataset.json'} has no such label (it has "
                f"{', '.join(map(str, sorted(known)))}); give the tumors' values."
            )
        return sorted(lesion_labels), sorted(known - set(lesion_labels))
    try:
        plan = infer_plan(dataset_json, where=str(folder / "dataset.json"))
    except UserError as error:
        raise UserError(
            f"{str(error).split(';')[0].rstrip('.')}; name the tumors' values with --lesion-label."
        ) from None
    return sorted(plan.tumors.values()), plan.host_values


def _segment(
    folder: Path, cases: Mapping[str, list[Path]], out: Path, ending: str, device: torch.device, overwrite: bool
) -> None:
    """Segment by a trained nnU-Net into ``out``, but what the same model has made of the same images there."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    weights = [_stamp(path) for path in sorted(folder.glob("fold_*/checkpoint_final.pth"))]
    read = {case: [_stamp(path) for path in files] for case, files in cases.items()}
    stamp = {"model": str(folder.absolute()), "weights": weights, "images": read}
    note = out / ".segmenter.json"
    if overwrite or not note.is_file() or json.loads(note.read_text(encoding="utf-8")) != stamp:
        for path in out.glob(f"*{ending}"):
            path.unlink()
        note.write_text(json.dumps(stamp), encoding="utf-8")
    predictor = nnUNetPredictor(device=device, verbose=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    predictor.predict_from_files(
        [[str(path) for path in files] for files in cases.values()],
        [str(out / case) for case in cases],
        overwrite=False,
        num_processes_preprocessing=1,
        num_processes_segmentation_export=1,
    )


def _stamp(path: Path) -> list[int]:
    """A file's size and time."""
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _judge(
    classifier: PatchClassifier,
    trained: _Trained,
    images: Sequence[Path],
    segmentation_file: Path,
    values: Sequence[int],
    hosts: Sequence[int],
) -> dict[str, Any]:
    """What the networks say of one case, as JSON."""
    preprocessor = trained.configuration.preprocessor_class(verbose=False)
    reader = trained.plans.image_reader_writer_class()
    data, grid = _read(reader.read_images, [str(path) for path in images], images[0])
    segmentation, its_grid = _read(reader.read_seg, str(segmentation_file), segmentation_file)
    if data.shape[1:] != segmentation.shape[1:] or not _same_grid(grid, its_grid):
        raise UserError(f"{segmentation_file}: has another grid than {images[0]}; segment that image.")
    data, segmentation, properties = preprocessor.run_case_npy(
        data, segmentation, grid, trained.plans, trained.configuration, trained.dataset_json
    )
    segmentation = segmentation.astype(np.int16)
    found = find_lesions(segmentation[0], values, classifier.spacing)
    lesions = [
        {
            "probabilities": classifier.of_lesion(data, segmentation, x, values),
            "centre": _in_file(x.centre, properties, segmentation.shape[1:], trained.plans.transpose_forward),
            "diameter_mm": x.diameter_mm,
        }
        for x in found
    ]
    without = None if found else classifier.without_lesion(data, segmentation, host_places(segmentation[0], hosts))
    others = set(np.unique(segmentation).tolist()) - {-1, 0, *values, *hosts}
    return {"lesions": lesions, "without_lesion": without, "other_values": sorted(int(v) for v in others)}


def _read(read: Any, files: Any, named: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """What a reader of nnU-Net's gives; :class:`UserError` naming a file that it cannot read."""
    try:
        array, properties = read(files)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(f"{named}: cannot be read ({reason}).") from None
    return array, properties


def _same_grid(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two images' properties, as nnU-Net's readers give them, have the same spacing, origin and direction."""
    if set(one) != set(other):
        return False
    for key, value in one.items():
        if isinstance(value, Mapping):
            if not _same_grid(value, other[key]):
                return False
        elif np.shape(value) != np.shape(other[key]) or not np.allclose(value, other[key], rtol=1e-3, atol=1e-3):
            return False
    return True


def _write(
    out: Path,
    judged: Sequence[tuple[str, dict[str, Any]]],
    truth: Mapping[str, str],
    model: ClassifierModel,
    facts: dict[str, Any],
) -> dict[str, Any]:
    lesions: list[Result] = []
    patients: list[Result] = []
    for case, content in judged:
        true = truth.get(case)
        # where label values tell the classes, one patient's lesions may be of several
        of_lesions = true if model.labels_from == "classes.csv" or len(content["lesions"]) == 1 else None
        own = [
            Result(case, number, tuple(x["probabilities"]), of_lesions, tuple(x["centre"]), x["diameter_mm"])
            for number, x in enumerate(content["lesions"])
        ]
        lesions += own
        without = content["without_lesion"]
        patients.append(patient_result(case, own, model.classes, model.malignant, without_lesion=without, true=true))
    return write_results(out, lesions, patients, model.classes, model.malignant, model.normal, facts)


def _in_file(
    centre: Sequence[int],
    properties: Mapping[str, Any],
    shape: Sequence[int],
    transpose_forward: Sequence[int] | None = None,
) -> tuple[float, float, float]:
    """A voxel of a preprocessed case of this shape, as voxel (z, y, x) of its image file."""
    cropped = properties["shape_after_cropping_and_before_resampling"]
    start = [low for low, _ in properties["bbox_used_for_cropping"]]
    there = [(c + 0.5) * n / k - 0.5 + s for c, n, k, s in zip(centre, cropped, shape, start, strict=True)]
    order = list(transpose_forward or range(3))
    z, y, x = (round(float(there[order.index(axis)]), 1) for axis in range(3))
    return z, y, x


def _tables(written: Mapping[str, Any]) -> str:
    return "\n".join(f"{level}s\n{metrics_table(written[f'{level}_metrics'])}" for level in ("patient", "lesion"))


def _earlier(record: Path, stamp: list[list[int]]) -> dict[str, Any] | None:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if content.get("files") == stamp else None


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here; give -device cpu.")
    return torch.device(name)
