"""``textomorph radiomics``: how diverse synthetic tumors are, and how well they can be told from real ones.

Diversity (the paper's Table II): the mean variance of 102 features of pyradiomics over tumors, features standardized
over all methods pooled. Realism: a classifier's AUC between synthetic and real tumors, and the Frechet distance of
their features.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator.volumes import Spacing
from nnunet_textomorph.markdown import markdown_escaped
from nnunet_textomorph.missed import file_digest
from nnunet_textomorph.stats import auc, bootstrap_interval
from nnunet_textomorph.tumors import REAL, Scan, Tumor, all_scans, tumors_of

# pyradiomics' default features but those of the neighbouring gray tone difference matrix: 14 + 18 + 24 + 16 + 16 + 14
GROUPS = {
    "shape": ("shape",),
    "intensity": ("firstorder",),
    "texture": ("glcm", "glrlm", "glszm", "gldm"),
}
CLASSES = tuple(name for names in GROUPS.values() for name in names)
BIN_WIDTH_HU = 25.0  # pyradiomics' default
MARGIN = 2  # voxels around the tumor that the features get to see
RESAMPLES = 500


@dataclass(frozen=True)
class Record:
    """The features of one tumor, in the order of :func:`feature_names`. ``place``: a hash of its voxels' places."""

    method: str
    name: str
    patient: str
    organ: str
    size: str
    diameter_mm: float
    place: str
    features: tuple[float, ...]


@dataclass(frozen=True)
class Diversity:
    """Mean variance of a method's features in an organ, by groups of features; the interval is of ``all`` features."""

    method: str
    organ: str
    tumors: int
    patients: int
    all: float
    low: float | None
    high: float | None
    shape: float
    intensity: float
    texture: float


@dataclass(frozen=True)
class Realism:
    """A method against the real tumors of an organ. AUC: 0.5 where nothing tells them apart; None for too few patients.

    ``frechet_real``: the same distance between halves of the real tumors.
    """

    method: str
    organ: str
    tumors: int
    real: int
    auc: float | None
    low: float | None
    high: float | None
    frechet: float | None
    frechet_real: float | None


@cache
def feature_names() -> tuple[str, ...]:
    """The 102 features, as ``class_Feature``."""
    import radiomics

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    classes = radiomics.getFeatureClasses()
    return tuple(
        f"{name}_{feature}"
        for name in CLASSES
        for feature, deprecated in sorted(classes[name].getFeatureNames().items())
        if not deprecated
    )


def tumor_features(ct_hu: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> tuple[float, ...]:
    """The features of one tumor: arrays (D, H, W), HU and bool, ``spacing`` in mm.

    What pyradiomics' extractor gives on the whole CT, of what is asked only. A feature that a tiny tumor does not have
    is NaN.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(ct_hu, dtype=np.float64))
    z, y, x = (float(s) for s in spacing)
    image.SetSpacing((x, y, z))
    inside = _mask_image(np.packbits(mask).tobytes(), mask.shape, (z, y, x))
    values = dict(_shape_features(np.packbits(mask).tobytes(), mask.shape, (z, y, x)))
    for name in CLASSES:
        if name != "shape":
            values |= _class_features(name, image, inside)
    return tuple(values.get(name, float("nan")) for name in feature_names())


@lru_cache(maxsize=8)
def _shape_features(bits: bytes, shape: tuple[int, ...], spacing: Spacing) -> dict[str, float]:
    """They take most of the time, and methods share their masks: kept for the next method's tumor."""
    inside = _mask_image(bits, shape, spacing)
    return _class_features("shape", inside, inside)


def _mask_image(bits: bytes, shape: tuple[int, ...], spacing: Spacing) -> sitk.Image:
    packed = np.frombuffer(bits, np.uint8)
    made = sitk.GetImageFromArray(np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape))
    made.SetSpacing(spacing[::-1])
    return made


def _class_features(name: str, image: sitk.Image, inside: sitk.Image) -> dict[str, float]:
    import radiomics

    names = [full.removeprefix(f"{name}_") for full in feature_names() if full.startswith(f"{name}_")]
    calculator = radiomics.getFeatureClasses()[name](image, inside, binWidth=BIN_WIDTH_HU, label=1)
    calculator.disableAllFeatures()
    for feature in names:
        calculator.enableFeatureByName(feature)
    with np.errstate(all="ignore"):
        found = calculator.execute()
    return {f"{name}_{feature}": float(value) for feature, value in found.items()}


def radiomics_study(
    synthetic: Sequence[tuple[str, Path]], real: Sequence[Path], out: Path, workers: int = 1
) -> tuple[list[Diversity], list[Realism]]:
    """Write ``features.csv``, ``radiomics.md``, ``results.json`` and a figure into the new folder ``out``.

    ``synthetic``: methods by name, with folders that ``textomorph synthesize`` wrote; all of them with the same masks
    in the same CT. ``real``: folders of nnU-Net raw datasets; tumors of an organ are compared with real ones of that
    organ. Features of an interrupted run are kept. Raises
    :class:`UserError` for unusable input.
    """
    if find_spec("radiomics") is None:
        raise UserError('pyradiomics is not installed; give `pip install ".[radiomics]"`, which asks for a C compiler.')
    if out.exists():
        raise UserError(f"{out}: exists; give --out a new folder.")
    scans = all_scans(synthetic, real)
    _tell_organs_without_real_tumors(scans)
    partial = out.absolute().with_name(f".partial-{out.name}")
    (partial / "records").mkdir(parents=True, exist_ok=True)
    records = extract(scans, partial / "records", workers)
    check_same_places(records)
    diversity = diversity_table(records)
    realism = realism_table(records)
    _write(records, diversity, realism, partial)
    shutil.rmtree(partial / "records")
    os.replace(partial, out)
    return diversity, realism


def _tell_organs_without_real_tumors(scans: Sequence[Scan]) -> None:
    real, made = ({scan.organ for scan in scans if (scan.method == REAL) is kind} for kind in (True, False))
    for organ in sorted(made - real) if real else ():
        click.echo(f"{organ}: there are no real tumors of it, only of {', '.join(sorted(real))}", err=True)


def extract(scans: Sequence[Scan], folder: Path, workers: int = 1) -> list[Record]:
    """The records of all tumors in the scans' order; ``folder`` keeps those that are done."""
    keys = [_key(scan) for scan in scans]
    left = [(key, scan) for key, scan in zip(keys, scans, strict=True) if not (folder / f"{key}.json").is_file()]
    together: dict[tuple[str, str], list[tuple[str, Scan]]] = defaultdict(list)
    for key, scan in left:  # the methods' tumors of one mask: its shape is then measured once
        together[scan.patient, scan.name].append((key, scan))
    with tqdm(total=len(scans), initial=len(scans) - len(left), desc="radiomics", unit="CT", disable=None) as bar:
        for done in _worked(list(together.values()), workers):
            for key, records in done:
                path = folder / f"{key}.json"
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps([asdict(record) for record in records]))
                os.replace(temporary, path)
                bar.update()
    made = []
    for key in keys:
        for entry in json.loads((folder / f"{key}.json").read_text()):
            made.append(Record(**{**entry, "features": tuple(entry["features"])}))
    return made


def _key(scan: Scan) -> str:
    digests = "".join(file_digest(path) for path in (scan.image, scan.labels) if path.is_file())
    return hashlib.sha256(f"{scan}{digests}{CLASSES}{BIN_WIDTH_HU}".encode()).hexdigest()[:32]


Keyed = list[tuple[str, Scan]]


def _worked(groups: Sequence[Keyed], workers: int) -> Iterator[list[tuple[str, list[Record]]]]:
    if workers < 2 or len(groups) < 2:
        yield from map(_group_records, groups)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        pending = [pool.submit(_group_records, group) for group in groups]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:  # after an error or Ctrl-C, what has not begun is not begun
            pool.shutdown(wait=True, cancel_futures=True)


def _group_records(group: Keyed) -> list[tuple[str, list[Record]]]:
    return [(key, scan_records(scan)) for key, scan in group]


def scan_records(scan: Scan) -> list[Record]:
    """The records of one CT's tumors."""
    return [_record(tumor) for tumor in tumors_of(scan)]


def _record(tumor: Tumor) -> Record:
    shape = tumor.ct.array.shape
    wide = tuple(
        slice(max(0, b.start - MARGIN), min(n, b.stop + MARGIN)) for b, n in zip(tumor.box, shape, strict=True)
    )
    mask = np.zeros([w.stop - w.start for w in wide], bool)
    mask[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(tumor.box, wide, strict=True))] = tumor.mask
    place = hashlib.sha256(f"{shape}{tumor.box}".encode() + np.packbits(tumor.mask).tobytes()).hexdigest()
    return Record(
        tumor.method,
        tumor.name,
        tumor.patient,
        tumor.organ,
        tumor.size,
        round(tumor.diameter_mm, 3),
        place,
        tumor_features(tumor.ct.array[wide], mask, tumor.ct.spacing),
    )


def check_same_places(records: Sequence[Record]) -> None:
    """Raise :class:`UserError` unless all synthetic methods have the same masks in the same CT."""
    places: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for record in records:
        if record.method != REAL:
            places[record.method][record.patient, record.place] = record.name
    for first, second in ((a, b) for a in places for b in places if a != b):
        lacking = set(places[first]) - set(places[second])
        if lacking:
            name = places[first][min(lacking)]
            raise UserError(
                f"{second} has no tumor with the mask and CT of {name} in {first}; methods are compared on the same "
                "masks and CT: synthesize it with the same --tumor-mask and --image."
            )


def diversity_table(records: Sequence[Record]) -> list[Diversity]:
    """Every method in every organ, real tumors first; features are standardized over the organ's synthetic ones."""
    rows = []
    for organ in sorted({record.organ for record in records}):
        here = [record for record in records if record.organ == organ]
        pool = [record for record in here if record.method != REAL] or here
        mean, sd = _standard(_matrix(pool))
        for method in dict.fromkeys(record.method for record in here):
            of = [record for record in here if record.method == method]
            rows.append(_diversity(method, organ, of, (_matrix(of) - mean) / sd))
    return rows


def _diversity(method: str, organ: str, of: Sequence[Record], values: np.ndarray) -> Diversity:
    def mean_variance(rows: np.ndarray, columns: np.ndarray | slice = slice(None)) -> float:
        return float(np.nanmean(np.nanvar(values[rows][:, columns], axis=0, ddof=1))) if len(rows) > 1 else float("nan")

    everything = np.arange(len(of))
    patients = [record.patient for record in of]
    low, high = bootstrap_interval(patients, mean_variance, RESAMPLES) or (None, None)
    parts = {group: mean_variance(everything, _columns(group)) for group in GROUPS}
    return Diversity(method, organ, len(of), len(set(patients)), mean_variance(everything), low, high, **parts)


def realism_table(records: Sequence[Record]) -> list[Realism]:
    """Every method against the real tumors of the same organ, where there are both.

    By intensity and texture: shapes are drawn or given, not made by a generator.
    """
    rows = []
    columns = np.concatenate([_columns("intensity"), _columns("texture")])
    for organ in sorted({record.organ for record in records}):
        real = [record for record in records if record.organ == organ and record.method == REAL]
        methods = dict.fromkeys(r.method for r in records if r.organ == organ and r.method != REAL)
        if not real:
            continue
        reference = _frechet_of_halves(_matrix(real)[:, columns], [record.patient for record in real])
        for method in methods:
            of = [record for record in records if record.organ == organ and record.method == method]
            values = np.concatenate([_matrix(real), _matrix(of)])[:, columns]
            synthetic = np.arange(len(values)) >= len(real)
            found = two_sample_auc(values, synthetic, [record.patient for record in (*real, *of)])
            auc, low, high = found or (None, None, None)
            distance = frechet_distance(values[~synthetic], values[synthetic])
            rows.append(Realism(method, organ, len(of), len(real), auc, low, high, distance, reference))
    return rows


FEWEST_PATIENTS = 5  # of each kind, for a cross-validation


def two_sample_auc(
    values: np.ndarray, synthetic: np.ndarray, patients: Sequence[str]
) -> tuple[float, float | None, float | None] | None:
    """Area under the ROC of a random forest that tells synthetic (True) from real rows; its interval over patients.

    Every row is judged by a forest that saw nothing of its patient (five folds). None for fewer than five patients of
    either kind.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.asarray(patients)
    if min(len(set(groups[synthetic])), len(set(groups[~synthetic]))) < FEWEST_PATIENTS:
        return None
    values = _imputed(values)
    scores = np.zeros(len(values))
    folds = StratifiedGroupKFold(FEWEST_PATIENTS, shuffle=True, random_state=0)
    for training, held_out in folds.split(values, synthetic, groups):
        if len(set(synthetic[training])) < 2:
            return None
        forest = RandomForestClassifier(300, min_samples_leaf=2, class_weight="balanced", random_state=0)
        scores[held_out] = forest.fit(values[training], synthetic[training]).predict_proba(values[held_out])[:, 1]

    def of_rows(rows: np.ndarray) -> float:
        found = auc(scores[rows], synthetic[rows])
        return float("nan") if found is None else found

    low, high = bootstrap_interval(list(groups), of_rows, RESAMPLES) or (None, None)
    return of_rows(np.arange(len(values))), low, high


def frechet_distance(real: np.ndarray, other: np.ndarray) -> float | None:
    """Frechet distance of two samples (rows) taken as normal, standardized by the first; None for too few rows.

    Covariances are shrunk (Ledoit and Wolf), as there are more features than tumors. It grows with fewer rows: compare
    only distances of similar numbers.
    """
    from sklearn.covariance import ledoit_wolf

    if min(len(real), len(other)) < 3:
        return None
    mean, sd = _standard(real)
    a, b = (_imputed((x - mean) / sd) for x in (real, other))
    first, second = ledoit_wolf(a)[0], ledoit_wolf(b)[0]
    # the trace of (AB)^(1/2) is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2)
    weights, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(weights, 0, None)) @ vectors.T
    mixed = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(shift + np.trace(first) + np.trace(second) - 2 * mixed)


def _frechet_of_halves(values: np.ndarray, patients: Sequence[str], splits: int = 10) -> float | None:
    """Mean distance between random halves of the patients: what a perfect generator would have, and a little more."""
    names = sorted(set(patients))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(splits):
        chosen = set(rng.permutation(names)[: len(names) // 2])
        half = np.array([patient in chosen for patient in patients])
        distance = frechet_distance(values[~half], values[half])
        if distance is not None:
            found.append(distance)
    return float(np.mean(found)) if found else None


def _matrix(records: Sequence[Record]) -> np.ndarray:
    return np.array([record.features for record in records], dtype=float)


def _columns(group: str) -> np.ndarray:
    return np.array([i for i, name in enumerate(feature_names()) if name.split("_")[0] in GROUPS[group]])


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of every column; what is the same everywhere is left as it is, so that it counts as no variance."""
    sd = np.nanstd(values, axis=0)
    return np.nanmean(values, axis=0), np.where(sd > 1e-12 * np.abs(np.nanmean(values, axis=0)), sd, np.inf)


def _imputed(values: np.ndarray) -> np.ndarray:
    """What is NaN replaced by its column's median."""
    with np.errstate(all="ignore"):
        median = np.nan_to_num(np.nanmedian(values, axis=0))
    return np.where(np.isnan(values), median, values)


def _write(records: Sequence[Record], diversity: Sequence[Diversity], realism: Sequence[Realism], folder: Path) -> None:
    with (folder / "features.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "name", "patient", "organ", "size", "diameter_mm", *feature_names()])
        for r in records:
            writer.writerow([r.method, r.name, r.patient, r.organ, r.size, r.diameter_mm, *r.features])
    for name, rows in (("diversity.csv", diversity), ("realism.csv", realism)):
        if rows:
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(asdict(rows[0])))
                table.writeheader()
                table.writerows(asdict(row) for row in rows)
    (folder / "radiomics.md").write_text(markdown(diversity, realism), encoding="utf-8")
    content: dict[str, Any] = {
        # of one tumor there is no variance, and NaN is no JSON
        "diversity": [{k: None if v != v else v for k, v in asdict(row).items()} for row in diversity],
        "realism": [asdict(row) for row in realism],
        "features": list(feature_names()),
        "bin_width_hu": BIN_WIDTH_HU,
        "versions": {name: version(name) for name in ("nnunet-textomorph", "pyradiomics-bhklab", "scikit-learn")},
    }
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _figure(diversity, folder / "diversity.png")


def markdown(diversity: Sequence[Diversity], realism: Sequence[Realism]) -> str:
    """Both tables."""
    lines = [
        "# Diversity",
        "",
        f"Mean variance of {len(feature_names())} features of pyradiomics, standardized over all methods of an organ "
        "pooled (real tumors by the same scale), with 95 % intervals over patients. Higher: more diverse.",
        "",
        "| organ | method | tumors | patients | all features | shape | intensity | texture |",
        "|---" * 8 + "|",
    ]
    for d in diversity:
        parts = " | ".join(_number(x) for x in (d.shape, d.intensity, d.texture))
        value = f"{_number(d.all)}{_between(d.low, d.high)}"
        lines.append(f"| {d.organ} | {markdown_escaped(d.method)} | {d.tumors} | {d.patients} | {value} | {parts} |")
    if realism:
        lines += ["", "# Realism", ""]
        lines += [
            "AUC of a classifier of synthetic and real tumors by intensity and texture, patient-wise cross-validation "
            "(0.5: not told apart; it also tells scanners apart where the CT differ), and the Frechet distance to the "
            "real tumors, beside that between halves of the real ones.",
            "",
            "| organ | method | tumors | real | AUC | Frechet distance | of real halves |",
            "|---" * 7 + "|",
        ]
        for r in realism:
            auc = f"{_number(r.auc)}{_between(r.low, r.high)}"
            lines.append(
                f"| {r.organ} | {markdown_escaped(r.method)} | {r.tumors} | {r.real} | {auc} | {_number(r.frechet)} | "
                f"{_number(r.frechet_real)} |"
            )
    return "\n".join([*lines, ""])


def _number(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.2f}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def _figure(diversity: Sequence[Diversity], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in diversity if not np.isnan(row.all)]
    figure = Figure(figsize=(6.4, 1.2 + 0.32 * max(len(rows), 1)), dpi=120, layout="constrained")
    panel = figure.subplots()
    places = np.arange(len(rows))[::-1]
    left = np.array([row.all - (row.all if row.low is None else row.low) for row in rows])
    right = np.array([(row.all if row.high is None else row.high) - row.all for row in rows])
    colors = ["#888888" if row.method == REAL else "#3b75af" for row in rows]
    panel.barh(places, [row.all for row in rows], xerr=np.clip([left, right], 0, None), color=colors, capsize=2)
    panel.set_yticks(places, [f"{row.organ}, {row.method}" for row in rows])
    panel.set_xlabel("mean variance of standardized features")
    panel.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})
