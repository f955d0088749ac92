"""MiniCLIP's text tower as a graph of ONNX, which onnxruntime-web computes in a page.

It is what open_clip's encode_text does, written out in ONNX's own notation, so that no exporter of any version of torch
has a say in it.  A text may be shorter than CLIP's longest: nothing after its end matters.  Weights stay in half
precision, as they are shipped, and become float32 where they are used.

Leaves out: the tokenizer (docs/explorer/tokenizer.js) and the image tower; the page has its images' features.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

START = """
<ir_version: 9, opset_import: ["" : 20]>
text_tower (int64[K, L] ids) => (float[K, E] features)
{
  zero = Constant<value_ints = [0]>()
  length = Shape<start = 1, end = 2>(ids)
  rows = Gather(words, ids)
  embedded = Cast<to = 1>(rows)
  places = Slice(position, zero, length, zero)
  both = Constant<value_ints = [0, 0]>()
  axes = Constant<value_ints = [0, 1]>()
  size = Concat<axis = 0>(length, length)
  mask = Slice(causal, both, size, axes)
  heads = Constant<value_ints = [0, 0, $heads, -1]>()
  wide = Constant<value_ints = [0, 0, -1]>()
  x0 = Add(embedded, places)
"""
BLOCK = """
  n$i = LayerNormalization<epsilon = 1e-5>(x$i, ln1_w$i, ln1_b$i)
  in$i = MatMul(n$i, qkv_w$i)
  qkv$i = Add(in$i, qkv_b$i)
  q$i, k$i, v$i = Split<axis = 2, num_outputs = 3>(qkv$i)
  q4$i = Reshape(q$i, heads)
  k4$i = Reshape(k$i, heads)
  v4$i = Reshape(v$i, heads)
  query$i = Transpose<perm = [0, 2, 1, 3]>(q4$i)
  key$i = Transpose<perm = [0, 2, 3, 1]>(k4$i)
  value$i = Transpose<perm = [0, 2, 1, 3]>(v4$i)
  dots$i = MatMul(query$i, key$i)
  scaled$i = Mul(dots$i, scale)
  masked$i = Add(scaled$i, mask)
  attention$i = Softmax<axis = -1>(masked$i)
  mixed$i = MatMul(attention$i, value$i)
  ordered$i = Transpose<perm = [0, 2, 1, 3]>(mixed$i)
  joined$i = Reshape(ordered$i, wide)
  out$i = MatMul(joined$i, out_w$i)
  attended$i = Add(out$i, out_b$i)
  y$i = Add(x$i, attended$i)
  m$i = LayerNormalization<epsilon = 1e-5>(y$i, ln2_w$i, ln2_b$i)
  up$i = MatMul(m$i, up_w$i)
  biased$i = Add(up$i, up_b$i)
  gel$i = Gelu(biased$i)
  down$i = MatMul(gel$i, down_w$i)
  mlp$i = Add(down$i, down_b$i)
  x$next = Add(y$i, mlp$i)
"""
END = """
  ends = ArgMax<axis = 1, keepdims = 1>(ids)
  at_end = GatherND<batch_dims = 1>(x$i, ends)
  final = LayerNormalization<epsilon = 1e-5>(at_end, ln_w, ln_b)
  features = MatMul(final, projection)
}
"""


def text_tower(model: Any) -> ModelProto:
    """Token numbers (K, L) to text features (K, E), not normalised.  ValueError for weights of full precision."""
    from onnx import checker, helper, numpy_helper, parser

    attention = model.transformer.resblocks[0].attn
    layers = len(model.transformer.resblocks)
    blocks = [Template(BLOCK).substitute(i=i, next=i + 1) for i in range(layers)]
    start, end = Template(START).substitute(heads=attention.num_heads), Template(END).substitute(i=layers)
    tower = parser.parse_model("".join([start, *blocks, end]))
    constants = {"scale": torch.tensor(attention.head_dim**-0.5), "causal": model.attn_mask}
    casts = []
    for name, weight in weights(model).items():
        half = weight.half()
        if not torch.equal(half.float(), weight):
            raise ValueError(f"{name} has values that half precision would change")
        stored = name if name == "words" else f"{name}_half"  # of the words only the rows in use become float32
        constants[stored] = half
        if stored != name:
            casts.append(helper.make_node("Cast", [stored], [name], to=1))
    nodes = [*casts, *tower.graph.node]
    del tower.graph.node[:]
    tower.graph.node.extend(nodes)
    tower.graph.initializer.extend(
        numpy_helper.from_array(value.contiguous().numpy(), name) for name, value in constants.items()
    )
    checker.check_model(tower)
    return tower


def weights(model: Any) -> dict[str, Tensor]:
    """{name in the graph: weight}; a matrix is (in, out), as MatMul takes it."""
    found = {"words": model.token_embedding.weight, "position": model.positional_embedding}
    for i, block in enumerate(model.transformer.resblocks):
        matrices = {
            "qkv": (block.attn.in_proj_weight, block.attn.in_proj_bias),
            "out": (block.attn.out_proj.weight, block.attn.out_proj.bias),
            "up": (block.mlp.c_fc.weight, block.mlp.c_fc.bias),
            "down": (block.mlp.c_proj.weight, block.mlp.c_proj.bias),
        }
        found |= {f"{name}_w{i}": weight.T for name, (weight, _) in matrices.items()}
        found |= {f"{name}_b{i}": bias for name, (_, bias) in matrices.items()}
        found |= {f"ln1_w{i}": block.ln_1.weight, f"ln1_b{i}": block.ln_1.bias}
        found |= {f"ln2_w{i}": block.ln_2.weight, f"ln2_b{i}": block.ln_2.bias}
    return found | {"ln_w": model.ln_final.weight, "ln_b": model.ln_final.bias, "projection": model.text_projection}
