"""What all loader workers did in an epoch, in shared memory, so that the trainer can report it."""

from __future__ import annotations

import ctypes
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_textomorph.plan import KINDS

PREVIEWS = 4
TIMES = 4096  # the latest durations that median and percentile are taken of
FEWEST_ATTEMPTS = 20  # before a share of rejected implants says anything
MOST_REJECTED = 0.05  # share of all implants since training began
SENTENCE = 2000  # bytes of the reason why training stops
PATIENCE = 10.0  # seconds; the lock is held for microseconds, unless its holder was killed


@dataclass(frozen=True)
class EpochSummary:
    """What happened in an epoch: ``patches`` seen, tumors ``injected`` by (kind, label), attempts without room,
    implants ``rejected`` as not finite, and ``seconds`` of the latest tumors."""

    patches: int
    injected: dict[tuple[str, str], int]
    no_room: int
    rejected: int
    seconds: tuple[float, ...]

    @property
    def total(self) -> int:
        return sum(self.injected.values())

    @property
    def share(self) -> float:
        """Of the patches, with a synthetic tumor."""
        return self.total / self.patches if self.patches else 0.0

    def percentile(self, q: float) -> float:
        """Seconds of one tumor; 0 where there was none."""
        return float(np.percentile(self.seconds, q)) if self.seconds else 0.0

    def line(self) -> str:
        """All of it for the training log."""
        parts = "; ".join(f"{kind} {name} {count}" for (kind, name), count in self.injected.items() if count)
        return (
            f"{self.total} tumors injected{f' ({parts})' if parts else ''}, in {100 * self.share:.0f} % of "
            f"{self.patches} patches, {self.no_room} attempts found no room, {self.rejected} rejected, "
            f"median {1000 * self.percentile(50):.0f} ms, 95th percentile {1000 * self.percentile(95):.0f} ms"
        )

    def values(self) -> dict[str, float]:
        """All of it for nnU-Net's logger, every key in every epoch."""
        kinds: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        for (kind, name), count in self.injected.items():
            kinds[kind] += count
            classes[name] += count
        return {
            "textomorph_injected": self.total,
            **{f"textomorph_injected_{kind}": count for kind, count in kinds.items()},
            **{f"textomorph_injected_class_{name}": count for name, count in classes.items()},
            "textomorph_patches_with_tumor": self.share,
            "textomorph_no_room": self.no_room,
            "textomorph_rejected": self.rejected,
            "textomorph_median_seconds": self.percentile(50),
            "textomorph_95th_percentile_seconds": self.percentile(95),
        }


def merged(summaries: Iterable[EpochSummary]) -> EpochSummary:
    """One summary of those of several ranks."""
    parts = list(summaries)
    return EpochSummary(
        sum(part.patches for part in parts),
        {key: sum(part.injected[key] for part in parts) for key in parts[0].injected},
        sum(part.no_room for part in parts),
        sum(part.rejected for part in parts),
        tuple(second for part in parts for second in part.seconds),
    )


class InjectionCounters:
    """What all loader workers did since the last :meth:`take`, of each of ``classes`` (label names).

    ``method``: how the workers are started, if not as the platform does by default.
    """

    def __init__(self, classes: Sequence[str], method: str | None = None) -> None:
        context = multiprocessing.get_context(method)
        self.classes = tuple(classes)
        self._lock = context.Lock()
        self._injected: Any = context.Array(ctypes.c_long, len(KINDS) * len(self.classes), lock=False)
        self._counts: Any = context.Array(ctypes.c_long, 3, lock=False)  # patches, no room, rejected
        self._ever: Any = context.Array(ctypes.c_long, 3, lock=False)  # injected, rejected, previews given out
        self._seconds: Any = context.Array(ctypes.c_double, TIMES, lock=False)
        self._sentence: Any = context.Array(ctypes.c_char, SENTENCE, lock=False)

    def patch(self) -> None:
        with self._lock:
            self._counts[0] += 1

    def injected(self, kind: str, name: str, seconds: float) -> None:
        with self._lock:
            self._seconds[sum(self._injected) % TIMES] = seconds
            self._injected[KINDS.index(kind) * len(self.classes) + self.classes.index(name)] += 1
            self._ever[0] += 1

    def no_room(self) -> None:
        with self._lock:
            self._counts[1] += 1

    def rejected(self) -> bool:
        """Count an implant that was not finite; True where they are too many to go on."""
        with self._lock:
            self._counts[2] += 1
            self._ever[1] += 1
            attempts = self._ever[0] + self._ever[1]
            return attempts >= FEWEST_ATTEMPTS and self._ever[1] > MOST_REJECTED * attempts

    def next_preview(self) -> int | None:
        """The number of a preview that the caller is to write, as long as there are any left."""
        with self._lock:
            number = self._ever[2]
            if number >= PREVIEWS:
                return None
            self._ever[2] += 1
            return number

    def fail(self, sentence: str) -> None:
        """Say why training has to stop; the first reason stays."""
        with self._lock:
            if not self._sentence.value:
                self._sentence.value = sentence.encode()[: SENTENCE - 1]

    def failure(self) -> str | None:
        """The reason given to :meth:`fail`, if any."""
        return self._sentence.value.decode(errors="ignore") or None

    def take(self) -> EpochSummary:
        """What happened since the last call, and begin anew."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise RuntimeError("A loader worker was killed while it counted.")
        try:
            keys = [(kind, name) for kind in KINDS for name in self.classes]
            injected = dict(zip(keys, self._injected, strict=True))
            patches, no_room, rejected = self._counts
            seconds = tuple(self._seconds[: min(sum(self._injected), TIMES)])
            for counts in (self._injected, self._counts):
                counts[:] = [0] * len(counts)
        finally:
            self._lock.release()
        return EpochSummary(patches, injected, no_room, rejected, seconds)
