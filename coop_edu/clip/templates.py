"""Templates: sentences with a {} for the class name, and class names as they stand in them (paper's Appendix A).

Leaves out: the classifier that they make (zero_shot.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer

# ImageNet's list of 1000 names, and the parts of it that the variants use, has these two names twice (two kinds of
# missile, two entries for sunglasses).  The authors keep them, so the four classes have two prompts between them.
IMAGENET_TWINS = ("missile", "sunglasses")
LONGEST = 1000  # letters of a name or sentence: more do not fit, and CLIP's tokenizer takes minutes over a long word
MARKS = {"start": 49406, "end": 49407}  # the token numbers that CLIP puts around every text


def __getattr__(name: str) -> list[str]:
    """IMAGENET_TEMPLATES_7 (the paper's ensemble) and OPENAI_TEMPLATES_80, as open_clip has them."""
    import open_clip

    if name == "IMAGENET_TEMPLATES_7":
        return [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    if name == "OPENAI_TEMPLATES_80":
        return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def several_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple.  Raises ValueError for a single text, of which a tuple would have the letters.

    >>> several_names(["cat", "dog"])
    ('cat', 'dog')
    """
    if isinstance(names, str):
        raise ValueError(f"expected a list of at least one class name, got {names!r}: for one class, [{names!r}]")
    return tuple(names)


def class_rows(known: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """The row of each wanted class among the known ones, None for a class without one.

    Names are the same where CLIP reads the same.  Of a name that stands twice (IMAGENET_TWINS) the first wanted class
    has the first row, the second the second.

    >>> class_rows(["missile", "cat", "missile"], ["missile", "missile", "dog"])
    [0, 2, None]
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, name in enumerate(known):
        rows.setdefault(as_read(name), []).append(row)
    return [rows[as_read(name)].pop(0) if rows.get(as_read(name)) else None for name in wanted]


@lru_cache(maxsize=100_000)
def as_read(name: str) -> tuple[int, ...]:
    """What CLIP reads of a name: its token numbers.  Names of one reading make one prompt, whatever they look like.

    Letters and accents may be one character or two, quotes straight or curly, "&" written "&amp;", capitals small.

    >>> as_read("caf\\u00e9") == as_read("Cafe\\u0301"), as_read("\\u201cpop\\u201d art") == as_read('"pop" art')
    (True, True)
    """
    return tuple(_tokenizer().encode(check_length(name).replace("_", " ")))


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def check_length(text: str) -> str:
    """The text, if it is short enough to be read.  ValueError where not."""
    if len(text) > LONGEST:
        raise ValueError(
            f"a text of {len(text):,} characters is too long for CLIP, which reads a sentence: shorten {text[:60]!r}"
        )
    return text


def check_marks(text: str) -> None:
    """ValueError for a text that holds CLIP's own start or end mark, in any spelling: what follows it is not read."""
    tokens = _tokenizer().encode(check_length(text))
    found = [mark for mark, token in MARKS.items() if token in tokens]
    if found:
        raise ValueError(f"{text!r} holds CLIP's own mark of the {found[0]} of a text: take it out")


def clean_classnames(names: Sequence[str]) -> tuple[str, ...]:
    """Class names as they stand in prompts: underscores and runs of spaces become one space.

    Raises ValueError for no names at all, a single string, a name that is empty, too long or holds CLIP's own marks,
    and for names that CLIP cannot tell apart (`as_read`); ImageNet's own two twins, in a list of its length, are let
    through.

    >>> clean_classnames(["hot_air_balloon", "grand  piano"])
    ('hot air balloon', 'grand piano')
    """
    names = several_names(names)
    if not names:
        raise ValueError("expected a list of at least one class name, got none")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"expected class names as text, got {name!r} ({type(name).__name__}): labels are not names"
            )
    cleaned = tuple(" ".join(name.replace("_", " ").split()) for name in names)
    if "" in cleaned:
        empty = cleaned.index("")
        raise ValueError(f"class {empty} of {len(cleaned)} has an empty name, {names[empty]!r}: give it one")
    readings = [as_read(name) for name in cleaned]
    for name, reading in zip(cleaned, readings):
        check_marks(name)
        if not reading:
            raise ValueError(f"class name {name!r} has nothing that CLIP could read")
    twins = [as_read(name) for name in IMAGENET_TWINS] if len(cleaned) >= 200 else []
    count = Counter(readings)
    repeated = [name for name, tokens in zip(cleaned, readings) if count[tokens] > (2 if tokens in twins else 1)]
    if repeated:
        raise ValueError(
            f"class names appear more than once: {repeated[:5]}. Names that CLIP reads alike (small and capital "
            f"letters, "
            "underscores, kinds of quotes and accents aside) make equal prompts, which no image can tell apart: merge "
            "the classes, or add a word that distinguishes them."
        )
    return cleaned


def fill(template: str, classnames: Sequence[str]) -> list[str]:
    """One sentence per class.  ValueError unless the template has exactly one {} and none of CLIP's own marks.

    >>> fill("a photo of a {}.", ["cat", "hot_air_balloon"])
    ['a photo of a cat.', 'a photo of a hot air balloon.']
    """
    if template.count("{}") != 1:
        raise ValueError(f'expected a template with exactly one {{}}, such as "a photo of a {{}}.", got {template!r}')
    check_marks(template)
    return [template.replace("{}", name) for name in clean_classnames(classnames)]
