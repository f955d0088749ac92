"""Builds IconNet, its four variants and the ten small tasks from the Iconify collection, and lists what is left to
pretrain MiniCLIP on.

    npm install @iconify/json@2.2.535 && pip install resvg-py
    python scripts/build_iconnet.py --package node_modules/@iconify/json --work build/

Three rules keep the pretraining and the tasks apart; tests/test_leaks.py proves them from the shipped metadata:
  1. a *thing* of a *family* (a designer's whole body of work) is either pretrained on or in a task, in all its styles;
  2. near-duplicates (perceptual hash) are dropped across that border, and across train / val / test;
  3. the families of the four variants are neither pretrained on nor in IconNet's own splits.

Everything is decided by hashes of names and by counts: no random state, no accuracy of any model, except for IconNet-A,
which is by definition what a reference classifier (reference_classifier.py) gets wrong.
Leaves out: reading the collection and drawing it (iconify.py), the words of the classes (iconnet_classes.py).
"""

import argparse
import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import iconify
import iconnet_classes
import numpy as np

# The designers of the variants: all their work is kept out of the pretraining and out of IconNet itself.
VARIANT_FAMILIES = {
    "bi", "mingcute", "ri", "tabler", "feather", "iconoir", "twemoji", "emojione", "fxemoji", "halfmann", "pixel",
    "dinkie-icons", "game-icons",
}  # fmt: skip
STYLE_FAMILIES = VARIANT_FAMILIES | {"streamline"}  # draws every thing in twenty styles
RENDITION_SETS = {
    "twemoji", "emojione", "fxemoji", "streamline-emojis", "streamline-freehand", "streamline-freehand-color",
    "streamline-pixel", "streamline-kameleon-color", "streamline-stickies-color", "pixelarticons", "pixel",
    "dinkie-icons",
}  # fmt: skip
NEAR = 4  # bits of 64: two drawings this close are near-duplicates
SPLIT = {"train": (16, 20), "val": (4, 5), "test": (10, 15)}  # at least, at most, per class of IconNet
TASK_SPLIT = {"train": (16, 20), "val": (2, 4), "test": (6, 12)}
STYLES = 4  # of one drawing in a class, at most
TASK_CLASSES = 20  # at most: the classes with the most drawings
LEFT_FOR_PRETRAINING = 16  # (family, thing) pairs of every class, so that MiniCLIP can know the word ...
LEFT_BY_TASKS = 6  # ... and for the thinner subjects of the tasks

TEMPLATES = {
    "IconNet": "an icon of a {}.", "IconObjects": "an icon of a {}.",
    "IconAnimals": "an icon of a {}, a type of animal.",
    "IconVehicles": "an icon of a {}, a type of vehicle.", "IconNature": "an icon of a {}, a type of nature.",
    "IconFood": "an icon of {}, a type of food.", "IconArrows": "an icon of {}, a type of arrow.",
    "IconPlaces": "an icon of a {}, a type of place.", "IconStyles": "{} style icon.",
    "IconWeather": "a weather icon of {}.", "IconActivities": "an icon of a person doing {}.",
}  # fmt: skip


def digest(*words: str) -> str:
    """An order that is neither alphabetical nor random: the same on every machine."""
    return hashlib.md5("/".join(words).encode()).hexdigest()


NEUTRAL = re.compile(r" (\d+|alt|variant|o|simple|fill|f|icon)$")


def plain(thing: str) -> str:
    """ "light-bulb-2" -> "light bulb": the words of a name, without number and without words that say nothing."""
    words = re.sub(r"(?<=[a-z])\d+$", "", thing.lower().replace("-", " ").replace("_", " "))
    while NEUTRAL.search(words):
        words = NEUTRAL.sub("", words)
    return words


class Collection:
    """All drawings with what was measured on their images."""

    def __init__(self, package: Path, work: Path):
        self.drawings, self.sets = iconify.catalogue(package)
        self.images = iconify.render_all(self.drawings, work / "pictures")
        measured = work / "measured.npz"
        if not measured.exists():
            np.savez(measured, hashes=iconify.perceptual_hashes(self.images),
                     statistics=iconify.shape_statistics(self.images))  # fmt: skip
        with np.load(measured) as file:
            self.hashes, (self.ink, self.core, self.colour) = file["hashes"], file["statistics"].T
        self.words = [plain(d.thing) for d in self.drawings]
        self.by_words = defaultdict(list)
        for i, words in enumerate(self.words):
            if 0.01 < self.ink[i] < 0.98:
                self.by_words[words].append(i)

    def named(self, names: list[str]) -> list[int]:
        return [i for name in dict.fromkeys(names) for i in self.by_words[name]]

    def group(self, i: int) -> tuple[str, str]:
        return self.drawings[i].family, self.words[i]

    def is_filled(self, i: int) -> bool:
        style = self.drawings[i].style
        if re.search("duo|two|line|broken|light|thin", style, re.I) or self.colour[i] >= 0.02:
            return False
        return self.core[i] >= (0.08 if re.search("fill|solid|bold", style, re.I) else 0.15)

    def is_outline(self, i: int) -> bool:
        style = self.drawings[i].style
        return self.core[i] < 0.2 and self.colour[i] < 0.02 and not re.search("duo|two|fill|solid|bold", style, re.I)

    def is_colour(self, i: int) -> bool:
        return self.colour[i] >= 0.03


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b)


class Builder:
    def __init__(self, collection: Collection):
        self.c = collection
        self.things_taken: set[tuple[str, str]] = set()  # (family, words) that are in a task: rule 1

    def choose(self, classes: dict[str, list[str]], usable, split: dict, *, variants_first: bool, leave: int) -> dict:
        """{class: {"train": [...], "val": [...], "test": [...]}} for the classes that have enough drawings.

        One (family, thing) is dealt out as a whole, so that no two styles of one drawing are on both sides."""
        least, most = (sum(bound[j] for bound in split.values()) for j in (0, 1))
        chosen, hashes = {}, np.zeros(0, np.uint64)
        for name, synonyms in classes.items():
            groups = defaultdict(list)
            everything = self.c.named(synonyms)
            for i in everything:
                groups[self.c.group(i)].append(i)
            families = {g[0] for g in groups}
            if not variants_first:
                families -= VARIANT_FAMILIES
            order = sorted(families, key=lambda f: (self._price(f, groups, usable), digest(name, f)))
            free = {g for g in groups if g[0] not in VARIANT_FAMILIES and g not in self.things_taken}
            dealt, count, own = [], 0, np.zeros(0, np.uint64)
            for family in order:
                members = [g for g in sorted(groups) if g[0] == family]
                left = len(free - set(members))
                if count >= most or (family not in VARIANT_FAMILIES and left < leave):
                    continue
                for g in members:
                    drawings = []
                    for i in sorted(filter(usable, groups[g]), key=lambda i: digest(self.c.drawings[i].key)):
                        seen = np.concatenate([hashes, own])
                        if len(drawings) < STYLES and (len(seen) == 0 or distance(self.c.hashes[i], seen).min() > NEAR):
                            drawings.append(i)
                            own = np.append(own, self.c.hashes[i])
                    if drawings:
                        dealt.append((g, drawings))
                        count += len(drawings)
                if any(g[0] == family for g, _ in dealt):
                    free -= set(members)
            parts = self._deal(name, dealt, split)
            if count >= least and all(len(parts[part]) >= bound[0] for part, bound in split.items()):
                chosen[name] = parts
                hashes = np.concatenate([hashes, own])
        return chosen

    def _price(self, family: str, groups: dict, usable) -> float:
        """How many drawings the pretraining loses for each one that a class gains from this family."""
        members = [g for g in groups if g[0] == family]
        lost = sum(len(groups[g]) for g in members if family not in VARIANT_FAMILIES and g not in self.things_taken)
        gained = sum(min(STYLES, sum(map(usable, groups[g]))) for g in members)
        return lost / gained if gained else float("inf")

    @staticmethod
    def _deal(name: str, dealt: list, split: dict) -> dict[str, list[int]]:
        """Whole groups, in hashed order, to whichever part is the furthest from full."""
        parts = {part: [] for part in split}
        for _, drawings in sorted(dealt, key=lambda item: digest(name, "deal", *item[0])):
            room = {part: 1 - len(parts[part]) / bound[1] for part, bound in split.items()}
            parts[max(room, key=room.get)] += drawings
        return {part: drawings[: split[part][1]] for part, drawings in parts.items()}

    def take(self, chosen: dict, synonyms: dict) -> None:
        """Rule 1: whatever the families of the chosen drawings drew under a name of that class is no longer free."""
        for name, parts in chosen.items():
            families = {self.c.drawings[i].family for part in parts.values() for i in part}
            self.things_taken |= {(f, words) for f in families for words in synonyms[name]}


def select_task(builder: Builder, name: str, classes: dict[str, list[str]], most: int) -> dict:
    chosen = builder.choose(classes, lambda i: True, TASK_SPLIT, variants_first=True, leave=LEFT_BY_TASKS)
    supply = {c: len(builder.c.named(classes[c])) for c in chosen}
    kept = sorted(sorted(chosen, key=lambda c: (-supply[c], c))[:most])
    chosen = {c: chosen[c] for c in kept}
    builder.take(chosen, classes)
    return chosen


def select_styles(c: Collection) -> dict:
    """Classes that are no things but ways of drawing (the part that textures have in the paper)."""

    def sets(*names, style=""):
        return lambda i: c.drawings[i].set in names and c.drawings[i].style == style

    def words(pattern):
        mono = {"tabler", "lucide", "ri", "mingcute", "bi", "iconoir", "streamline", "streamline-ultimate"}
        return lambda i: c.drawings[i].set in mono and re.search(rf"\b({pattern})\b", c.words[i])

    rules = {
        "outline": sets("tabler", "lucide", "iconoir"),
        "solid": sets("ri", "mingcute", "bi", style="Fill"),
        "half filled": sets("streamline", "streamline-flex", "streamline-sharp", style="Remix"),
        "flat colour": sets("streamline-color", "streamline-flex-color", style="Flat"),
        "two tone colour": sets("streamline-color", "streamline-flex-color", style="Duo"),
        "emoji": sets("twemoji", "emojione", "fxemoji"),
        "pixel art": sets("streamline-pixel", "pixelarticons", "pixel", "dinkie-icons"),
        "hand drawn": sets("streamline-freehand", style="Line"),
        "coloured hand drawn": sets("streamline-freehand-color", style="Duotone"),
        "plump": sets("streamline-plump", style="Line"),
        "sharp": sets("streamline-sharp", style="Line"),
        "round badge": sets("streamline-kameleon-color", style="Colors"),
        "fantasy game": sets("game-icons"),
        "in a circle": words("circle|circled|round"),
        "in a square": words("square|box"),
        "crossed out": words("off|slash|disabled|disable"),
        "with a plus": words("plus|add"),
        "with a check mark": words("check|checked|approve"),
    }
    chosen, hashes = {}, np.zeros(0, np.uint64)
    most = sum(bound[1] for bound in TASK_SPLIT.values())
    for name, rule in rules.items():
        groups = {}
        candidates = [
            i for i, d in enumerate(c.drawings) if d.family in STYLE_FAMILIES and 0.01 < c.ink[i] < 0.98 and rule(i)
        ]
        for i in sorted(candidates, key=lambda i: digest("style", c.drawings[i].key)):
            g = c.group(i)
            if (
                len(groups) < most
                and g not in groups
                and (len(hashes) == 0 or distance(c.hashes[i], hashes).min() > NEAR)
            ):
                groups[g] = [i]
                hashes = np.append(hashes, c.hashes[i])
        chosen[name] = Builder._deal(name, list(groups.items()), TASK_SPLIT)
    return chosen


def select_variants(c: Collection, source: dict, synonyms: dict) -> tuple[dict, dict]:
    """({variant: {class: [drawings]}}, {class: [candidates for IconNet-A]}): other designers, other styles."""
    rules = {
        "IconNetV2": lambda i: c.is_filled(i) and c.drawings[i].set not in RENDITION_SETS,
        "IconNet-Sketch": lambda i: c.is_outline(i) and c.drawings[i].set not in RENDITION_SETS,
        "IconNet-R": lambda i: c.drawings[i].set in RENDITION_SETS,
    }
    hashes = np.array([c.hashes[i] for parts in source.values() for part in parts.values() for i in part])
    variants, used = {name: defaultdict(list) for name in rules}, set()
    for variant, rule in rules.items():
        for label in source:
            seen = set()
            pool = [i for i in c.named(synonyms[label]) if c.drawings[i].family in VARIANT_FAMILIES and rule(i)]
            for i in sorted(pool, key=lambda i: digest(variant, c.drawings[i].key)):
                g = c.group(i), c.drawings[i].set
                if len(variants[variant][label]) < 8 and g not in seen and distance(c.hashes[i], hashes).min() > NEAR:
                    variants[variant][label].append(i)
                    hashes = np.append(hashes, c.hashes[i])
                    seen.add(g)
                    used.add(i)
    candidates = {}
    for label in source:
        pool = {i for i in c.named(synonyms[label]) if c.drawings[i].family in VARIANT_FAMILIES}
        ends = tuple(" " + s for s in synonyms[label] if " " not in s)  # "sitting cat": a cat, drawn in another way
        others = {s for other in synonyms if other != label for s in synonyms[other]}
        pool |= {
            i
            for i, w in enumerate(c.words)
            if c.drawings[i].set == "game-icons" and w.endswith(ends) and w not in others
        }
        kept = []
        for i in sorted(pool - used, key=lambda i: digest("A", c.drawings[i].key)):
            if 0.01 < c.ink[i] < 0.98 and distance(c.hashes[i], hashes).min() > NEAR:
                kept.append(i)
                hashes = np.append(hashes, c.hashes[i])
        candidates[label] = kept
    return variants, candidates


def select_pretraining(builder: Builder, tasks: dict, extra: list[int]) -> list[int]:
    """All that the three rules leave."""
    c = builder.c
    taken = builder.things_taken
    arrows = {s for names in iconnet_classes.parse(iconnet_classes.TASKS["IconArrows"]).values() for s in names}
    inside = {t for t in taken if t[1] not in arrows}  # "house" also bars this family's "house user"

    def free(i: int) -> bool:
        family, words = c.group(i)
        if family in VARIANT_FAMILIES or not 0.01 < c.ink[i] < 0.98 or (family, words) in taken:
            return False
        parts = words.split()
        return not any(
            (family, " ".join(parts[a:b])) in inside for a in range(len(parts)) for b in range(a + 1, len(parts) + 1)
        )

    downstream = sorted(
        {i for task in tasks.values() for parts in task.values() for part in parts.values() for i in part} | set(extra)
    )
    pool = np.array([i for i in range(len(c.drawings)) if free(i)])
    near = np.zeros(len(pool), bool)
    for start in range(0, len(downstream), 64):
        near |= (distance(c.hashes[pool][:, None], c.hashes[downstream[start : start + 64]][None]) <= NEAR).any(1)
    unique = {}
    for i in pool[~near]:  # the same image twice under the same name teaches nothing new
        unique.setdefault((c.hashes[i], c.words[i]), int(i))
    return sorted(unique.values())


def select(c: Collection) -> dict:
    builder = Builder(c)
    synonyms = iconnet_classes.parse(iconnet_classes.ICONNET)
    source = builder.choose(synonyms, c.is_filled, SPLIT, variants_first=False, leave=LEFT_FOR_PRETRAINING)
    builder.take(source, synonyms)
    words = {name: iconnet_classes.parse(text) for name, text in iconnet_classes.TASKS.items()}
    elsewhere = set(source) | {label for classes in words.values() for label in classes}
    tasks = {"IconNet": source}
    words["IconObjects"] = {label: names for label, names in synonyms.items() if label not in elsewhere}
    for name, classes in words.items():
        tasks[name] = select_task(builder, name, classes, 2 * TASK_CLASSES if name == "IconObjects" else TASK_CLASSES)
    tasks["IconStyles"] = select_styles(c)
    builder.things_taken |= {
        c.group(i) for parts in tasks["IconStyles"].values() for part in parts.values() for i in part
    }
    variants, candidates = select_variants(c, source, synonyms)
    for variant, classes in variants.items():
        tasks[variant] = {label: {"test": drawings} for label, drawings in classes.items() if drawings}
    pretraining = select_pretraining(builder, tasks, [i for pool in candidates.values() for i in pool])
    return {"tasks": tasks, "candidates": candidates, "pretraining": pretraining}


def near_any(c: Collection, drawings: list[int], others: list[int]) -> set[int]:
    """Which of the drawings have a near-duplicate among the others."""
    found = set()
    for start in range(0, len(drawings), 64):
        part = drawings[start : start + 64]
        close = (distance(c.hashes[part][:, None], c.hashes[others][None]) <= NEAR).any(1)
        found |= {i for i, hit in zip(part, close) if hit}
    return found


def settle(c: Collection, tasks: dict, pretraining: list[int]) -> dict:
    """Rule 2 once more, on the final lists: what a task still shares with the pretraining, with another of its own
    drawings or (the variants) with IconNet is dropped, the rest dealt out again, and a class that is too thin goes."""

    def flat(classes: dict) -> list[int]:
        return [i for parts in classes.values() for drawings in parts.values() for i in drawings]

    settled = {}
    for name in sorted(tasks, key=lambda name: name != "IconNet"):
        drop = near_any(c, flat(tasks[name]), pretraining)
        variant = name.startswith("IconNet") and name != "IconNet"
        if variant:
            drop |= near_any(c, flat(tasks[name]), flat(settled["IconNet"]))
        split, settled[name] = SPLIT if name == "IconNet" else TASK_SPLIT, {}
        kept_hashes = np.zeros(0, np.uint64)
        for label, parts in sorted(tasks[name].items()):
            groups = defaultdict(list)
            for i in (i for drawings in parts.values() for i in drawings if i not in drop):
                if len(kept_hashes) == 0 or distance(c.hashes[i], kept_hashes).min() > NEAR:
                    groups[c.group(i)].append(i)
                    kept_hashes = np.append(kept_hashes, c.hashes[i])
            if variant:
                own = {"test": [i for drawings in groups.values() for i in drawings]}
                enough = label in settled["IconNet"] and len(own["test"]) >= (3 if name == "IconNet-A" else 1)
            else:
                own = Builder._deal(label, list(groups.items()), split)
                enough = all(len(own[part]) >= bound[0] for part, bound in split.items())
            if enough:
                settled[name][label] = own
    return settled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True, help="the folder of @iconify/json")
    parser.add_argument("--work", type=Path, required=True, help="where images and lists are kept between runs")
    arguments = parser.parse_args()
    c = Collection(arguments.package, arguments.work)
    selection = select(c)
    (arguments.work / "selection.json").write_text(json.dumps(selection))
    for name, classes in selection["tasks"].items():
        sizes = Counter(
            {part: sum(len(parts[part]) for parts in classes.values()) for part in next(iter(classes.values()))}
        )
        print(f"{name:16} {len(classes):3} classes", dict(sizes))
    print("candidates for IconNet-A:", sum(map(len, selection["candidates"].values())))
    print("left for pretraining:", len(selection["pretraining"]), "drawings")


if __name__ == "__main__":
    main()
