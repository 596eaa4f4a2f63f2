"""Radiomics of tumors as textomorph radiomics does it, against a plain loop over pyradiomics' extractor.

CPU seconds of this process, so that a busy machine does not count; with --workers also the wall clock of both ways.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from radiomics.featureextractor import RadiomicsFeatureExtractor
from tqdm import tqdm

from nnunet_textomorph.generator.volumes import read_volume, write_volume
from nnunet_textomorph.radiomics import extract, feature_names, scan_records
from nnunet_textomorph.tumors import Scan, real_scans


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--tumors", type=int, default=24, help="The dataset's first cases with one.")
@click.option("--methods", type=int, default=6, help="That share the masks, as in a comparison.")
@click.option("--workers", type=int, default=0, help="Also time this many processes.")
def main(dataset: Path, tumors: int, methods: int, workers: int) -> None:
    logging.getLogger("radiomics").setLevel(logging.ERROR)
    sick = (s for s in real_scans(dataset) if np.isin(read_volume(s.labels, integer=True).array, s.values).any())
    cases = list(itertools.islice(sick, tumors))
    extractor = RadiomicsFeatureExtractor()
    with tempfile.TemporaryDirectory() as folder:
        singles = [_single(scan, Path(folder)) for scan in cases]
        scans = [
            Scan(f"m{m}", s.name, s.patient, s.organ, s.source, s.image, single, (1,), whole=True)
            for s, single in zip(cases, singles, strict=True)
            for m in range(methods)
        ]
        started = time.process_time()
        plain = []
        for scan in tqdm(scans, desc="plain loop"):
            found = extractor.execute(str(scan.image), str(scan.labels), label=1)
            plain.append([float(found[f"original_{name}"]) for name in feature_names()])
        plain_seconds = time.process_time() - started
        started = time.process_time()
        ours = [scan_records(scan)[0].features for scan in tqdm(scans, desc="ours")]
        our_seconds = time.process_time() - started
        worst = np.nanmax(np.abs(np.array(ours) - plain) / np.maximum(np.abs(plain), 1e-9))
        click.echo(
            f"{len(scans)} tumors ({methods} methods), CPU seconds: plain loop {plain_seconds:.1f}, ours "
            f"{our_seconds:.1f}, ratio {plain_seconds / our_seconds:.2f}; largest relative difference {worst:.1e}"
        )
        for number in (1, workers) if workers else ():
            records = Path(folder) / f"records{number}"
            records.mkdir()
            started = time.perf_counter()
            extract(scans, records, number)
            click.echo(f"{number} processes: {time.perf_counter() - started:.1f} s of wall clock")


def _single(scan: Scan, folder: Path) -> Path:
    """A label map with the tumor only, as 1."""
    labels = read_volume(scan.labels, integer=True)
    path = folder / f"{scan.name}.nii.gz"
    write_volume(path, labels.with_array(np.isin(labels.array, scan.values).astype(np.uint8)))
    return path


if __name__ == "__main__":
    main()
