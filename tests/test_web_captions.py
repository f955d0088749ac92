"""The second stage's captions: the designer's caption stays whole, and foreign words describe no drawing."""

import random
import sys
from pathlib import Path

import open_clip
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import captions
from web_captions import SHOP, Foreign, Web

TOKENIZER = open_clip.SimpleTokenizer(context_length=48)
CAPTION, OTHERS = TOKENIZER.encode("a line icon of a cat."), [TOKENIZER.encode("house by somebody")]


def surrounded(web: Web, room: int = 20, n: int = 400) -> list[list[int]]:
    foreign, draw = Foreign(TOKENIZER, web), random.Random(0)
    return [foreign.around(CAPTION, room, OTHERS, draw) for _ in range(n)]


@pytest.mark.parametrize("kind", ["shop", "other", "random"])
def test_the_caption_stays_whole_among_foreign_tokens(kind):
    only = {"shop": 0.0, "other": 0.0, "random": 0.0} | {kind: 1.0}
    for text in surrounded(Web(share=1.0, **only)):
        places = [i for i in range(len(text)) if text[i : i + len(CAPTION)] == CAPTION]
        assert places and len(CAPTION) < len(text) <= 20
        assert max(text) < TOKENIZER.sot_token_id  # no start or end in the middle of a text


def test_half_of_the_noisy_captions_stand_at_the_end_as_behind_a_context():
    ends = [text[-len(CAPTION) :] == CAPTION for text in surrounded(Web(share=1.0))]
    starts = [text[: len(CAPTION)] == CAPTION for text in surrounded(Web(share=1.0))]
    assert 0.45 < sum(ends) / len(ends) < 0.65 and 0.2 < sum(starts) / len(starts) < 0.4


def test_the_share_of_noisy_captions():
    noisy = [text != CAPTION for text in surrounded(Web(share=0.3), n=2000)]
    assert 0.26 < sum(noisy) / len(noisy) < 0.34
    assert all(text == CAPTION for text in surrounded(Web(share=0.0)))


def test_no_foreign_word_describes_a_drawing():
    described = {word for nouns in captions.NOUNS.values() for noun in nouns for word in noun.split()}
    assert not described & set(SHOP.split())
