"""The files behind what is live on the site's first page, which runs MiniCLIP and learns prompts without a kernel.

docs/explorer/ has the page's part of it, in HTML, CSS and JavaScript.  Made here, from the package: the text tower, its
gradient and the image tower (text_tower.py, gradient_graph.py, image_tower.py), the tasks to learn (export_tasks.py),
CLIP's words as vectors, the merges of its tokenizer, a few images with their features, and the features of a few
wordings.  Taken from npm: onnxruntime-web, whose version and checksum docs/explorer/package-lock.json fixes.  What is
large is packed with gzip, and unpacked in the page, as not every server packs what it sends.

Leaves out: the pages (build_site.py).
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from coop_edu import ZeroShot, clean_classnames, extract_features, load_clip, load_dataset
from coop_edu.clip.models import Clip
from coop_edu.clip.probability import normalize
from coop_edu.data.dataset import Example
from coop_edu.teaching.first_drawing import disagreement

from export_tasks import TASKS, export_tasks
from gradient_graph import gradient_graph
from image_tower import image_tower
from text_tower import text_tower

EXPLORER = Path(__file__).resolve().parents[1] / "docs" / "explorer"
RUNTIME = EXPLORER / "node_modules" / "onnxruntime-web" / "dist"
OWN = ("*.js", "*.css", "licences.txt")
WORDINGS = ("{}", "a photo of a {}.", "an icon of a {}.")
# What is loaded when it is first used.
PARTS = {
    "runtime": ["ort.wasm.gz"],
    "words": ["words_first.gz", "merges.txt.gz"],
    "all words": ["words.gz"],
    "text_tower": ["text_tower.onnx.gz"],
    "gradient": ["gradient.onnx.gz"],
    "image_tower": ["image_tower.onnx.gz"],
}
FREQUENT = 8192  # token numbers below are frequent: CLIP's tokenizer counts its merges from the most frequent on
MORE = 6  # images, beside the first


def export(folder: Path) -> None:
    """Write everything that docs/explorer/explorer.html loads into `folder`, which is made."""
    clip, source = load_clip("mini", device="cpu"), load_dataset("IconNet")
    folder.mkdir(parents=True)
    for path in (path for pattern in OWN for path in EXPLORER.glob(pattern)):
        shutil.copy(path, folder)
    shutil.copy(RUNTIME / "ort.wasm.bundle.min.mjs", folder / "ort.js")  # a name whose type every server knows
    pack(folder / "ort.wasm.gz", (RUNTIME / "ort-wasm-simd-threaded.wasm").read_bytes())
    pack(folder / "text_tower.onnx.gz", text_tower(clip.model).SerializeToString())
    pack(folder / "gradient.onnx.gz", gradient_graph(clip.model).SerializeToString())
    to_normal = clip.preprocess.transforms[-1]
    pack(
        folder / "image_tower.onnx.gz",
        image_tower(clip.model, to_normal.mean, to_normal.std).SerializeToString(),
    )
    export_words(clip, folder, source.classnames)
    merges = "\n".join(" ".join(pair) for pair in clip.tokenizer.bpe_ranks)
    pack(folder / "merges.txt.gz", merges.encode())
    learn, features_of = export_tasks(clip, folder)
    for name, features in features_of.items():
        pack(folder / f"{name}.features.gz", halves(features))
    images = gallery(clip, source.val, source.classnames)
    for i, example in enumerate(images):
        shutil.copy(example.image, folder / f"{i}.png")
    image_features = normalize(extract_features(clip, images, progress=False).image_features)  # f: (B, E)
    known = [ZeroShot(clip, source.classnames, wording).text_features for wording in WORDINGS]  # (K, E) each
    pack(folder / "wordings.gz", torch.stack(known).numpy().tobytes())
    sizes = {part: sum((folder / name).stat().st_size for name in names) for part, names in PARTS.items()}
    (folder / "learn.json").write_text(json.dumps({**learn, "bytes": sizes}), encoding="utf-8")
    data = {
        "classnames": clean_classnames(source.classnames),
        "wordings": WORDINGS,
        "positions": clip.tokenizer.context_length,
        "temperature": 1 / clip.logit_scale.item(),
        "bytes": sizes,
        "images": [
            {"file": f"{i}.png", "classname": classname, "features": [round(x, 7) for x in feature.tolist()]}
            for i, (classname, feature) in enumerate(zip((e.classname for e in images), image_features))
        ],
    }
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")


def export_words(clip: Clip, folder: Path, classnames: Sequence[str]) -> None:
    """CLIP's words as vectors: first those that a visitor is likely to use, and all of them."""
    table, tokenizer = clip.model.token_embedding.weight, clip.tokenizer
    names = [*classnames, *(name for task in TASKS.values() for name in task.load().classnames)]
    tokens = {token for name in clean_classnames([*dict.fromkeys(names)]) for token in tokenizer.encode(f"{name}.")}
    others = sorted(token for token in tokens if token >= FREQUENT) + [tokenizer.sot_token_id, tokenizer.eot_token_id]
    pack(folder / "words.gz", halves(table))
    pack(folder / "words_first.gz", halves(table[[*range(FREQUENT), *others]]))
    said = {"frequent": FREQUENT, "others": others, "width": table.shape[1]}
    (folder / "words.json").write_text(json.dumps(said), encoding="utf-8")


def halves(numbers: Tensor) -> bytes:
    """The numbers in half precision, which floats() of docs/explorer/files.js reads."""
    return numbers.detach().half().numpy().tobytes()


def pack(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, mtime=0))


def gallery(clip: Clip, examples: Sequence[Example], classnames: Sequence[str]) -> list[Example]:
    """First the image on which three wordings disagree most clearly, as in notebook 00; then others, evenly spaced."""
    features = extract_features(clip, examples, progress=False)
    _, place = disagreement([ZeroShot(clip, classnames, wording) for wording in WORDINGS], features)
    first = examples[place]
    others = [example for example in examples[:: len(examples) // MORE] if example.classname != first.classname]
    return [first, *others[:MORE]]
