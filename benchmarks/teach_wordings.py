"""Teach a trained generator's text adapter more wordings, without a picture.

    python benchmarks/teach_wordings.py --generator runs/diffusion --out DIR

For random descriptors, the adapter's answer to a broad wording (put together from ``broad_wordings.json``) or to a
whole sentence of one of several writers (``sentences.jsonl``) is drawn to what it answered, on average, to the wordings
that it was trained on. The denoiser and everything else stay as they are: what it learned to draw for a known wording
it then draws for a new one. With ``--keep-back 0.1`` a tenth of the new words and sentences is not taught: it tells how
well that carries over.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from default_training_data import random_descriptors
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from training_wordings import BROAD_NOUNS, BROAD_OPENINGS, Words, broad, worded

from nnunet_textomorph.generator import Generator
from nnunet_textomorph.generator.folder import write_folder
from nnunet_textomorph.generator.text_encoder import TextAdapter, TextEncoder, pad
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.phrasing import rephrase

ORGANS = ("soft tissue", "liver", "pancreas", "kidney")
KNOWN, NEW = 4, 6  # wordings of each meaning: those that give the target, those that are taught
SENTENCES = Path(__file__).with_name("sentences.jsonl")
OLD_SHARE = 0.25  # of a batch: known wordings, which are to stay as they are


@dataclass(frozen=True)
class Meaning:
    """Descriptors and their texts, as token embeddings (L, width), half precision."""

    stated: Descriptors
    known: list[Tensor]
    new: list[Tensor]


def split(words: Words, share: float) -> tuple[Words, Words]:
    """The words without the last ``share`` of each list, and those alone."""

    def part(words: Words, last: bool) -> Words:
        return {
            field: {
                value: tuple(
                    kind[-max(1, round(share * len(kind))) :] if last else kind[: -max(1, round(share * len(kind)))]
                    for kind in kinds
                )
                for value, kinds in values.items()
            }
            for field, values in words.items()
        }

    return part(words, False), part(words, True)


def _known(d: Descriptors, rng: np.random.Generator) -> list[str]:
    return [(worded if i % 2 else rephrase)(d, rng) for i in range(KNOWN)]


def built(number: int, words: Words, rng: np.random.Generator) -> list[tuple[Descriptors, list[str]]]:
    """Random descriptors, each with new texts that are put together from ``words``."""
    found = []
    for _ in range(number):
        d = random_descriptors(str(rng.choice(ORGANS)), rng)
        d = d.model_copy(update={"size_mm": round(float(rng.uniform(7.0, 62.0)), 1)})
        keep = {field: value for field, value in d.model_dump().items() if value is not None and rng.random() < 0.8}
        d = Descriptors.model_validate(keep if len(keep) > 1 else d.model_dump())
        found.append((d, [worded(d, rng, words, BROAD_OPENINGS, BROAD_NOUNS) for _ in range(NEW)]))
    return found


def written(rng: np.random.Generator) -> list[tuple[Descriptors, list[str]]]:
    """The writers' sentences, each with its descriptors and, where it names the organ, one of ``ORGANS``."""
    found = []
    for line in SENTENCES.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        text = entry.pop("text")
        organ = str(rng.choice(ORGANS)) if "{organ}" in text else None
        found.append((Descriptors.model_validate({**entry, "organ": organ}), [text.replace("{organ}", organ or "")]))
    return found


def embedded(of: list[tuple[Descriptors, list[str]]], encoder: TextEncoder, rng: np.random.Generator) -> list[Meaning]:
    """Descriptors and new texts, with known texts that state the same."""
    known = [_known(d, rng) for d, _ in of]
    texts = [text for old, (_, new) in zip(known, of, strict=True) for text in (*old, *new)]
    answers = iter([e.half() for e in encoder.embed(texts, progress=True)])
    return [Meaning(d, [next(answers) for _ in range(KNOWN)], [next(answers) for _ in new]) for d, new in of]


@torch.no_grad()
def targets(adapter: TextAdapter, of: list[Meaning]) -> tuple[Tensor, Tensor]:
    """The mean answers to each meaning's known wordings: context (N, K, W) and pooled (N, P)."""
    contexts, pooled = [], []
    for meaning in of:
        context, vector = adapter(*pad(meaning.known))
        contexts.append(context.mean(0))
        pooled.append(vector.mean(0))
    return torch.stack(contexts), torch.stack(pooled)


class Readers(nn.Module):
    """Linear readers of each descriptor from the pooled answer, fitted to known wordings and then fixed."""

    FIELDS = ("attenuation", "texture", "margin", "composition", "organ")

    def __init__(self, pooled: Tensor, of: list[Meaning]) -> None:
        super().__init__()
        self.values = {f: sorted({str(v) for m in of if (v := getattr(m.stated, f))}) for f in self.FIELDS}
        self.register_buffer("mean", pooled.mean(0))
        self.register_buffer("sd", pooled.std(0) + 1e-4)
        self.heads = nn.ModuleDict({f: nn.Linear(pooled.shape[1], len(v)) for f, v in self.values.items()})
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2, weight_decay=1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            self.loss(pooled, of).backward()
            optimizer.step()
        self.requires_grad_(False)

    def _scores(self, pooled: Tensor, of: list[Meaning]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """For each field that some of the meanings state: its name, scores and truth of those."""
        for field in self.FIELDS:
            rows = [i for i, m in enumerate(of) if getattr(m.stated, field)]
            if rows:
                truth = torch.tensor([self.values[field].index(str(getattr(of[i].stated, field))) for i in rows])
                yield field, self.heads[field](((pooled - self.mean) / self.sd)[rows]), truth

    def loss(self, pooled: Tensor, of: list[Meaning]) -> Tensor:
        losses = [F.cross_entropy(scores, truth) for _, scores, truth in self._scores(pooled, of)]
        return sum(losses, start=pooled.new_zeros(()))

    @torch.inference_mode()
    def right(self, pooled: Tensor, of: list[Meaning]) -> str:
        shares = {
            field: 100 * float((scores.argmax(1) == truth).float().mean())
            for field, scores, truth in self._scores(pooled, of)
        }
        return ", ".join(f"{field} {share:.0f} %" for field, share in shares.items())


def teach(adapter: TextAdapter, of: list[Meaning], steps: int, rate: float, rng: np.random.Generator) -> Readers:
    """Train the adapter in place."""
    context, pooled = targets(adapter.eval(), of)
    readers = Readers(pooled, of)
    context_sd, pooled_sd = context.std(0).mean(), pooled.std(0).mean()
    optimizer = torch.optim.AdamW(
        adapter.parameters(), rate, weight_decay=1e-2
    )  # "no text" gets no gradient, and stays
    adapter.train()
    bar = tqdm(range(steps), desc="wordings")
    for step in bar:
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        rows = rng.integers(0, len(of), 96)
        texts = [of[i].known if rng.random() < OLD_SHARE else of[i].new for i in rows]
        said_context, said = adapter(*pad([t[int(rng.integers(len(t)))] for t in texts]))
        error = ((said - pooled[rows]) / pooled_sd).square().mean()
        error = error + ((said_context - context[rows]) / context_sd).square().mean()
        loss = error + 0.1 * readers.loss(said, [of[i] for i in rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix_str(f"error {float(error.detach()):.3f}")
    adapter.eval()
    return readers


@torch.inference_mode()
def answers(adapter: TextAdapter, of: list[Meaning]) -> tuple[Tensor, list[Meaning]]:
    """Pooled answers to all new wordings, and the meaning of each."""
    return torch.cat([adapter(*pad(m.new))[1] for m in of]), [m for m in of for _ in m.new]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, required=True, help="a folder that textomorph train diffusion wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--meanings", type=int, default=1800)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--keep-back", type=float, default=0.0, help="share that is not taught, to test on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    generator = Generator.load(args.generator)
    adapter, encoder = generator.networks.denoiser.adapter, generator.text_encoder
    sentences = written(rng)
    rng.shuffle(sentences)  # type: ignore[arg-type]
    number_kept = round(args.keep_back * len(sentences))
    words, unseen = broad(), {}
    if number_kept:
        words, words_kept = split(words, args.keep_back)
        unseen["words kept back"] = embedded(built(300, words_kept, rng), encoder, rng)
        unseen["sentences kept back"] = embedded(sentences[:number_kept], encoder, rng)
    of = embedded(built(args.meanings, words, rng) + sentences[number_kept:], encoder, rng)
    before = copy.deepcopy(adapter)
    adapter.requires_grad_(True)
    readers = teach(adapter, of, args.steps, args.rate, rng)
    for name, network in (("before", before), ("after", adapter)):
        print(f"{name}: what was taught: {readers.right(*answers(network, of))}")
        for kept, those in unseen.items():
            print(f"{name}: {kept}: {readers.right(*answers(network, those))}")
    facts = {"meanings": args.meanings, "steps": args.steps, "rate": args.rate, "seed": args.seed}
    training = {**generator.config.training, "wordings": facts}
    write_folder(args.out, generator.config.model_copy(update={"training": training}), generator.networks)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
