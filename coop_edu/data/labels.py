"""Checks that labels and class names agree: within a list of examples, and between data and a classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from coop_edu.clip.templates import as_read
from coop_edu.data.dataset import Example


def label_names(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class name of each label, "" for a label without an image.  ValueError if a label has two names.

    >>> from pathlib import Path
    >>> label_names([Example(Path("1.png"), 1, "dog")])
    ('', 'dog')
    """
    names: dict[int, str] = {}
    for example in examples:
        first_name = names.setdefault(example.label, example.classname)
        if first_name != example.classname and as_read(first_name) != as_read(example.classname):
            raise ValueError(
                f"label {example.label} is {first_name!r} and {example.classname!r}: the examples come from different "
                "datasets"
            )
    return tuple(names.get(label, "") for label in range(max(names) + 1))


def distinct_names(classnames: Sequence[str]) -> tuple[str, ...]:
    """The names as keys, one per class.  A name that several classes have, as two of ImageNet's do, gets its label.

    >>> distinct_names(["crane", "cat", "crane"])
    ('crane (class 0)', 'cat', 'crane (class 2)')
    """
    count = Counter(classnames)
    return tuple(f"{name} (class {label})" if count[name] > 1 else name for label, name in enumerate(classnames))


def check_same_classes(names: Sequence[str], classnames: Sequence[str]) -> None:
    """ValueError if a label's name in the data ("" if unknown) differs from the classifier's.

    >>> check_same_classes(("", "dog"), ("cat", "dog", "eel"))
    """
    wrong = [
        f"label {label} is {name!r} in the data and {classifier_name!r} in the classifier"
        for label, (name, classifier_name) in enumerate(zip(names, classnames, strict=False))
        if name and name != classifier_name and as_read(name) != as_read(classifier_name)
    ]
    if len(names) > len(classnames):
        wrong.append(f"the data have {len(names)} classes and the classifier {len(classnames)}")
    if wrong:
        raise ValueError(
            f"data and classifier disagree on the classes: {'; '.join(wrong[-5:])}. Make the classifier with the "
            "dataset's own classnames, or use classifier.with_classnames(dataset.classnames)."
        )
