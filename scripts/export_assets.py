"""Writes what is shipped: the IconNet archive, its description, the provenance of every drawing, and the checksums.

    python scripts/export_assets.py --package node_modules/@iconify/json --work build/

Run after build_iconnet.py, reference_classifier.py, pretrain_miniclip.py and pretrain_vit.py. Everything is written the
same way every time (sorted, without dates), so the checksum changes only when the content does.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import build_iconnet
from PIL import Image

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "coop_edu" / "assets"
ROLES = {
    "IconNet": "source",
    "IconNetV2": "variant",
    "IconNet-Sketch": "variant",
    "IconNet-A": "variant",
    "IconNet-R": "variant",
}
ABOUT = {
    "IconNet": "glyphs of everyday things, most of them filled",
    "IconNetV2": "filled glyphs by designers who are not in IconNet",
    "IconNet-Sketch": "outline drawings",
    "IconNet-A": "drawings that a reference classifier gets wrong",
    "IconNet-R": "renditions: colour emoji, pixel art",
    "IconObjects": "everyday objects in every style (none of them a class of IconNet)",
    "IconAnimals": "animals in every style",
    "IconVehicles": "vehicles in every style",
    "IconNature": "plants and nature in every style",
    "IconFood": "food and drink in every style",
    "IconArrows": "arrows: fine differences of direction and shape",
    "IconPlaces": "places and buildings in every style",
    "IconStyles": "ways of drawing, whatever is drawn",
    "IconWeather": "weather signs in every style",
    "IconActivities": "what people do",
}
MODELS = {  # the data set of the paper whose part it plays
    "IconNet": "ImageNet", "IconNetV2": "ImageNetV2", "IconNet-Sketch": "ImageNet-Sketch", "IconNet-A": "ImageNet-A",
    "IconNet-R": "ImageNet-R", "IconObjects": "Caltech101", "IconAnimals": "OxfordPets", "IconVehicles": "StanfordCars",
    "IconNature": "OxfordFlowers", "IconFood": "Food101", "IconArrows": "FGVCAircraft", "IconPlaces": "SUN397",
    "IconStyles": "DescribableTextures", "IconWeather": "EuroSAT", "IconActivities": "UCF101",
}  # fmt: skip


def png(image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_archive(c: build_iconnet.Collection, tasks: dict, path: Path) -> None:
    """<task>/images/<class>/<set>--<name>.png and <task>/split_zhou_<task>.json, in the schema of the authors."""
    with zipfile.ZipFile(path, "w") as archive:

        def add(name: str, content: bytes, method: int) -> None:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)

        for task in sorted(tasks):
            split = {"train": [], "val": [], "test": []}
            for label, classname in enumerate(sorted(tasks[task])):
                for part, drawings in tasks[task][classname].items():
                    for i in sorted(drawings, key=lambda i: c.drawings[i].key):
                        place = f"{classname.replace(' ', '_')}/{c.drawings[i].key}.png"
                        split[part].append([place, label, classname])
                        add(f"{task}/images/{place}", png(c.images[i]), zipfile.ZIP_STORED)
            add(f"{task}/split_zhou_{task}.json", json.dumps(split, indent=4).encode(), zipfile.ZIP_DEFLATED)


def write_provenance(c: build_iconnet.Collection, tasks: dict, pretraining: list[int], path: Path) -> None:
    """One row a use: task, split, class, set, name, family, thing, perceptual hash, licence."""
    rows = []
    for task, classes in sorted(tasks.items()):
        for classname, parts in sorted(classes.items()):
            rows += [(task, part, classname, i) for part, drawings in parts.items() for i in sorted(drawings)]
    rows += [("pretraining", "train", "", i) for i in pretraining]
    with gzip.GzipFile(path, "wb", mtime=0) as raw, io.TextIOWrapper(raw, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "split", "class", "set", "name", "family", "thing", "hash", "licence"])
        for task, part, classname, i in rows:
            d = c.drawings[i]
            writer.writerow([task, part, classname, d.set, d.name, d.family, c.words[i], f"{c.hashes[i]:016x}",
                             c.sets[d.set]["license"]["spdx"]])  # fmt: skip


def write_attribution(c: build_iconnet.Collection, tasks: dict, pretraining: list[int], path: Path) -> None:
    used = Counter(
        c.drawings[i].set
        for i in {i for classes in tasks.values() for p in classes.values() for d in p.values() for i in d}
    )
    trained = Counter(c.drawings[i].set for i in pretraining)
    lines = [
        "# Attribution", "",
        "The drawings of IconNet are the work of the designers below, unmodified but for being drawn",
        "at 64 x 64 pixels on white.",
        "They were taken from the [Iconify](https://iconify.design) collection (npm package",
        "`@iconify/json` 2.2.535) under the licences named here.",
        "This page is generated by `scripts/export_assets.py`.", "",
        "## Drawings in the shipped images", "", *table(c, used), "",
        "## Drawings that MiniCLIP was pretrained on (not shipped)", "", *table(c, trained), "",
    ]  # fmt: skip
    path.write_text("\n".join(lines))


def table(c: build_iconnet.Collection, counts: Counter) -> list[str]:
    rows = ["| set | author | licence | drawings |", "|---|---|---|---:|"]
    for prefix, count in sorted(counts.items()):
        info = c.sets[prefix]
        author, licence = info["author"], info["license"]
        name = f"[{author['name']}]({author['url']})" if author.get("url") else author["name"]
        terms = f"[{licence['spdx']}]({licence['url']})" if licence.get("url") else licence["spdx"]
        rows.append(f"| {info['name']} (`{prefix}`) | {name} | {terms} | {count} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    c = build_iconnet.Collection(arguments.package, arguments.work)
    selection = json.loads((arguments.work / "selection.json").read_text())
    adversarial = json.loads((arguments.work / "adversarial.json").read_text())
    tasks = selection["tasks"] | {"IconNet-A": {k: {"test": v} for k, v in adversarial["classes"].items()}}
    tasks = build_iconnet.settle(c, tasks, selection["pretraining"])
    adversarial["report"]["IconNet-A"] = {
        "classes": len(tasks["IconNet-A"]),
        "drawings": sum(len(parts["test"]) for parts in tasks["IconNet-A"].values()),
    }

    ASSETS.mkdir(parents=True, exist_ok=True)
    write_archive(c, tasks, ASSETS / "iconnet.zip")
    write_provenance(c, tasks, selection["pretraining"], ASSETS / "provenance.csv.gz")
    write_attribution(c, tasks, selection["pretraining"], ROOT / "ATTRIBUTION.md")
    description = {
        name: {
            "role": ROLES.get(name, "task"), "about": ABOUT[name], "models": MODELS[name],
            "template": build_iconnet.TEMPLATES.get(name, build_iconnet.TEMPLATES["IconNet"]), "classes": len(classes),
            **{part: sum(len(parts.get(part, [])) for parts in classes.values()) for part in ("train", "val", "test")},
        }
        for name, classes in ((name, tasks[name]) for name in MODELS)
    }  # fmt: skip
    (ASSETS / "iconnet.json").write_text(json.dumps(description, indent=2) + "\n")
    (ASSETS / "reference_classifier.json").write_text(json.dumps(adversarial["report"], indent=2) + "\n")
    shipped = ["iconnet.zip", "iconnet.json", "provenance.csv.gz", "miniclip.json", "miniclip.safetensors"]
    shipped += ["miniclip_vit.json", "miniclip_vit.safetensors"]  # an image encoder beside the same text encoder
    sums = {
        name: hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() for name in shipped if (ASSETS / name).exists()
    }
    (ASSETS / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")
    for name in shipped:
        print(
            f"{name:22} {(ASSETS / name).stat().st_size / 1e6:6.1f} MB"
            if (ASSETS / name).exists()
            else f"{name}: missing"
        )


if __name__ == "__main__":
    main()
