"""MiniCLIP's text tower as a graph of ONNX, which onnxruntime-web computes in a page.

It is what open_clip's encode_text does, written out in ONNX's own notation, so that no exporter of any version of torch
has a say in it.  K prompts come as a list of P + K * S vectors: the P that all prompts start with, once, then S of
each.  Each sees the shared ones and the earlier ones of its own prompt, as in coop_edu/clip/prompt_encoder.py; what
stands after a prompt's end matters to nothing.  Weights stay in half precision, as they are shipped, and become float32
when a graph is loaded.

Leaves out: the tokenizer and the word embeddings, which the page has once for all graphs (docs/explorer/words.js), and
the way back, from the loss to the vectors (gradient_graph.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

# shared: the common start; own: the rest of each prompt; ends: where the last token of each is in the list of both.
INPUTS = "float[P, D] shared, float[K, S, D] own, int64[K] ends"
FEATURES = f"text_tower ({INPUTS}) => (float[K, E] features)"
HEADER = """<ir_version: 9, opset_import: ["" : 20, "own" : 1]>"""
START = """
{
  zero = Constant<value_ints = [0]>()
  one = Constant<value_ints = [1]>()
  P = Shape<start = 0, end = 1>(shared)
  K = Shape<start = 0, end = 1>(own)
  S = Shape<start = 1, end = 2>(own)
  L = Add(P, S)
  rows = Mul(K, S)
  counts = Concat<axis = 0>(P, rows)
  lengths = Concat<axis = 0>(P, S)
  D = Shape<start = 1, end = 2>(shared)
  minus = Constant<value_ints = [-1]>()
  flat = Concat<axis = 0>(minus, D)
  copies = Concat<axis = 0>(one, K, one, one, one)
  split_heads = Constant<value_ints = [$heads, -1]>()
  three = Constant<value_ints = [3]>()
  heads_s = Concat<axis = 0>(one, P, three, split_heads)
  heads_o = Concat<axis = 0>(K, S, three, split_heads)
  D3 = Mul(D, three)
  flat3 = Concat<axis = 0>(minus, D3)
  head_s = Concat<axis = 0>(one, P, one, split_heads)
  head_o = Concat<axis = 0>(K, S, one, split_heads)
  both = Constant<value_ints = [0, 1]>()
  origin = Constant<value_ints = [0, 0]>()
  below = Concat<axis = 0>(P, zero)
  square_s = Concat<axis = 0>(P, P)
  square_o = Concat<axis = 0>(L, L)
  mask_s = Slice(causal, origin, square_s, both)
  mask_o = Slice(causal, below, square_o, both)
  places_s = Slice(position, zero, P, zero)
  places_o = Slice(position, P, L, zero)
  first_s = Add(shared, places_s)
  first_o = Add(own, places_o)
  first = Reshape(first_o, flat)
  x0 = Concat<axis = 0>(first_s, first)
  N = Add(P, rows)
  off_on = Constant<value_floats = [0.0, 1.0]>()
  count = Squeeze(N)
  pick = OneHot(ends, count, off_on)
"""
ATTENTION = """
  n$i, n_mean$i, n_inv$i = LayerNormalization<epsilon = 1e-5>(x$i, ln1_w$i, ln1_b$i)
  qkv$i = Gemm(n$i, qkv_w$i, qkv_b$i)
  qkv_s$i, qkv_o$i = Split<axis = 0>(qkv$i, counts)
  q_s$i, k_s$i, v_s$i = own.to_heads(qkv_s$i, heads_s)
  q_o$i, k_o$i, v_o$i = own.to_heads(qkv_o$i, heads_o)
  k_copies$i = Expand(k_s$i, copies)
  v_copies$i = Expand(v_s$i, copies)
  k_all$i = Concat<axis = 3>(k_copies$i, k_o$i)
  v_all$i = Concat<axis = 3>(v_copies$i, v_o$i)
  out_s$i, a_s$i = own.attend(q_s$i, k_s$i, v_s$i, mask_s, scale)
  out_o$i, a_o$i = own.attend(q_o$i, k_all$i, v_all$i, mask_o, scale)
  flat_s$i = own.from_heads(out_s$i, flat)
  flat_o$i = own.from_heads(out_o$i, flat)
  joined$i = Concat<axis = 0>(flat_s$i, flat_o$i)
  attended$i = Gemm(joined$i, out_w$i, out_b$i)
  y$i = Add(x$i, attended$i)
"""
PICK = """
  z$i = MatMul(pick, y$i)
"""
MLP = """
  m$i, m_mean$i, m_inv$i = LayerNormalization<epsilon = 1e-5>($y$i, ln2_w$i, ln2_b$i)
  up$i = Gemm(m$i, up_w$i, up_b$i)
  gelu$i, below$i = own.gelu(up$i)
  down$i = Gemm(gelu$i, down_w$i, down_b$i)
  x$next = Add($y$i, down$i)
"""
END = """
  final, f_mean, f_inv = LayerNormalization<epsilon = 1e-5>(x$i, ln_w, ln_b)
  raw = MatMul(final, projection)
  length = ReduceL2<keepdims = 1>(raw, minus)
  features = Div(raw, length)
"""
FUNCTIONS = """
}
<domain: "own", opset_import: ["" : 20]>
to_heads (x, shape) => (q, k, v)
{
  parts = Reshape(x, shape)
  ordered = Transpose<perm = [2, 0, 3, 1, 4]>(parts)
  q, k, v = Split<axis = 0, num_outputs = 3>(ordered)
}
<domain: "own", opset_import: ["" : 20]>
from_heads (x, shape) => (joined)
{
  ordered = Transpose<perm = [1, 3, 0, 2, 4]>(x)
  joined = Reshape(ordered, shape)
}
<domain: "own", opset_import: ["" : 20]>
attend (q, k, v, mask, scale) => (out, a)
{
  key = Transpose<perm = [0, 1, 2, 4, 3]>(k)
  dots = MatMul(q, key)
  scaled = Mul(dots, scale)
  masked = Add(scaled, mask)
  a = Softmax<axis = -1>(masked)
  out = MatMul(a, v)
}
<domain: "own", opset_import: ["" : 20]>
gelu (x) => (y, below)
{
  root = Constant<value_float = 0.7071067811865476>()
  half = Constant<value_float = 0.5>()
  z = Mul(x, root)
  e = Erf(z)
  halved = Mul(e, half)
  below = Add(halved, half)
  y = Mul(x, below)
}
"""


def text_tower(model: Any) -> ModelProto:
    """Vectors of prompts to their text features (K, E), of length 1.  ValueError for weights of full precision."""
    return graph_of(model, FEATURES, forward(model) + FUNCTIONS)


def forward(model: Any) -> str:
    """From the vectors to the features; after the last attention only the prompts' ends are looked at."""
    blocks, heads = model.transformer.resblocks, model.transformer.resblocks[0].attn.num_heads
    last = len(blocks) - 1
    parts = [Template(START).substitute(heads=heads)]
    for i in range(len(blocks)):
        parts += [block(ATTENTION, i, last), block(PICK, i, last) if i == last else "", block(MLP, i, last)]
    return "".join([*parts, block(END, last + 1, last)])


def block(text: str, i: int, last: int) -> str:
    """The lines of block i; of the last one, only the ends (z) of what attention gave (y) go on."""
    return Template(text).substitute(i=i, next=i + 1, y="z" if i == last else "y")


def graph_of(model: Any, signature: str, body: str) -> ModelProto:
    """A graph with the tower's weights."""
    from onnx import parser

    constants = {
        "scale": torch.tensor(model.transformer.resblocks[0].attn.head_dim ** -0.5),
        "causal": model.attn_mask,
        "inverse_temperature": model.logit_scale.detach().exp(),
    }
    return with_weights(parser.parse_model("\n".join([HEADER, signature, body])), weights(model), constants)


def with_weights(graph: ModelProto, weights: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> ModelProto:
    """The graph with its weights, in half precision.  ValueError for a weight that half precision would change."""
    from onnx import checker, helper, numpy_helper

    values, casts = dict(constants), []
    for name, weight in weights.items():
        half = weight.detach().half()
        if not torch.equal(half.float(), weight):
            raise ValueError(f"{name} has values that half precision would change")
        values[f"{name}_half"] = half
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=1))
    nodes = [*casts, *graph.graph.node]
    used = {name for node in nodes for name in node.input}
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(
        numpy_helper.from_array(value.contiguous().numpy(), name) for name, value in values.items() if name in used
    )
    checker.check_model(graph)
    return graph


def weights(model: Any) -> dict[str, Tensor]:
    """{name in the graph: weight}; a matrix is (in, out), as MatMul and Gemm take it."""
    found = {"position": model.positional_embedding}
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
