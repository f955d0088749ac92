"""Captions as the web writes them: a designer's caption somewhere among words that say nothing about the drawing.

An alt text on the web has 10 to 20 words. The name of the thing stands anywhere in it, among file names, shop words,
dates and other languages (Sharma et al. 2018, section 3, list what they had to clean away; CLIP's own data were not
cleaned of it). captions.py has none of that: its captions are short, and the name is among the first words. A text
encoder that has read nothing else is lost behind sixteen context vectors that mean nothing.

So a share of the captions gets foreign tokens before, behind or around it, of three kinds:

    shop     words of download pages. They imitate alt texts.
    other    the caption of another drawing. It imitates pages that show many icons, and alt texts that name several
             things.
    random   tokens drawn from the whole vocabulary. They imitate nothing: they are there so that the encoder stays
             usable behind vectors without meaning, as CLIP's does.

The foreign words are none that describe a drawing (no "outline", no "flat"): those must keep their effect.
"""

import random
from dataclasses import dataclass

SHOP = """free download png svg vector premium stock 24px 512 512x512 buy now shop home page menu site click here
jpg gif set collection kit bundle web ui ux app mobile android ios windows best new top popular trending 2019 2020 2021
2022 2023 by from with for and or the of in on at to your my our all more less view see get use license commercial
personal background isolated image editable graphic element template wallpaper print poster sticker t-shirt mug cheap
sale discount file img dsc 0001 0234 copy final edit resized thumbnail large small medium preview"""
ROOMS = (8, 12, 16, 20, 24)  # tokens between start and end; all captions of a batch have the same room


@dataclass(frozen=True)
class Web:
    """What the second stage of the pretraining reads, and how long. Each field is a lever that was compared."""

    share: float = 0.5  # of the captions that get foreign tokens, where there is room
    shop: float = 1.0  # weights of the three kinds
    other: float = 0.0
    random: float = 1.0
    rooms: tuple[int, ...] = ROOMS
    filled: bool = False  # do the foreign tokens fill the room, or are there one to as many?
    steps: int = 800
    lr: float = 8e-4
    batch_size: int = 256
    temperature: bool = True  # is it learned on?
    views: int = 2  # of each drawing: 1 is the plain one only
    styles: int = 2  # of a thing of a designer, at most, in an epoch
    by_name: bool = False  # are two drawings of one name right answers for each other, or only those of one caption?


# The levers, compared on validation images alone (judge_text.py); assets/MINICLIP.md has the table.
CANDIDATES = {
    "half": Web(),
    "third": Web(share=0.3),
    "most": Web(share=0.7),
    "other": Web(other=2.0),
    "filled": Web(filled=True),
    "filled_most": Web(share=0.7, filled=True),
    "plain": Web(filled=True, views=1),
    "named": Web(views=1, styles=1, by_name=True),
}


class Foreign:
    """Foreign tokens for captions. `others`: captions of other drawings, as token ids."""

    def __init__(self, tokenizer, web: Web):
        self.web, self.words = web, tokenizer.vocab_size - 2  # without start and end
        self.shop = [tokenizer.encode(word) for word in SHOP.split()]

    def tokens(self, n: int, others: list[list[int]], draw: random.Random) -> list[int]:
        """n tokens of one kind."""
        weights = (self.web.shop, self.web.other, self.web.random)
        kind = draw.choices(("shop", "other", "random"), weights)[0]
        found: list[int] = []
        while len(found) < n:
            if kind == "random":
                found.append(draw.randrange(self.words))
            else:
                found += draw.choice(self.shop if kind == "shop" else others)
        return found[:n]

    def around(self, caption: list[int], room: int, others: list[list[int]], draw: random.Random) -> list[int]:
        """The caption alone, or with foreign tokens: half of the time all before it, as a context of CoOp stands."""
        caption = caption[:room]
        if len(caption) == room or draw.random() >= self.web.share:
            return caption
        n = room - len(caption) if self.web.filled else draw.randint(1, room - len(caption))
        before = draw.choice((n, n, 0, draw.randint(0, n)))
        return self.tokens(before, others, draw) + caption + self.tokens(n - before, others, draw)
