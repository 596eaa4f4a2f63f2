"""Phantom cases per second on one core, writing included: OMP_NUM_THREADS=1 python benchmarks/phantom_speed.py"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from nnunet_textomorph.phantom import ORGANS, write_phantom


def main(cases: int = 20) -> None:
    for organ in ORGANS:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            write_phantom(Path(folder) / "Dataset001_Phantom", organ, cases, 0, progress=False)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{organ}: {cases / wall:.2f} cases a second, {cases / cpu:.2f} a second of processor time")


if __name__ == "__main__":
    main()
