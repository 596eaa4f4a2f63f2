"""Mean absolute error of the autoencoder on real CT that it never saw, in HU within the generator's window.

    python benchmarks/autoencoder_error.py [--generator DIR] [--picture PNG]

Dataset901's six held-out cases and abdomen_ct, on the generator's grid, in blocks of 96 mm; voxels beyond the window
(air, dense bone) are not counted. "2 mm means": after a Gaussian of 2 mm on both, which leaves structure without noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from tqdm import tqdm
from unseen import contexts

from nnunet_textomorph.generator.autoencoder import denormalize, normalize
from nnunet_textomorph.generator.folder import DEFAULT_FOLDER
from nnunet_textomorph.generator.generator import load_autoencoder
from nnunet_textomorph.generator.sheets import save_sheet
from nnunet_textomorph.generator.volumes import resample

SIDE = 96


def blocks(ct: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks (96, 96, 96) side by side; a volume that is smaller gives one that 4 divides."""
    starts = [range(0, max(1, n - SIDE + 1), SIDE) for n in ct.shape]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                block = ct[z : z + SIDE, y : y + SIDE, x : x + SIDE]
                yield block[tuple(slice(n // 4 * 4) for n in block.shape)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    config, autoencoder = load_autoencoder(args.generator)
    low, high = config.domain.window_hu
    volumes = {(c.source, c.name.split()[0]): (c.ct_hu, c.spacing) for c in contexts(0)}
    rows: list[tuple[str, float, float, float, float]] = []
    pictures: list[dict[str, np.ndarray]] = []
    for (source, name), (ct_hu, spacing) in tqdm(volumes.items()):
        found = []
        for block in blocks(resample(ct_hu, spacing, config.domain.spacing_mm)):
            inside = (block > low) & (block < high)
            if inside.mean() < 0.3:
                continue
            with torch.inference_mode():
                z = autoencoder.encode(normalize(torch.from_numpy(block.astype(np.float32))[None, None], config.domain))
                made, coded = (
                    denormalize(autoencoder.decode(z, quantize=q), config.domain)[0, 0].numpy() for q in (False, True)
                )
            smooth, smooth_made = (ndimage.gaussian_filter(np.clip(x, low, high), 2.0) for x in (block, made))
            noise = np.clip(block, low, high) - ndimage.gaussian_filter(np.clip(block, low, high), 2.0)
            found.append(
                [
                    np.abs(made - block)[inside].mean(),
                    np.abs(coded - block)[inside].mean(),
                    np.abs(smooth_made - smooth)[inside].mean(),
                    np.abs(noise)[inside].mean(),
                ]
            )
        pictures.append({"CT": block, "reconstruction": made, "difference": made - block})
        rows.append((f"{source} {name}", *np.mean(found, axis=0)))
    print(f"{'':28s}{'error':>8s}{'through codes':>15s}{'2 mm means':>12s}{'|CT - its 2 mm mean|':>22s}   (HU)")
    for name, *values in rows:
        print(f"{name:28s}{values[0]:8.1f}{values[1]:15.1f}{values[2]:12.1f}{values[3]:22.1f}")
    mean = np.mean([row[1:] for row in rows], axis=0)
    print(f"{'mean':28s}{mean[0]:8.1f}{mean[1]:15.1f}{mean[2]:12.1f}{mean[3]:22.1f}")
    if args.picture:
        save_sheet(args.picture, pictures, config.domain.window_hu)


if __name__ == "__main__":
    main()
