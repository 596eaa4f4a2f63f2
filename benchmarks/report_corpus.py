"""Time and memory of a whole corpus of reports, offline, through the command line: extract, then validate.

python benchmarks/report_corpus.py [--reports 3400 --reports 34035] [--folder DIR]

The reports are generated (phantom_reports, seeded), one in five without a lesion. Each lesion gives a pair to validate:
its description and a rewording of it, every fifth with one descriptor changed. Processor time is that of all cores
together: on a machine that others use as well it says more than the seconds on the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import rephrase
from nnunet_textomorph.phantom_reports import Finding, write_report

PLACES = {
    "liver": [f"segment {n}" for n in range(2, 9)],
    "pancreas": ["head", "body", "tail"],
    "kidney": ["left kidney, upper pole", "right kidney, lower pole"],
}
LOOKS = {
    "attenuation": ("hypo", "iso", "hyper"),
    "texture": ("homogeneous", "heterogeneous", None),
    "margin": ("well-defined", "ill-defined", None),
    "composition": ("solid", "cystic", "necrotic", None),
    "enhancement": ("hypo", "hyper", None),
}
OTHER = {"hypo": "hyper", "iso": "hypo", "hyper": "hypo"}


def write_reports(path: Path, count: int) -> None:
    """A corpus, one report at a time."""
    with path.open("w") as file:
        for i in range(count):
            rng = np.random.default_rng(i)
            organ = str(rng.choice(list(PLACES)))
            findings = []
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                looks = {name: values[int(rng.integers(len(values)))] for name, values in LOOKS.items()}
                d = Descriptors.model_validate({**looks, "organ": organ, "size_mm": float(rng.integers(6, 90))})
                findings.append(Finding(d, str(rng.choice(PLACES[organ]))))
            file.write(json.dumps({"id": i, "report": write_report(organ, findings, rng)[0]}) + "\n")


def write_pairs(lesions: Path, path: Path) -> None:
    """For each extracted lesion its description, and a rewording that is right four times out of five."""
    with lesions.open() as source, path.open("w") as file:
        for i, line in enumerate(source):
            content = json.loads(line)
            if content["description"] is None:
                continue
            d = Descriptors.model_validate(content["descriptors"])
            if i % 5 == 0 and d.attenuation:
                d = d.model_copy(update={"attenuation": OTHER[d.attenuation]})
            text = rephrase(d, np.random.default_rng(i))
            file.write(json.dumps({"id": i, "source": content["description"], "text": text}) + "\n")


class Measured(NamedTuple):
    """Of one command and its workers together: seconds on the clock and of processors, and the most MB held."""

    seconds: float
    processor: float
    peak: float

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s ({self.processor:.0f} s of processor time), {self.peak:.0f} MB at most"


def measured(*arguments: object) -> Measured:
    """Run one command."""
    command = [Path(sys.executable).with_name("textomorph"), "reports", *[str(a) for a in arguments]]
    start, before = time.perf_counter(), children_seconds()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0.0
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr or []))
    reader.start()
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid))
        time.sleep(0.2)
    reader.join()
    if process.returncode:
        raise SystemExit("".join(log[-5:]))
    counts = [line.rstrip() for line in log if line[:9].strip().isdigit()]
    print("\n".join(counts))
    return Measured(time.perf_counter() - start, children_seconds() - before, peak)


def children_seconds() -> float:
    """Processor time of all processes that this one has waited for, and that those have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mb(pid: int) -> float:
    """What a process and its children hold, shared pages counted once (proportional set size)."""
    total = 0.0
    for process in [pid, *children(pid)]:
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    return total


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return found + [grandchild for child in found for grandchild in children(child)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, action="append", help="How many; may be given several times.")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    for count in arguments.reports or [3_400, 34_035]:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            write_reports(folder / "reports.jsonl", count)
            extract = measured("extract", folder / "reports.jsonl", folder / "lesions.jsonl")
            write_pairs(folder / "lesions.jsonl", folder / "pairs.jsonl")
            validate = measured("validate", folder / "pairs.jsonl", folder / "judged.jsonl")
        print(
            f"{count} reports: extract {extract}; validate {validate}; "
            f"together {extract.seconds + validate.seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
