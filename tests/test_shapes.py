"""The shapes in the library's annotations are true: everything is run once with each of them checked.

In a process of its own, because the check wraps the library's functions while they are imported.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
from jaxtyping import TypeCheckError, install_import_hook
ROOMS = ["coop_edu.clip", "coop_edu.data", "coop_edu.coop", "coop_edu.evaluate"]
install_import_hook(ROOMS, "beartype.beartype")
import dataclasses
import torch
from coop_edu import *
from tiny_clip import tiny_clip
clip, names, k = tiny_clip(), ("cat", "dog", "eel"), torch.Generator().manual_seed(0)
data = Features(torch.randn(12, 16, generator=k), torch.arange(12) % 3, names)
"""
COURSE = """
crops = Features(torch.randn(2, 12, 16, generator=k), data.labels, names)
recipe = Recipe(epochs=2, batch_size=4, views=None)
for options in ({}, {"class_specific": True}, {"position": "middle"}, {"init": "a photo of a"}):
    for at_once in (None, 2):
        learner = PromptLearner(clip, names, **{"n_ctx": 2, **options}, max_classes_at_once=at_once)
        Trainer(learner, recipe, progress=False).fit(data)
        accuracy(learner, data)
        learner.nearest_words()
Trainer(learner, dataclasses.replace(recipe, views=2), progress=False).fit(crops)
for made in (KgCoOp(clip, names, template="a {}."), CoCoOp(clip, names, n_ctx=2)):
    Trainer(made, recipe, progress=False).fit(data)
    accuracy(made.with_classnames(names[::-1][:2]), Features(data.image_features[1:3], data.labels[:2], ("eel", "dog")))
trainers = [Trainer(PromptLearner(clip, names, n_ctx=2, seed=s), recipe, progress=False) for s in (1, 2)]
train_together(trainers, [data, data])
per_class_accuracy(LinearProbe(clip, names, data, data), data)
accuracy(ZeroShot(clip, names, ["a {}.", "the {}."]), data)
print("whole course")
"""
WRONG = {
    "features turned round": "normalize(torch.tensor(1.0))",
    "labels that are no numbers": "PromptLearner(clip, names).loss(data.image_features, data.labels.float())",
    "labels of another batch": "PromptLearner(clip, names).loss(data.image_features, data.labels[:5])",
    "a context without a width": "PromptLearner(clip, names)(torch.zeros(3))",
    "images that are a single one": "clip.encode_image(torch.zeros(3, 32, 32))",
}


@pytest.mark.slow
def test_all_training_and_testing_keeps_to_the_shapes_and_a_wrong_one_is_seen():
    tries = "".join(f"try: {code}\nexcept TypeCheckError: print({name!r})\n" for name, code in WRONG.items())
    command = [sys.executable, "-c", HOOK + COURSE + tries]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["whole course", *WRONG], done.stderr[-3000:]
