"""Predictions for many images as a pandas table, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from sklearn import metrics

from coop_edu.data.dataset import IMAGE_SUFFIXES, Example
from coop_edu.data.images import ImageLike, load_image
from coop_edu.data.labels import distinct_names
from coop_edu.evaluate.accuracy import Classifier, Data, logits_and_labels
from coop_edu.records import whole_number

AT_ONCE = 64  # images


@torch.no_grad()
def predict_table(
    classifier: Classifier, images: str | Path | Iterable[Example | ImageLike], *, top: int = 1
) -> pd.DataFrame:
    """A row for each image: "image", then "answer" and "probability" (Eq. 1), and "answer 2" ... up to `top`.

    images: a folder, searched recursively, or examples, paths or images.  An image in memory is named by its place in
    the list; examples have a column "truth".  Raises FileNotFoundError for a folder without images, and ValueError,
    which names it, for an image that is damaged.

        predict_table(load_prompt("mine.safetensors", clip), "new images", top=3).to_csv("answers.csv")
    """
    if isinstance(images, str | Path):
        folder = Path(images).expanduser()
        images = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise FileNotFoundError(f"no images in {folder}: they end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    items, top = list(images), whole_number(top, "top", at_least=1)
    as_images = [item.image if isinstance(item, Example) else item for item in items]
    clip, names = classifier.clip, distinct_names(classifier.classnames)
    rows = []
    for start in range(0, len(as_images), AT_ONCE):
        part = as_images[start : start + AT_ONCE]
        pixels = torch.stack([clip.preprocess(load_image(image)) for image in part]).to(clip.device)  # (B, 3, H, W)
        p = classifier.logits(clip.encode_image(pixels)).softmax(dim=1)  # (B, K)
        best, labels = (values.tolist() for values in p.topk(min(top, p.shape[1])))
        for place, (image, ps, ks) in enumerate(zip(part, best, labels), start=start):
            row = {"image": str(image) if isinstance(image, str | Path) else place}
            if isinstance(example := items[place], Example):
                row["truth"] = example.classname
            for n, (probability, k) in enumerate(zip(ps, ks), start=1):
                row |= {f"answer {n}": names[k], f"probability {n}": probability}
            rows.append(row)
    return pd.DataFrame(rows).rename(columns={"answer 1": "answer", "probability 1": "probability"})


def confusion_matrix(classifier: Classifier, data: Data) -> pd.DataFrame:
    """Images by true class (rows) and predicted class (columns).

    data and errors: as for `accuracy`.
    """
    logits, labels = logits_and_labels(classifier, data)
    names = distinct_names(classifier.classnames)
    counts = metrics.confusion_matrix(labels, logits.argmax(dim=1), labels=range(len(names)))  # (K, K)
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))
