"""How long the library's everyday calls take, each in a process of its own.

    python -m benchmarks.library zero_shot 2        # on two threads; prints one line of JSON

Leaves out: what a step of training consists of (measure.py).
"""

import json
import sys
import time

TARGETS = {  # seconds, on two cores that do nothing else
    "import": 0.3,
    "load": 1.5,
    "zero_shot": 10.0,
    "training": 150.0,
}
EPOCHS, SHORT = 200, 5  # of the paper for 16 shots; that are timed unless `whole`


def seconds_for(what: str, threads: int, whole: bool = False) -> dict:
    """Seconds on the clock and of processor time for one of TARGETS, and a note on how they were measured."""
    clock = Clock()
    import coop_edu

    if what == "import":
        return clock.read("import coop_edu; torch comes with its first use")
    import torch

    torch.set_num_threads(threads)
    coop_edu.load_clip  # noqa: B018 (imports open_clip, which takes longer than loading)
    clock = Clock()
    clip = coop_edu.load_clip("mini", device="cpu")
    if what == "load":
        return clock.read('load_clip("mini"), once torch and open_clip are imported')
    iconnet = coop_edu.load_dataset("IconNet")
    if what == "zero_shot":
        clock = Clock()
        classifier = coop_edu.ZeroShot(clip, iconnet.classnames, "an icon of a {}.")
        coop_edu.accuracy(classifier, iconnet.test, progress=False)
        return clock.read(f"{len(iconnet.test)} images read and encoded, {len(iconnet.classnames)} prompts")
    shots = coop_edu.extract_features(clip, coop_edu.sample_few_shot(iconnet.train, k=16, seed=1), progress=False)
    learner = coop_edu.PromptLearner(clip, iconnet.classnames, n_ctx=16)
    epochs = EPOCHS if whole else SHORT
    recipe = coop_edu.Recipe(epochs=epochs, views=None)
    clock = Clock()
    coop_edu.Trainer(learner, recipe, progress=False).fit(shots)
    times = EPOCHS // epochs
    note = f"{epochs} epochs of {recipe.steps_per_epoch(len(shots))} steps"
    return clock.read(note if whole else f"{note}, times {times}", times)


class Clock:
    """Started when made.  On one thread, what other programs do is not in the processor time."""

    def __init__(self) -> None:
        self.start, self.start_cpu = time.perf_counter(), time.process_time()

    def read(self, note: str, times: int = 1) -> dict:
        seconds, cpu = time.perf_counter() - self.start, time.process_time() - self.start_cpu
        return {"seconds": times * seconds, "cpu_seconds": times * cpu, "note": note}


if __name__ == "__main__":
    print(json.dumps(seconds_for(sys.argv[1], int(sys.argv[2]), whole="whole" in sys.argv[3:])))
