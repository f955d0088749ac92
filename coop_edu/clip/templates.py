"""Templates: sentences with a {} for the class name, and class names as they stand in them (paper's Appendix A)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer

# ImageNet's list of 1000 names, and the parts of it that the variants use, has these two names twice (two kinds of
# missile, two entries for sunglasses).  The authors keep them, so these four classes share two prompts.
IMAGENET_TWINS = ("missile", "sunglasses")
MAX_LETTERS = 1000  # of a name or sentence: more do not fit, and CLIP's tokenizer takes minutes over a long word
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
    """The names as a tuple.  Raises ValueError for a single string, because tuple() would split it into letters.

    >>> several_names(["cat", "dog"])
    ('cat', 'dog')
    """
    if isinstance(names, str):
        raise ValueError(f"expected a list of at least one class name, got {names!r}: for one class, [{names!r}]")
    return tuple(names)


def class_rows(known: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """The row of each wanted class among the known ones, None for a class without one.

    Names match if their tokens are equal.  A name that occurs twice (IMAGENET_TWINS) is matched in order.

    >>> class_rows(["missile", "cat", "missile"], ["missile", "missile", "dog"])
    [0, 2, None]
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, name in enumerate(known):
        rows.setdefault(as_read(name), []).append(row)
    return [rows[as_read(name)].pop(0) if rows.get(as_read(name)) else None for name in wanted]


@lru_cache(maxsize=100_000)
def as_read(name: str) -> tuple[int, ...]:
    """The token numbers of a name.  Names with equal tokens make the same prompt.

    Case, the Unicode form of accents, curly quotes and HTML entities ("&amp;") make no difference.

    >>> as_read("caf\\u00e9") == as_read("Cafe\\u0301"), as_read("\\u201cpop\\u201d art") == as_read('"pop" art')
    (True, True)
    """
    return tuple(_tokenizer().encode(check_length(name).replace("_", " ")))


@cache
def _tokenizer() -> SimpleTokenizer:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def check_length(text: str) -> str:
    """The text.  Raises ValueError if it is too long for CLIP."""
    if len(text) > MAX_LETTERS:
        raise ValueError(
            f"a text of {len(text):,} characters is too long for CLIP, which reads a sentence: shorten {text[:60]!r}"
        )
    return text


def check_marks(text: str) -> None:
    """ValueError for a text that contains CLIP's start or end token, because CLIP ignores what follows."""
    tokens = _tokenizer().encode(check_length(text))
    marks = [mark for mark, token in MARKS.items() if token in tokens]
    if marks:
        raise ValueError(f"{text!r} contains CLIP's {marks[0]} token: remove it")


def clean_classnames(names: Sequence[str]) -> tuple[str, ...]:
    """Class names as they stand in prompts: underscores and runs of spaces become one space.

    Raises ValueError for no names at all, a single string, a name that is empty, too long or contains CLIP's start or
    end token, and for names that CLIP cannot tell apart (`as_read`).  ImageNet's two duplicate names are allowed in
    lists of at least 200 classes.

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
            raise ValueError(f"class name {name!r} has no letter that CLIP can read")
    twins = [as_read(name) for name in IMAGENET_TWINS] if len(cleaned) >= 200 else []
    count = Counter(readings)
    repeated = [name for name, tokens in zip(cleaned, readings) if count[tokens] > (2 if tokens in twins else 1)]
    if repeated:
        raise ValueError(
            f"class names appear more than once for CLIP: {repeated[:5]} (it ignores case, underscores and the form of "
            "accents and quotes). Merge the classes, or add a word that distinguishes them."
        )
    return cleaned


def fill(template: str, classnames: Sequence[str]) -> list[str]:
    """One sentence per class.  ValueError unless the template has exactly one {} and no start or end token of CLIP.

    >>> fill("a photo of a {}.", ["cat", "hot_air_balloon"])
    ['a photo of a cat.', 'a photo of a hot air balloon.']
    """
    if template.count("{}") != 1:
        raise ValueError(f'expected a template with exactly one {{}}, such as "a photo of a {{}}.", got {template!r}')
    check_marks(template)
    return [template.replace("{}", name) for name in clean_classnames(classnames)]
