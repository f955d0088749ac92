"""What MiniCLIP reads about a drawing: names, categories, sets, authors and tags, as designers publish them.

The captions decide whether prompts matter at all. A text tower that has seen few templates is brittle (any other
wording breaks it), one that has seen many at random is deaf (the wording changes nothing); either way nothing is left
for a learned context to carry. So there is no template of ours around every name: the forms differ by kind of set.

`read_tags` reads the synonyms that some designers publish beside their drawings (npm packages `lucide-static`,
`@tabler/icons`, `emojibase-data`, under ISC and MIT licences); a tag goes with every drawing of the same name.
Leaves out: which drawings are used (build_iconnet.py) and the training (pretrain_miniclip.py).
"""

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import build_iconnet


def read_tags(packages: Path) -> dict[str, list[str]]:
    """{words of a name: synonyms}, from the npm packages in the folder `packages`; empty for those that are missing."""
    found = defaultdict(set)
    lucide = packages / "lucide-static" / "tags.json"
    tabler = packages / "@tabler" / "icons" / "icons.json"
    emoji = packages / "emojibase-data" / "en" / "data.json"
    if lucide.exists():
        for name, tags in json.loads(lucide.read_text()).items():
            found[build_iconnet.plain(name)] |= set(tags)
    if tabler.exists():
        for name, icon in json.loads(tabler.read_text()).items():
            found[build_iconnet.plain(name)] |= {str(tag) for tag in icon["tags"]}
    if emoji.exists():
        for one in json.loads(emoji.read_text()):
            found[build_iconnet.plain(one["label"])] |= set(one.get("tags") or [])
    clean = {
        words: sorted(
            {t.lower() for t in tags if t.replace(" ", "").isalpha() and 2 < len(t) < 25 and t.lower() != words}
        )
        for words, tags in found.items()
    }
    return {words: tags for words, tags in clean.items() if tags}


def kind(c: build_iconnet.Collection, i: int) -> str:
    """What a drawing is, as a designer would say it."""
    drawing = c.drawings[i]
    category = c.sets[drawing.set].get("category", "")
    if "emoji" in drawing.set or category == "Emoji":
        return "emoji"
    if c.is_colour(i):
        return "colour"
    if "duo" in drawing.style.lower() or "two" in drawing.style.lower():
        return "duotone"
    return "solid" if c.is_filled(i) else "outline"


NOUNS = {
    "emoji": ("emoji", "colour emoji", "emoji picture"),
    "colour": ("colour icon", "coloured icon", "colour drawing", "flat colour illustration"),
    "duotone": ("duotone icon", "two-tone icon"),
    "solid": ("icon", "solid icon", "filled icon", "glyph", "silhouette", "pictogram"),
    "outline": ("icon", "line icon", "outline icon", "line drawing", "stroke icon"),
}


@dataclass(frozen=True)
class Facts:
    """What is published about a drawing."""

    words: str  # its name
    what: str  # a key of NOUNS
    style: str
    category: str
    of_set: str
    author: str
    tags: tuple[str, ...]


def facts_of(c: build_iconnet.Collection, i: int, tags: dict[str, list[str]]) -> Facts:
    drawing, of_set = c.drawings[i], c.sets[c.drawings[i].set]
    words = c.words[i]
    return Facts(
        words,
        kind(c, i),
        drawing.style.lower(),
        drawing.category.lower(),
        of_set["name"],
        of_set["author"]["name"],
        tuple(tags.get(words, ())),
    )


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(facts: Facts, *, long: bool, draw: random.Random) -> str:
    """One of the ways in which such a drawing is published: the name, or the name in a full description."""
    words, category, of_set, author = facts.words, facts.category, facts.of_set, facts.author
    noun = draw.choice(NOUNS[facts.what])
    style = facts.style or noun.split()[0]
    a_noun = with_article(noun)
    if long:
        forms = [
            (5, f"{with_article(words)}, drawn as {a_noun} for {of_set} by {author}."),
            (5, f"{style} {noun}, {words}, from the {of_set} icon set by {author}"),
            (5, f"{style} {noun} of {words}, category {category or 'other'}, set {of_set}"),
        ]
        if facts.tags:
            some = ", ".join(draw.sample(facts.tags, min(5, len(facts.tags))))
            forms += [
                (8, f"{a_noun} of {with_article(words)}: {some}"),
                (4, f"{style} {noun}, {words}, {some}"),
            ]
    else:
        forms = [
            (30, words),
            (8, f"{words} icon" if facts.what != "emoji" else f"{words} emoji"),
            (8, f"{words} {noun}"),
            (6, f"{words} {style}"),
            (6, f"{style} {words}"),
            (10, f"{a_noun} of {with_article(words)}."),
            (4, f"{noun} of {words}"),
            (6, f"{words}, {of_set}"),
            (4, f"{of_set}: {words}"),
            (4, f"{words} by {author}"),
        ]
        if category:
            forms += [(7, f"{words}, {category}"), (4, f"{category} icon of {with_article(words)}.")]
        if facts.tags:
            tag = draw.choice(facts.tags)
            forms += [(10, f"{words}, {tag}"), (6, tag), (6, f"{a_noun} of {with_article(tag)}.")]
    return draw.choices([text for _, text in forms], [weight for weight, _ in forms])[0].lower()
