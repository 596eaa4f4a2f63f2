"""Does validation reject what was changed and keep what was reworded? And do descriptions have a hundred variants?

    python benchmarks/validation_flips.py [--descriptions 60] [--seed 1]      # pairs
    python benchmarks/validation_flips.py --variants 200 [--seed 1]            # 100 variants of 200 descriptions each

Changed texts are made of random descriptors with one descriptor flipped, lost or invented, in three ways: the grammar's
wording of the source with only that word changed (the hardest for a cosine), another wording of the grammar, and the
hand-written prompts of ``held_out_prompts.py``, which share no code with the grammar. Negations deny one word of the
source, or the lesion. The hand-written calibration pairs stand below. "Named": the rejected whose reasons name the
changed descriptor, so that a text that is not understood at all does not pass for a change that was seen.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from held_out_prompts import held_out_prompts
from tqdm import tqdm

from nnunet_textomorph import llm_reports
from nnunet_textomorph.llm_reports.descriptors import Descriptors
from nnunet_textomorph.llm_reports.encoders import cosines, local_encoder
from nnunet_textomorph.llm_reports.phrasing import PATHOLOGIES, WORDINGS, describe, rephrase
from nnunet_textomorph.llm_reports.validation import Verdict, validate_texts
from nnunet_textomorph.llm_reports.variants import distinct_key, vary_offline

PAIRS = Path(llm_reports.__file__).parent / "data" / "calibration_pairs.jsonl"
VALUES: dict[str, list[str]] = {
    "organ": ["liver", "pancreas", "kidney", "soft tissue"],
    **{field: list(values) for field, values in WORDINGS.items()},
    "pathology": list(PATHOLOGIES),
}
TUMORS = {
    "liver": ("HCC", "metastasis", "cyst", "hemangioma", "cholangiocarcinoma", "FNH", "adenoma", "abscess", "lymphoma"),
    "pancreas": ("PDAC", "PNET", "cyst", "IPMN", "MCN", "SCA", "SPN", "pseudocyst", "metastasis", "lymphoma"),
    "kidney": ("RCC", "cyst", "AML", "oncocytoma", "UC", "abscess", "metastasis", "lymphoma"),
    "soft tissue": ("sarcoma", "metastasis", "hemangioma", "abscess", "lymphoma"),
    "": ("metastasis", "cyst", "abscess", "lymphoma", "sarcoma", "hemangioma"),
}
NAMED_BY_TUMOR = ("PDAC", "PNET", "HCC", "RCC")  # these say the organ: it can be neither lost nor invented beside them
DENIED_ADJECTIVES = (
    "It is not {x}.",
    "The lesion is not {x}.",
    "It does not appear {x}.",
    "It is by no means {x}.",
    "It is neither {x} nor obstructing.",
)
DENIED_NOUNS = (
    "There is no {x}.",
    "It shows no {x}.",
    "It is without {x}.",
    "No evidence of {x}.",
    "It lacks {x}.",
    "{x}: absent.",
    "It does not show {x}.",
)
DENIED_DIAGNOSES = (
    "It is not consistent with {x}.",
    "No evidence of {x}.",
    "There are no signs of {x}.",
    "{x} has been excluded.",
    "The appearance argues against {x}.",
    "Not typical of {x}.",
)
DENIED_LESIONS = (
    "No {x}.",
    "There is no {x}.",
    "No evidence of a {x}.",
    "A {x} is not seen.",
    "The {x} seen before has resolved.",
    "Absence of a {x}.",
    "We find neither stones nor a {x}.",
)


class Made(NamedTuple):
    """A pair with what was done to it: ``kind`` (rewording, flip, loss, invention, negation), ``field``, ``family``."""

    source: str
    text: str
    kind: str
    field: str
    family: str


def random_descriptors(rng: np.random.Generator) -> Descriptors:
    """An organ, mostly, and one to all of the other descriptors."""
    share = rng.uniform(0.1, 0.9)
    found = {
        f: str(rng.choice(values)) for f, values in VALUES.items() if rng.random() < (0.9 if f == "organ" else share)
    }
    size = {"size_mm": float(rng.integers(4, 150))} if rng.random() < 0.6 or not found else {}
    return Descriptors.model_validate({**found, **size})


def changed(d: Descriptors, rng: np.random.Generator) -> Iterator[tuple[str, str, Descriptors]]:
    """(kind, field, descriptors) with one descriptor flipped and lost, or invented: each field in turn."""
    for field in Descriptors.model_fields:
        if field == "organ" and d.pathology in NAMED_BY_TUMOR:
            continue
        now = getattr(d, field)
        if field == "size_mm":
            others: list[float | str] = [float(s) for s in rng.integers(1, 300, 3) if s != now]
        else:
            values = TUMORS[d.organ or ""] if field == "pathology" else VALUES[field]
            others = [value for value in values if value != now]
        other = others[int(rng.integers(len(others)))]
        yield "invention" if now is None else "flip", field, d.model_copy(update={field: other})
        if now is not None:
            yield "loss", field, d.model_copy(update={field: None})


def changed_pairs(d: Descriptors, rng: np.random.Generator) -> Iterator[Made]:
    """Texts with one descriptor changed, in the three ways."""
    for kind, field, other in changed(d, rng):
        if not other.model_dump(exclude_none=True):
            continue
        seed = int(rng.integers(2**32))
        source = rephrase(d, np.random.default_rng(seed))
        yield Made(source, rephrase(other, np.random.default_rng(seed)), kind, field, "one word")
        yield Made(source, rephrase(other, rng), kind, field, "grammar")
        prompts = held_out_prompts(other) if other.pathology in (None, *_HELD_OUT) else []
        if prompts:
            yield Made(source, prompts[int(rng.integers(len(prompts)))], kind, field, "held out")


def reworded_pairs(d: Descriptors, rng: np.random.Generator) -> Iterator[Made]:
    """True rewordings: of the grammar, and held out."""
    for _ in range(4):
        yield Made(rephrase(d, rng), rephrase(d, rng), "rewording", "", "grammar")
    prompts = held_out_prompts(d) if d.pathology in (None, *_HELD_OUT) else []
    for _ in range(4 if prompts else 0):
        yield Made(rephrase(d, rng), prompts[int(rng.integers(len(prompts)))], "rewording", "", "held out")


def negated_pairs(d: Descriptors, rng: np.random.Generator) -> Iterator[Made]:
    """Each descriptor in turn denied: in its place, and in a sentence of its own; and the lesion denied."""

    def pick(forms: tuple[str, ...]) -> str:
        return forms[int(rng.integers(len(forms)))]

    source = describe(d)
    for field, wordings in WORDINGS.items():
        value = getattr(d, field)
        if value is None:
            continue
        rest = describe(d.model_copy(update={field: None}))
        adjective, noun = (
            form.replace("{ref}", "the surroundings")
            for form in (wordings[value].adjectives[0], pick(wordings[value].features))
        )
        for prefix in ("a ", "an "):
            noun = noun.removeprefix(prefix)
        yield Made(source, f"{rest} {pick(DENIED_ADJECTIVES).replace('{x}', adjective)}", "negation", field, "sentence")
        if value != "none":  # "no no enhancement"
            yield Made(source, f"{rest} {pick(DENIED_NOUNS).replace('{x}', noun)}", "negation", field, "sentence")
        if adjective in source:
            yield Made(source, source.replace(adjective, f"not {adjective}", 1), "negation", field, "in place")
    if d.pathology:
        name = PATHOLOGIES[d.pathology][0]
        rest = describe(d.model_copy(update={"pathology": None}))
        yield Made(source, f"{rest} {pick(DENIED_DIAGNOSES).replace('{x}', name)}", "negation", "pathology", "sentence")
        yield Made(
            source, source.replace("consistent with", "not consistent with"), "negation", "pathology", "in place"
        )
    phrase = source.rstrip(".").split(" ", 1)[1]
    yield Made(source, pick(DENIED_LESIONS).replace("{x}", phrase), "negation", "lesion", "sentence")


def generated_pairs(descriptions: int, seed: int) -> list[Made]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(descriptions):
        d = random_descriptors(rng)
        made += [*changed_pairs(d, rng), *reworded_pairs(d, rng), *negated_pairs(d, rng)]
    return [pair for pair in made if pair.source != pair.text]


def hand_written_pairs() -> list[Made]:
    rows = map(json.loads, PAIRS.read_text(encoding="utf-8").splitlines())
    return [Made(r["source"], r["text"], r["kind"], r["field"] or "", "by hand") for r in rows]


def names_the_change(pair: Made, verdict: Verdict) -> bool:
    """Whether a rejection says what is wrong; that the lesion is denied says it of any field of it."""
    wanted = "text" if pair.field in ("lesion", "") else pair.field
    return any(kind.split(":")[0] == wanted for kind in verdict.kinds)


_HELD_OUT = ("PDAC", "PNET", "cyst", "metastasis", "HCC", "hemangioma", "RCC", "sarcoma")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--descriptions", type=int, default=60)
    parser.add_argument("--variants", type=int, help="vary this many descriptions, and nothing else")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="print every pair that was judged wrongly")
    args = parser.parse_args()
    if args.variants:
        count_variants(args.variants, args.seed)
    else:
        judge_pairs(generated_pairs(args.descriptions, args.seed) + hand_written_pairs(), args.verbose)


def judge_pairs(pairs: list[Made], verbose: bool) -> None:
    encoder = local_encoder()
    verdicts = list(tqdm(validate_texts([p[:2] for p in pairs], encoder), total=len(pairs)))
    # of every pair, also of those that validation rejects before it would embed them
    alike = cosines(encoder([pair.source for pair in pairs]), encoder([pair.text for pair in pairs]))
    groups = defaultdict(list)
    for pair, verdict, cosine in zip(pairs, verdicts, alike, strict=True):
        groups[pair.family, pair.kind].append((pair, verdict, cosine))
        if verbose and verdict.kept != (pair.kind == "rewording"):
            print(f"{pair.family}, {pair.kind} {pair.field}: {pair.source!r} -> {pair.text!r} {verdict.reasons}")
    print(f"\n| texts | pairs | kept | rejected | named | cosine alone keeps, from {encoder.threshold} | from 0.9 |")
    print("|---|---|---|---|---|---|---|")
    for (family, kind), judged in sorted(groups.items(), key=lambda g: (g[0][1] != "rewording", g[0])):
        kept = np.mean([verdict.kept for _, verdict, _ in judged])
        named = [names_the_change(pair, verdict) for pair, verdict, _ in judged if not verdict.kept]
        alone = [np.mean([cosine >= at for *_, cosine in judged]) for at in (encoder.threshold, 0.9)]
        print(
            f"| {kind}, {family} | {len(judged)} | {kept:.1%} | {1 - kept:.1%} | "
            f"{'' if kind in ('rewording', 'off-topic') or not named else f'{np.mean(named):.0%}'} | "
            f"{alone[0]:.0%} | {alone[1]:.0%} |"
        )
    wrong = [(p, v) for p, v in zip(pairs, verdicts, strict=True) if p.kind != "rewording"]
    print(f"\nwrong texts kept: {sum(v.kept for _, v in wrong)} of {len(wrong)}")


def count_variants(descriptions: int, seed: int) -> None:
    rng, encoder = np.random.default_rng(seed), local_encoder()
    counts, lowest = [], []
    for i in tqdm(range(descriptions)):
        d = random_descriptors(rng)
        variants = vary_offline(d, 100, seed=i, encoder=encoder)
        assert len({distinct_key(text) for text in variants}) == len(variants)
        counts.append(len(variants))
        vectors = encoder([describe(d), *variants])
        lowest += cosines(np.repeat(vectors[:1], len(variants), 0), vectors[1:])
    share = np.mean(np.array(counts) >= 100)
    print(
        f"{share:.1%} of {descriptions} descriptions have 100 of 100 distinct validated variants; fewest: {min(counts)}"
    )
    print(f"cosine to the description: 1st percentile {np.percentile(lowest, 1):.2f}, median {np.median(lowest):.2f}")


if __name__ == "__main__":
    main()
