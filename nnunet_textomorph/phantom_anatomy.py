"""A procedural portal-venous upper abdomen without lesions: analytic shapes, smoothly deformed per patient.

The patient's coordinates are millimetres, (z, y, x) in arrays and (x, y, z) in the shapes below: x to the patient's
left, y to the back, z to the head, so that the array is in the usual LPS orientation. Everything is drawn back to
front with soft edges of about one voxel, which is the partial volume of a CT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from nnunet_textomorph.generator.volumes import Spacing

TISSUES = (
    "air",
    "fat",
    "muscle",
    "lung",
    "bone",
    "disc",
    "canal",
    "heart",
    "bowel",
    "stomach",
    "stomach_content",
    "gallbladder",
    "spleen",
    "liver",
    "liver_vessel",
    "kidney_cortex",
    "kidney_medulla",
    "kidney_sinus",
    "pancreas",
    "vessel",
    "duodenum",
)
CODE = {name: code for code, name in enumerate(TISSUES)}

TOP_MM, BOTTOM_MM = 88.0, -98.0  # of the scanned range, in reference anatomy
WARP_MM = 5.0  # SD of the smooth random displacement of everything

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Habitus:
    """What makes one patient differ from the next, apart from the random deformation."""

    scale: tuple[float, float, float]  # x, y, z against the reference anatomy
    fat_mm: float  # subcutaneous, at the flank
    muscle_mm: float
    pancreas: float  # width against the reference: shrinks with age
    bone_hu: float
    contrast: float  # vessel enhancement against the mean


def draw_habitus(age: int, sex: str, rng: np.random.Generator) -> Habitus:
    size = rng.normal(1.0 if sex == "M" else 0.94, 0.03)
    scale = np.clip(size + rng.normal(0, 0.025, 3), 0.86, 1.1)
    return Habitus(
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        fat_mm=float(np.clip(rng.gamma(5.0, 3.2) + (2 if sex == "F" else 0), 6, 30)),
        muscle_mm=float(rng.uniform(9, 13) * (1.08 if sex == "M" else 0.92)),
        pancreas=float(np.clip(1.18 - 0.004 * (age - 30) + rng.normal(0, 0.06), 0.8, 1.25)),
        bone_hu=float(np.clip(430 - 2.0 * (age - 30) + rng.normal(0, 25), 310, 480)),
        contrast=float(rng.normal(1.0, 0.06)),
    )


class Canvas:
    """A CT being painted: ``hu`` float32, ``tissue`` uint8 codes, both (D, H, W), and each voxel's place in the body.

    ``x``, ``y``, ``z``: each voxel's millimetres in the reference anatomy, (D, H, W) float32.
    """

    def __init__(self, habitus: Habitus, spacing: Spacing, rng: np.random.Generator) -> None:
        self.spacing = spacing
        self.habitus = habitus
        self.scale = np.array(habitus.scale)
        extra = habitus.muscle_mm + 1.25 * habitus.fat_mm + 12.0
        half_x = 130 * self.scale[0] + extra
        front, back = 84 * self.scale[1] + extra, 72 * self.scale[1] + extra
        low = np.array([BOTTOM_MM * self.scale[2], -front, -half_x])
        high = np.array([TOP_MM * self.scale[2], back, half_x])
        step = np.array(spacing)
        self.shape = tuple(int(n) for n in np.maximum(1, np.round((high - low) / step)))
        self.origin = low + step / 2  # of the first voxel's centre, (z, y, x)
        self.hu = np.full(self.shape, -1000.0, np.float32)
        self.tissue = np.zeros(self.shape, np.uint8)
        self.edge = float(np.cbrt(np.prod(step)))  # width of a partial-volume edge

        # Reference coordinates of every voxel: scaled and smoothly displaced.
        self.x, self.y, self.z = (
            ((o + s * np.arange(n)).reshape([-1 if a == axis else 1 for a in range(3)]) / self.scale[2 - axis]).astype(
                np.float32
            )
            + WARP_MM * self.field(70.0, rng)
            for axis, (o, s, n) in ((2, self._axis(2)), (1, self._axis(1)), (0, self._axis(0)))
        )
        self.rough = [self.field(wave, rng) for wave in (40.0, 22.0, 11.0)]  # coarse, middle, fine surface detail
        self.grain = self.field(9.0, rng)  # texture within organs

    def _axis(self, axis: int) -> tuple[float, float, int]:
        return float(self.origin[axis]), self.spacing[axis], self.shape[axis]

    def field(self, wave_mm: float, rng: np.random.Generator) -> np.ndarray:
        """A smooth random field over the grid, mean about 0 and SD about 1, with structures of about ``wave_mm``."""
        step = wave_mm / 4
        counts = [int(np.ceil(n * s / step)) + 3 for n, s in zip(self.shape, self.spacing, strict=True)]
        if np.prod(counts) > 0.5 * np.prod(self.shape):  # as fine as the grid itself: no detour
            noise = rng.standard_normal(self.shape, dtype=np.float32)
            noise = ndimage.gaussian_filter(noise, [step / s for s in self.spacing], truncate=2.5, mode="wrap")
            return (noise / noise.std()).astype(np.float32)
        noise = rng.standard_normal(counts, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, 1.0, mode="wrap")
        noise /= noise.std()
        for axis, (n, s) in enumerate(zip(self.shape, self.spacing, strict=True)):
            position = np.arange(n) * s / step + 0.5
            left = position.astype(int)
            weights = np.zeros((n, noise.shape[axis]), np.float32)
            weights[np.arange(n), left] = 1 - (position - left)
            weights[np.arange(n), left + 1] = position - left
            noise = np.moveaxis(np.tensordot(weights, noise, (1, axis)), 0, axis)
        return np.ascontiguousarray(noise)

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """Slices that hold the reference coordinates ``low`` to ``high`` (x, y, z), whatever the displacement."""
        slices = []
        for axis in range(3):
            o, s, n = self._axis(axis)
            k = self.scale[2 - axis]
            first = int(np.floor(((low[2 - axis] - 3.2 * WARP_MM) * k - o) / s))
            last = int(np.ceil(((high[2 - axis] + 3.2 * WARP_MM) * k - o) / s)) + 1
            slices.append(slice(min(max(first, 0), n), min(max(last, 0), n)))
        return slices[0], slices[1], slices[2]

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """How much of each voxel lies inside a surface, from the signed distance (mm, negative inside)."""
        return np.clip(0.5 - distance / self.edge, 0.0, 1.0)

    def paint(self, box: Box, cover: np.ndarray, hu: np.ndarray | float, tissue: str) -> None:
        """Lay a tissue over what is there; ``cover`` 0..1 over ``box``."""
        target = self.hu[box]
        target += cover * (hu - target)
        self.tissue[box][cover > 0.5] = CODE[tissue]

    def ellipsoid(
        self, box: Box, centre: Sequence[float], radii: Sequence[float], turn: np.ndarray | None = None
    ) -> np.ndarray:
        """Signed distance (mm, approximate) to an ellipsoid over ``box``."""
        p = [c[box] - np.float32(o) for c, o in zip((self.x, self.y, self.z), centre, strict=True)]
        if turn is not None:
            p = [sum(np.float32(turn[i, j]) * p[j] for j in range(3)) for i in range(3)]
        r = [np.float32(v) for v in radii]
        near = np.sqrt(sum((a / b) ** 2 for a, b in zip(p, r, strict=True)))
        slope = np.sqrt(sum((a / (b * b)) ** 2 for a, b in zip(p, r, strict=True)))
        return near * (near - 1) / np.maximum(slope, np.float32(1e-3))

    def box_around(self, centre: Sequence[float], reach: float | Sequence[float]) -> Box:
        c, r = np.asarray(centre, float), np.broadcast_to(np.asarray(reach, float), 3)
        return self.box(c - r, c + r)

    def tube(self, points: ArrayLike, radii: ArrayLike) -> tuple[Box, np.ndarray]:
        """Box and signed distance of a tube through ``points`` (x, y, z) whose radius runs through ``radii``."""
        line, width = np.asarray(points, float), np.asarray(radii, float)
        most = width.max() + 6
        box = self.box(line.min(0) - most, line.max(0) + most)
        x, y, z = self.x[box], self.y[box], self.z[box]
        distance = np.full(x.shape, 1e3, np.float32)
        for a, b, ra, rb in zip(line[:-1], line[1:], width[:-1], width[1:], strict=True):
            d = (b - a).astype(np.float32)
            px, py, pz = x - np.float32(a[0]), y - np.float32(a[1]), z - np.float32(a[2])
            t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / np.float32(max(float(d @ d), 1e-6)), 0, 1)
            square = (px - t * d[0]) ** 2 + (py - t * d[1]) ** 2 + (pz - t * d[2]) ** 2
            np.minimum(distance, np.sqrt(square) - (np.float32(ra) + t * np.float32(rb - ra)), out=distance)
        return box, distance


def paint_anatomy(age: int, sex: str, spacing: Spacing, rng: np.random.Generator) -> Canvas:
    """The healthy, noise-free abdomen of one patient."""
    canvas = Canvas(draw_habitus(age, sex, rng), spacing, rng)
    wall, dome = _trunk(canvas, rng)
    _lungs_and_heart(canvas, wall, dome, rng)
    _skeleton(canvas, wall, rng)
    _back_muscles(canvas, rng)
    _bowel(canvas, rng)
    _stomach(canvas, wall, dome, rng)
    _spleen(canvas, wall, dome, rng)
    liver, surface = _liver(canvas, wall, dome, rng)
    _kidneys(canvas, rng)
    _pancreas_and_duodenum(canvas, rng)
    _gallbladder(canvas, rng)
    _vessels(canvas, liver, surface, rng)
    return canvas


def _smooth_min(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    h = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - h * h * np.float32(width / 4)


def _trunk(c: Canvas, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Skin, fat, muscle wall, cavity. Gives the signed distance to the cavity and the diaphragm's height, in mm."""
    h = c.habitus
    u, v = c.x / np.float32(130), c.y / np.where(c.y < 0, np.float32(82), np.float32(72))
    u2, v2 = u * u, v * v
    q = np.sqrt(np.maximum(u2 + v2 - np.float32(0.42) * u2 * v2, np.float32(1e-4)))
    radius = np.sqrt(c.x**2 + c.y**2)
    wall = radius * (1 - 1 / q)
    flank = np.clip(u2 / (q * q), 0, 1)  # 1 at the sides, 0 in front and behind
    muscle = np.float32(h.muscle_mm) * (0.8 + 0.3 * flank)
    fat = np.float32(h.fat_mm) * (0.85 + 0.25 * flank + 0.12 * c.rough[0])
    everything = (slice(None),) * 3
    skin = wall - muscle - fat
    c.paint(everything, c.cover(skin - 2), 15.0, "muscle")
    fat_hu = -104 + 4 * c.grain + 22 * np.maximum(c.rough[2] - 1.6, 0)
    c.paint(everything, c.cover(skin), fat_hu, "fat")
    streaks = 22 * np.maximum(np.abs(c.rough[2]) - 1.2, 0)
    c.paint(everything, c.cover(wall - muscle), 60 + 3 * c.grain - streaks, "muscle")
    strands = 75 * np.maximum(c.rough[2] - 1.55, 0) + 40 * np.maximum(-c.rough[2] - 2.0, 0)  # mesenteric vessels
    c.paint(everything, c.cover(wall), -100 + 4 * c.grain + np.minimum(strands, 90), "fat")

    right = 84 + rng.normal(0, 5) - 46 * (((c.x + 66) / 84) ** 2 + ((c.y + 4) / 88) ** 2)
    left = 70 + rng.normal(0, 6) - 46 * (((c.x - 72) / 72) ** 2 + ((c.y + 2) / 88) ** 2)
    middle = 66 - 40 * ((c.x / 60) ** 2 + ((c.y + 25) / 60) ** 2)
    dome = -_smooth_min(_smooth_min(-right, -left, 20), -middle, 20)
    return wall, dome.astype(np.float32)


def _lungs_and_heart(c: Canvas, wall: np.ndarray, dome: np.ndarray, rng: np.random.Generator) -> None:
    box = c.box((-140, -90, 0), (140, 80, 140))
    if c.z[box].size == 0:
        return
    height = 0.75 * (dome[box] - c.z[box])  # negative above the diaphragm
    above = np.maximum(height, wall[box] + 1)
    c.paint(box, c.cover(above - 3.5), 62.0, "muscle")  # the diaphragm
    vessels = 260 * np.maximum(c.rough[2][box] - 1.5, 0)
    c.paint(box, c.cover(above), -855 + 25 * c.grain[box] + np.minimum(vessels, 700), "lung")
    middle = np.maximum(np.abs(c.x[box]) - (16 + 12 * (c.y[box] < 20)), wall[box])
    c.paint(box, np.where(height < 3, c.cover(middle), 0), -80.0, "fat")  # mediastinum
    place = (18 + rng.normal(0, 4), -34 + rng.normal(0, 4), 104 + rng.normal(0, 5))
    heart = c.ellipsoid(box, place, (56, 42, 40))
    c.paint(box, np.where(height < 0, c.cover(np.maximum(heart, wall[box] + 6)), 0), 108 + 4 * c.grain[box], "heart")
    chamber = c.ellipsoid(box, (place[0] + 12, place[1] - 4, place[2] + 4), (36, 26, 26))
    c.paint(box, np.where(height < 0, c.cover(chamber), 0), 155.0 * c.habitus.contrast, "heart")


def _skeleton(c: Canvas, wall: np.ndarray, rng: np.random.Generator) -> None:
    bone = c.habitus.bone_hu
    # Ribs: bars in the wall that slope down to the front; the costal arch leaves the front of the belly free.
    phase = float(rng.uniform(0, 27))
    muscle = c.habitus.muscle_mm
    slope = c.z - np.float32(0.55) * c.y
    across = np.abs((slope + phase) % 27 - 13.5) - 5.0
    through = np.abs(wall - 0.5 * muscle) - 4.0
    rib = np.maximum(across, through)
    arch = np.maximum(-62 - slope, -44 - c.z)  # no ribs below; the last ones end at the flank
    arch = np.maximum(arch, -(c.y + 78) - 0.6 * np.maximum(np.abs(c.x) - 40, 0))
    arch = np.maximum(arch, 22 - np.abs(c.x))
    front = 0.9 * (-c.y) - (c.z + 70) * 0.75 - 10
    rib = np.maximum(rib, np.maximum(arch, front))
    everything = (slice(None),) * 3
    core = np.where(rib < -2.6, np.float32(bone - 60), np.float32(bone + 220))
    c.paint(everything, c.cover(rib), core, "bone")

    # Spine: bodies with a dense rim, discs between them, arch, canal, spinous and transverse processes.
    box = c.box((-55, 15, -140), (55, 100, 140))
    if c.z[box].size == 0:
        return
    x, y, z = c.x[box], c.y[box], c.z[box]
    along = np.abs((z + float(rng.uniform(0, 35))) % 35 - 17.5)  # 17.5 in the middle of a disc
    waist = 1.5 * np.cos(along * np.float32(np.pi / 17.5))
    body = np.sqrt((x / 1.28) ** 2 + (y - 42) ** 2) - (17.5 - waist)
    disc = 13.5 - along  # negative inside a disc
    level = along < 8
    posterior = np.sqrt(x**2 + (y - 68) ** 2)
    ring = np.abs(posterior - 11.5) - 3.5
    spinous = np.maximum(np.abs(x) - 3.2, np.maximum(76 - y, y - (94 - 0.3 * along)))
    transverse = np.maximum(np.maximum(np.abs(y - 64) - 4, np.abs(x) - 40), along - 6.0)
    arch_bone = np.minimum(ring, np.minimum(spinous, transverse))
    texture = 25 * c.rough[2][box]
    c.paint(box, c.cover(arch_bone), bone + 120 + texture, "bone")
    c.paint(box, c.cover(body), np.where(level | (along < 12), bone - 70, bone), "bone")
    rim = np.where((body > -2.5) | (along > 11.2), np.float32(bone + 230), np.float32(bone - 70)) + texture
    c.paint(box, c.cover(np.maximum(body, -disc)), rim, "bone")
    c.paint(box, c.cover(np.maximum(body, disc)), 88.0, "disc")
    c.paint(box, c.cover(posterior - 8.5), 32.0, "canal")


def _back_muscles(c: Canvas, rng: np.random.Generator) -> None:
    size = rng.uniform(0.92, 1.08)
    for side in (-1, 1):
        for centre, radii in (((33, 76, 0), (25, 17, 500)), ((58, 64, -30), (17, 10, 90))):
            place = (side * centre[0], centre[1], centre[2])
            box = c.box((place[0] - 40, 45, -140), (place[0] + 40, 100, 140 if radii[2] > 90 else 60))
            if not c.z[box].size:
                continue
            sd = c.ellipsoid(box, place, [r * size for r in radii])
            keep = (c.tissue[box] != CODE["bone"]) & (c.tissue[box] != CODE["canal"]) & (c.tissue[box] != CODE["lung"])
            marbling = 45 * np.maximum(c.rough[2][box] - 1.1, 0)
            c.paint(box, np.where(keep, c.cover(sd), 0), 58 + 3 * c.grain[box] - np.minimum(marbling, 90), "muscle")
        # psoas, wider downwards; crus of the diaphragm beside the aorta
        box, sd = c.tube([(side * 24, 44, 12), (side * 31, 42, -40), (side * 37, 38, -110)], [5, 13 * size, 19 * size])
        keep = (c.tissue[box] != CODE["bone"]) & (c.tissue[box] != CODE["disc"])
        c.paint(box, np.where(keep, c.cover(sd), 0), 60 + 3 * c.grain[box], "muscle")
        box, sd = c.tube([(side * 15 + 2, 16, 60), (side * 15 + 2, 26, -10)], [5, 3.5])
        keep = c.tissue[box] == CODE["fat"]
        c.paint(box, np.where(keep, c.cover(sd), 0), 58.0, "muscle")


def _loop(
    c: Canvas, points: list[tuple[float, float, float]], radius: float, kind: str, rng: np.random.Generator
) -> None:
    """One bowel loop: an enhancing wall around fluid, or stool and gas in the colon."""
    box, sd = c.tube(points, [radius] * len(points))
    if not sd.size:
        return
    sd = sd + 0.14 * radius * c.rough[1][box]
    free = c.tissue[box] == CODE["fat"]
    c.paint(box, np.where(free, c.cover(sd), 0), 82.0, "bowel")
    inner = np.where(free | (c.tissue[box] == CODE["bowel"]), c.cover(sd + (2.6 if kind == "colon" else 3.2)), 0)
    if kind == "colon":
        stool = 25 + 35 * c.rough[2][box] - 260 * np.maximum(c.rough[2][box] - 1.0, 0)
        c.paint(box, inner, np.clip(stool, -400, 90), "bowel")
        gas = c.y[box] - (np.mean([p[1] for p in points]) - radius * rng.uniform(-0.2, 0.5))
        c.paint(box, inner * c.cover(gas), -940.0, "bowel")
    else:
        c.paint(box, inner, float(rng.uniform(12, 45)) + 10 * c.rough[2][box], "bowel")


def _bowel(c: Canvas, rng: np.random.Generator) -> None:
    def near(*point: float, sd: float = 5.0) -> tuple[float, float, float]:
        x, y, z = (float(p + rng.normal(0, sd)) for p in point)
        return x, y, z

    for _ in range(16):  # small bowel
        x, y, z = rng.uniform(-70, 92), rng.uniform(-52, 10), rng.uniform(-105, -32)
        turn = rng.normal(0, 1, 3) * (26, 16, 12)
        points = [(x, y, z), near(x + turn[0], y + turn[1], z + turn[2]), near(x + 1.6 * turn[0], y - turn[1], z)]
        _loop(c, points, float(rng.uniform(9, 13.5)), "small", rng)
    flexure = float(rng.uniform(-52, -38))
    _loop(c, [near(-104, 22, -120), near(-102, 12, -85), near(-92, -12, flexure)], rng.uniform(17, 22), "colon", rng)
    hang = float(rng.uniform(-75, -45))
    _loop(
        c,
        [
            near(-92, -14, flexure),
            near(-50, -56, hang),
            near(5, -62, hang - 8),
            near(60, -54, hang + 15),
            near(96, -8, 4),
        ],
        float(rng.uniform(14, 20)),
        "colon",
        rng,
    )
    _loop(c, [near(104, 6, 2), near(112, 24, -40), near(110, 26, -120)], float(rng.uniform(11, 16)), "colon", rng)


def _stomach(c: Canvas, wall: np.ndarray, dome: np.ndarray, rng: np.random.Generator) -> None:
    full = float(rng.uniform(0.62, 1.1))
    course = [(66, 14, 46), (64, -14, 30), (52, -38, 8), (26, -50, -10), (-8, -46, -18), (-30, -34, -16)]
    points = [(x + rng.normal(0, 3), y + rng.normal(0, 3), z + rng.normal(0, 3)) for x, y, z in course]
    box, sd = c.tube(points, [33 * full, 30 * full, 26 * full, 20 * full, 14 * full, 9 * full])
    sd = sd + 2.5 * c.rough[1][box]
    sd = np.maximum(sd, np.maximum(wall[box] + 2, 0.75 * (c.z[box] - dome[box]) + 4))
    c.paint(box, c.cover(sd), 88 + 3 * c.grain[box], "stomach")
    kind = rng.choice(["fluid", "food", "water"])
    content = {"fluid": 28 + 3 * c.grain[box], "water": 8 + 0 * sd, "food": 45 + 28 * c.rough[2][box]}[str(kind)]
    inner = c.cover(sd + 4.2 + 1.2 * np.abs(c.rough[2][box]))
    c.paint(box, inner, content, "stomach_content")
    level = float(np.min([p[1] for p in points]) - 20 * full + rng.uniform(8, 32))  # of the gas in front of the fluid
    c.paint(box, inner * c.cover(c.y[box] - level), -960.0, "stomach_content")
    # oesophagus and its way into the stomach
    box, sd = c.tube([(12, 2, 100), (16, 2, 62), (40, 4, 52)], [8, 8, 7])
    c.paint(box, c.cover(sd), 66.0, "stomach")


def _spleen(c: Canvas, wall: np.ndarray, dome: np.ndarray, rng: np.random.Generator) -> None:
    size = float(np.clip(rng.normal(1.0, 0.1), 0.78, 1.25))
    centre = (96 + rng.normal(0, 2), 34 + rng.normal(0, 3), 22 + rng.normal(0, 6))
    box = c.box_around(centre, 62 * size)
    body = c.ellipsoid(box, centre, (33 * size, 40 * size, 50 * size)) + 2.0 * c.rough[0][box]
    hollow = c.ellipsoid(box, (centre[0] - 34, centre[1] - 16, centre[2]), (27, 34, 60))
    sd = np.maximum(np.maximum(body, -hollow), np.maximum(wall[box] + 3, 0.75 * (c.z[box] - dome[box]) + 4))
    c.paint(box, c.cover(sd), 120 * c.habitus.contrast + rng.normal(0, 5) + 2.5 * c.grain[box], "spleen")


def _liver(c: Canvas, wall: np.ndarray, dome: np.ndarray, rng: np.random.Generator) -> tuple[Box, np.ndarray]:
    size = float(np.clip(rng.normal(1.0, 0.05), 0.9, 1.12))
    box = c.box((-135, -92, -100), (80, 75, 110))
    right = c.ellipsoid(box, (-72, -4, 14 + rng.normal(0, 4)), (68 * size, 76 * size, (84 + rng.normal(0, 6)) * size))
    reach = float(rng.uniform(48, 78))
    left = c.ellipsoid(box, (-14, -34, 40), (reach, 34 * size, 34 * size), _turn_about_y(-0.28))
    sd = _smooth_min(right, left, 22) + 2.4 * c.rough[0][box] + 0.8 * c.rough[1][box]
    visceral = c.ellipsoid(box, (6 + rng.normal(0, 4), 30, -38 + rng.normal(0, 5)), (66, 66, 72))
    sd = -_smooth_min(-sd, visceral, 10)
    spine_side = c.ellipsoid(box, (0, 44, 50), (40, 40, 90))
    sd = -_smooth_min(-sd, spine_side, 8)
    sd = np.maximum(sd, np.maximum(wall[box] + 3, 0.75 * (c.z[box] - dome[box]) + 4))
    hu = float(np.clip(rng.normal(108, 5), 98, 118)) + 2.5 * c.grain[box]
    c.paint(box, c.cover(sd), hu, "liver")
    # fissure of the falciform ligament
    fissure = np.maximum(np.abs(c.x[box] + 22 + 0.15 * c.y[box]) - 1.6, np.maximum(c.y[box] + 44, c.z[box] - 26))
    inside = c.tissue[box] == CODE["liver"]
    c.paint(box, np.where(inside, 0.8 * c.cover(np.maximum(fissure, -58 - c.y[box])), 0), -60.0, "fat")
    return box, sd


def _turn_about_y(angle: float) -> np.ndarray:
    s, k = np.sin(angle), np.cos(angle)
    return np.array([[k, 0, s], [0, 1, 0], [-s, 0, k]])


def _kidneys(c: Canvas, rng: np.random.Generator) -> None:
    bright = float(np.clip(c.habitus.contrast, 0.93, 1.07))
    cortex, medulla = 182 * bright + rng.normal(0, 4), 135 * bright + rng.normal(0, 5)
    for side, height in ((1, -22.0), (-1, -34.0)):
        size = float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.14))
        centre = (side * 62 + rng.normal(0, 2), 42 + rng.normal(0, 2), height + rng.normal(0, 5))
        tilt = side * float(rng.normal(0.22, 0.05))
        k, s = np.cos(tilt), np.sin(tilt)
        turn = np.array([[k, 0, s], [0, 1, 0], [-s, 0, k]])
        box = c.box_around(centre, 62 * size)
        if not c.z[box].size:
            continue
        renal_fat = c.ellipsoid(box, centre, (39 * size, 36 * size, 66 * size), turn)
        pushes = np.isin(c.tissue[box], [CODE["bowel"], CODE["liver"]])  # perirenal fat keeps neighbours away
        c.paint(box, np.where(pushes, c.cover(renal_fat + 8), 0), -102.0, "fat")
        sd = c.ellipsoid(box, centre, (27 * size, 25 * size, 54 * size), turn) + 0.8 * c.rough[1][box]
        hilum = (centre[0] - side * 17, centre[1] - 9, centre[2])
        sinus = c.ellipsoid(box, hilum, (18 * size, 13 * size, 27 * size), turn) + 1.5 * c.rough[2][box]
        c.paint(box, c.cover(sd), cortex + 3 * c.grain[box], "kidney_cortex")
        # pyramids: the inner zone, parted by columns of cortex
        along = (c.z[box] - centre[2]) / 54
        around = np.arctan2(c.y[box] - hilum[1], side * (c.x[box] - hilum[0]) + 6)
        columns = np.cos(along * 13 + 0.4) * np.cos(around * 3.2) + 0.35 * c.rough[2][box]
        zone = np.maximum(sd + 6.5, 3.0 * (np.abs(columns) * -1 + 0.28))
        c.paint(box, c.cover(zone) * c.cover(sd), medulla + 3 * c.grain[box], "kidney_medulla")
        inside = c.cover(sd) > 0
        c.paint(box, np.where(inside, c.cover(sinus), 0), -75 + 55 * np.abs(c.rough[2][box]), "kidney_sinus")
        pelvis = [(hilum[0], hilum[1], hilum[2] + 12), hilum, (hilum[0] - side * 10, hilum[1], hilum[2] - 12)]
        part, sd = c.tube(pelvis, [3.5, 5, 3])
        c.paint(part, c.cover(sd), 22.0, "kidney_sinus")
        ureter = [(hilum[0] - side * 10, hilum[1], hilum[2] - 12), (side * 36, 24, -120)]
        part, sd = c.tube(ureter, [2.2, 2.0])
        c.paint(part, c.cover(sd), 40.0, "kidney_sinus")
        adrenal = [(centre[0] - side * 22, 24, centre[2] + 62), (centre[0] - side * 24, 34, centre[2] + 48)]
        part, sd = c.tube(adrenal, [2.4, 2.6])
        c.paint(part, np.where(c.tissue[part] == CODE["fat"], c.cover(sd), 0), 85.0, "vessel")


PANCREAS = ((-36, -2, -36), (-30, -8, -22), (-12, -20, -10), (14, -24, 2), (44, -8, 12), (76, 14, 18))
PANCREAS_RADII = (10, 14, 9.5, 10, 10, 9)


def _pancreas_and_duodenum(c: Canvas, rng: np.random.Generator) -> None:
    shift = rng.normal(0, 2.5, (len(PANCREAS), 3))
    points = np.array(PANCREAS) + shift
    box, sd = c.tube(points, np.array(PANCREAS_RADII) * c.habitus.pancreas)
    around = sd - 6
    neighbours = np.isin(c.tissue[box], [CODE[t] for t in ("bowel", "stomach", "stomach_content", "liver", "spleen")])
    c.paint(box, np.where(neighbours, c.cover(around + 3), 0), -100.0, "fat")  # the lesser sac parts it from neighbours
    sd = sd + 1.8 * c.rough[2][box] + 1.0 * c.rough[1][box]
    free = c.tissue[box] == CODE["fat"]
    lobules = 9 * np.maximum(np.abs(c.rough[2][box]) - 1.2, 0)
    hu = float(np.clip(rng.normal(100, 4), 92, 109)) + 3 * c.grain[box] - lobules
    c.paint(box, np.where(free, c.cover(sd), 0), hu, "pancreas")
    head = points[0]
    loop = [
        (-34, -36, -16),
        (-54, -22, -18),
        (head[0] - 22, head[1] + 2, -42),
        (head[0] - 12, head[1] + 6, -66),
        (6, 8, -66),
    ]
    box, sd = c.tube(loop, [9, 10, 10, 10, 9])
    free = np.isin(c.tissue[box], [CODE["fat"], CODE["bowel"], CODE["liver"]])
    c.paint(box, np.where(free, c.cover(sd), 0), 78.0, "duodenum")
    inner = np.where(c.tissue[box] == CODE["duodenum"], c.cover(sd + 4), 0)
    c.paint(box, inner, float(rng.uniform(15, 40)), "duodenum")


def _gallbladder(c: Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.15:  # removed
        return
    size = float(rng.uniform(0.65, 1.15))
    centre = (-50 + rng.normal(0, 3), -40 + rng.normal(0, 3), -26 + rng.normal(0, 4))
    box = c.box_around(centre, 36 * size)
    sd = c.ellipsoid(box, centre, (14 * size, 15 * size, 28 * size), _turn_about_y(0.3)) + 0.8 * c.rough[1][box]
    c.paint(box, c.cover(sd - 1.2), 62.0, "gallbladder")
    c.paint(box, c.cover(sd), float(rng.uniform(4, 16)), "gallbladder")


def _vessels(c: Canvas, liver: Box, surface: np.ndarray, rng: np.random.Generator) -> None:
    k = c.habitus.contrast
    artery, portal, cava = 152 * k, 166 * k, 150 * k

    def draw(points: list[tuple[float, ...]], radii: Sequence[float], hu: float) -> None:
        box, sd = c.tube(points, radii)
        if sd.size:
            keep = (c.tissue[box] != CODE["bone"]) & (c.tissue[box] != CODE["disc"])
            c.paint(box, np.where(keep, c.cover(sd), 0), hu, "vessel")

    def jitter(x: float, y: float, z: float, sd: float = 2.0) -> tuple[float, float, float]:
        return x + rng.normal(0, sd), y + rng.normal(0, sd), z + rng.normal(0, sd)

    aorta = float(rng.uniform(9, 12))
    draw([(10, 22, 130), (9, 14, 40), (6, 12, -130)], [aorta + 1, aorta, aorta - 1.5], artery)
    if rng.random() < 0.5:  # calcified wall
        box, sd = c.tube([(9, 14, 30), (6, 12, -130)], [aorta, aorta - 1.5])
        plaque = np.maximum(np.abs(sd) - 1.3, 6 * (1.7 - c.rough[1][box]))
        c.paint(box, c.cover(plaque), 520.0, "vessel")
    draw([(-24, 2, 100), (-24, 8, 40), (-22, 12, -30), (-20, 12, -130)], [12, 11.5, 10, 10], cava)
    draw([(9, 4, 14), (8, -6, 10), (-10, -12, 14), (-34, -14, 12)], [4.5, 4, 3, 2.5], artery)  # coeliac, hepatic
    draw([(7, 4, -2), (4, -8, -16), (2, -14, -60), (4, -18, -120)], [4.5, 4, 3.6, 3], artery)  # superior mesenteric
    draw([(-8, -12, -110), (-9, -12, -40), (-12, -10, -8)], [5.5, 6, 7], portal)  # superior mesenteric vein
    draw([(82, 22, 20), (44, 2, 10), (16, -12, 0), (-12, -10, -8)], [4, 4.8, 5, 6], portal)  # splenic vein
    for side, level in ((1, -14.0), (-1, -24.0)):
        end = (side * 44, 32, level - 6)
        draw([(-16 if side < 0 else -20, 10, level), (side * 22, 12 + 6 * (side < 0), level), end], [5, 4.5, 4], cava)
        draw([(8, 14, level + 6), (side * 24, 26, level + 2), end], [3, 2.6, 2.2], artery)

    hilum = (-38.0, -8.0, 22.0)
    draw([(-12, -10, -8), (-22, -10, 4), hilum], [6.5, 6.8, 6.5], portal)
    trees: list[tuple[list[tuple[float, ...]], list[float], float]] = []
    right, left = jitter(-64, -4, 26), jitter(-26, -34, 36)
    trees.append(([hilum, right], [6.2, 5], portal))
    trees.append(([hilum, jitter(-30, -22, 32), left], [5.5, 4.6, 4], portal))
    for start, targets in (
        (right, [(-94, -42, 44), (-104, 18, 48), (-96, -34, -8), (-96, 26, -16), (-84, 10, 66)]),
        (left, [(-6, -52, 44), (14, -42, 48), (-34, -62, 34), (-24, -50, 58)]),
    ):
        for target in targets:
            _branch(trees, start, jitter(*target, sd=5), 3.6, portal, 2, rng)
    confluence = (-26.0, 0.0, 68.0)
    for target, bend in (
        ((-112, 8, 20), (-74, 12, 56)),
        ((-72, -58, 24), (-52, -32, 54)),
        ((4, -48, 52), (-12, -28, 62)),
    ):
        middle, tip = jitter(*bend, sd=3), jitter(*target, sd=5)
        trees.append(([confluence, middle], [6, 4.6], portal - 6))
        _branch(trees, middle, tip, 4.2, portal - 6, 2, rng)
    inside = np.zeros(c.shape, np.float32)
    inside[liver] = c.cover(surface + 3.0)
    for points, radii, hu in trees:
        box, sd = c.tube(points, radii)
        if sd.size:
            within = inside[box] * (c.tissue[box] != CODE["gallbladder"])
            c.paint(box, within * c.cover(sd), hu, "liver_vessel")


def _branch(
    trees: list[tuple[list[tuple[float, ...]], list[float], float]],
    start: tuple[float, ...],
    end: tuple[float, ...],
    radius: float,
    hu: float,
    depth: int,
    rng: np.random.Generator,
) -> None:
    """A vessel that bends on its way and gives off thinner ones."""
    a, b = np.array(start), np.array(end)
    length = float(np.linalg.norm(b - a))
    middle = (a + b) / 2 + rng.normal(0, 0.09 * length, 3)
    trees.append(([start, tuple(middle), end], [radius, 0.8 * radius, 0.55 * radius], hu))
    if depth == 0 or radius < 1.3:
        return
    for _ in range(2):
        tip = middle + (b - a) * rng.uniform(0.25, 0.5) + rng.normal(0, 0.28 * length, 3)
        _branch(trees, tuple(middle), tuple(tip), 0.6 * radius, hu, depth - 1, rng)
