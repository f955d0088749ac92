"""MiniCLIP's text tower as graphs of ONNX, which onnxruntime-web computes in a page: its features, and its gradient.

Both are written out in ONNX's own notation, so that no exporter of any version of torch has a say in them.  The second
one holds the chain rule by hand: for each step of the tower, in reverse, how the loss changes with what went in.

K prompts come as a list of P + K * S vectors: the P that all prompts start with, once, then S of each.  Each sees the
shared ones and the earlier ones of its own prompt, as in coop_edu/clip/prompt_encoder.py; what stands after a prompt's
end matters to nothing.  Weights stay in half precision, as they are shipped, and become float32 when a graph is loaded.

Leaves out: the tokenizer and the word embeddings, which the page has once for both (docs/explorer/words.js).
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
GRADIENT = (
    f"gradient ({INPUTS}, float[B, E] images, int64[B] labels) => "
    "(float loss, float[P, D] d_shared, float[K, S, D] d_own, float[K, E] features)"
)
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
# Cross entropy over Eq. 3, and how it changes with the logits, the features and what the last block gave.
LOSS = """
  by_image = Transpose<perm = [1, 0]>(features)
  cosines = MatMul(images, by_image)
  logits = Mul(cosines, inverse_temperature)
  classes = Squeeze(K)
  onehot = OneHot(labels, classes, off_on)
  log_p = LogSoftmax<axis = -1>(logits)
  right = Mul(onehot, log_p)
  total = ReduceSum<keepdims = 0>(right)
  B = Shape<start = 0, end = 1>(images)
  B_float = Cast<to = 1>(B)
  B_scalar = Squeeze(B_float)
  mean = Div(total, B_scalar)
  loss = Neg(mean)
  p = Exp(log_p)
  error = Sub(p, onehot)
  d_mean = Div(error, B_scalar)
  d_logits = Mul(d_mean, inverse_temperature)
  d_cosines = Transpose<perm = [1, 0]>(d_logits)
  d_features = MatMul(d_cosines, images)
  along = Mul(d_features, features)
  along_sum = ReduceSum<keepdims = 1>(along, minus)
  stretch = Mul(features, along_sum)
  turn = Sub(d_features, stretch)
  d_raw = Div(turn, length)
  d_final = Gemm<transB = 1>(d_raw, projection)
  d_x$i = own.norm_back(d_final, x$i, f_mean, f_inv, ln_w)
"""
MLP_BACK = """
  d_gelu$i = Gemm<transB = 1>(d_x$next, down_w$i)
  d_up$i = own.gelu_back(d_gelu$i, up$i, below$i)
  d_m$i = Gemm<transB = 1>(d_up$i, up_w$i)
  d_ln2$i = own.norm_back(d_m$i, $y$i, m_mean$i, m_inv$i, ln2_w$i)
  d_$y$i = Add(d_x$next, d_ln2$i)
"""
PICK_BACK = """
  unpick = Transpose<perm = [1, 0]>(pick)
  d_y$i = MatMul(unpick, d_z$i)
"""
ATTENTION_BACK = """
  d_joined$i = Gemm<transB = 1>(d_y$i, out_w$i)
  d_flat_s$i, d_flat_o$i = Split<axis = 0>(d_joined$i, counts)
  d_out_s$i = own.to_head(d_flat_s$i, head_s)
  d_out_o$i = own.to_head(d_flat_o$i, head_o)
  d_q_s$i, d_k_s$i, d_v_s$i = own.attend_back(d_out_s$i, a_s$i, q_s$i, k_s$i, v_s$i, scale)
  d_q_o$i, d_k_all$i, d_v_all$i = own.attend_back(d_out_o$i, a_o$i, q_o$i, k_all$i, v_all$i, scale)
  d_k_copies$i, d_k_o$i = Split<axis = 3>(d_k_all$i, lengths)
  d_v_copies$i, d_v_o$i = Split<axis = 3>(d_v_all$i, lengths)
  d_k_sum$i = ReduceSum<keepdims = 1>(d_k_copies$i, one)
  d_v_sum$i = ReduceSum<keepdims = 1>(d_v_copies$i, one)
  d_k_each$i = Add(d_k_s$i, d_k_sum$i)
  d_v_each$i = Add(d_v_s$i, d_v_sum$i)
  d_qkv_s$i = own.to_heads_back(d_q_s$i, d_k_each$i, d_v_each$i, flat3)
  d_qkv_o$i = own.to_heads_back(d_q_o$i, d_k_o$i, d_v_o$i, flat3)
  d_qkv$i = Concat<axis = 0>(d_qkv_s$i, d_qkv_o$i)
  d_n$i = Gemm<transB = 1>(d_qkv$i, qkv_w$i)
  d_ln1$i = own.norm_back(d_n$i, x$i, n_mean$i, n_inv$i, ln1_w$i)
  d_x$i = Add(d_y$i, d_ln1$i)
"""
GRADIENT_END = """
  d_shared, d_rest = Split<axis = 0>(d_x0, counts)
  own_shape = Shape(own)
  d_own = Reshape(d_rest, own_shape)
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
BACK_FUNCTIONS = """
<domain: "own", opset_import: ["" : 20]>
to_head (x, shape) => (y)
{
  parts = Reshape(x, shape)
  y = Transpose<perm = [2, 0, 3, 1, 4]>(parts)
}
<domain: "own", opset_import: ["" : 20]>
to_heads_back (q, k, v, shape) => (x)
{
  parts = Concat<axis = 0>(q, k, v)
  ordered = Transpose<perm = [1, 3, 0, 2, 4]>(parts)
  x = Reshape(ordered, shape)
}
<domain: "own", opset_import: ["" : 20]>
attend_back (d_out, a, q, k, v, scale) => (d_q, d_k, d_v)
{
  last = Constant<value_ints = [-1]>()
  a_turned = Transpose<perm = [0, 1, 2, 4, 3]>(a)
  d_v = MatMul(a_turned, d_out)
  v_turned = Transpose<perm = [0, 1, 2, 4, 3]>(v)
  d_a = MatMul(d_out, v_turned)
  weighted = Mul(d_a, a)
  sum = ReduceSum<keepdims = 1>(weighted, last)
  away = Sub(d_a, sum)
  d_masked = Mul(a, away)
  d_dots = Mul(d_masked, scale)
  d_q = MatMul(d_dots, k)
  d_turned = Transpose<perm = [0, 1, 2, 4, 3]>(d_dots)
  d_k = MatMul(d_turned, q)
}
<domain: "own", opset_import: ["" : 20]>
gelu_back (d_y, x, below) => (d_x)
{
  minus_half = Constant<value_float = -0.5>()
  density = Constant<value_float = 0.3989422804014327>()
  square = Mul(x, x)
  exponent = Mul(square, minus_half)
  bell = Exp(exponent)
  height = Mul(bell, density)
  slope = Mul(x, height)
  whole = Add(below, slope)
  d_x = Mul(d_y, whole)
}
<domain: "own", opset_import: ["" : 20]>
norm_back (d_y, x, mean, inv, weight) => (d_x)
{
  last = Constant<value_ints = [-1]>()
  centred = Sub(x, mean)
  normed = Mul(centred, inv)
  g = Mul(d_y, weight)
  g_mean = ReduceMean<keepdims = 1>(g, last)
  g_normed = Mul(g, normed)
  slope = ReduceMean<keepdims = 1>(g_normed, last)
  tilt = Mul(normed, slope)
  level = Sub(g, g_mean)
  rest = Sub(level, tilt)
  d_x = Mul(rest, inv)
}
"""


def text_tower(model: Any) -> ModelProto:
    """Vectors of prompts to their text features (K, E), of length 1.  ValueError for weights of full precision."""
    return _graph(model, FEATURES, _forward(model) + FUNCTIONS)


def gradient_graph(model: Any) -> ModelProto:
    """The same, with the loss of a batch of images (features of length 1), and its gradient in all the vectors."""
    last = len(model.transformer.resblocks) - 1
    back = [
        LOSS.replace("$i", str(last + 1)),
        *(
            _block(MLP_BACK, i, last)
            + (PICK_BACK.replace("$i", str(i)) if i == last else "")
            + _block(ATTENTION_BACK, i, last)
            for i in range(last, -1, -1)
        ),
    ]
    body = _forward(model) + "".join([*back, GRADIENT_END])
    return _graph(model, GRADIENT, body + FUNCTIONS + BACK_FUNCTIONS)


def _forward(model: Any) -> str:
    """From the vectors to the features; after the last attention only the prompts' ends are looked at."""
    blocks, heads = model.transformer.resblocks, model.transformer.resblocks[0].attn.num_heads
    last = len(blocks) - 1
    parts = [Template(START).substitute(heads=heads)]
    for i in range(len(blocks)):
        parts += [_block(ATTENTION, i, last), _block(PICK, i, last) if i == last else "", _block(MLP, i, last)]
    return "".join([*parts, _block(END, last + 1, last)])


def _block(text: str, i: int, last: int) -> str:
    return Template(text).substitute(i=i, next=i + 1, y="z" if i == last else "y")


def _graph(model: Any, signature: str, body: str) -> ModelProto:
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
