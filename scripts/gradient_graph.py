"""The gradient of CoOp's loss in the vectors of the prompts, as a graph of ONNX: the chain rule by hand.

First the text tower (text_tower.py) and the cross entropy over Eq. 3's probabilities; then for each step of both, in
reverse, how the loss changes with what went in.  d_x is the gradient of the loss in x.  In a page this is all that a
training needs, beside a few lines of SGD (docs/explorer/learning.js).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from text_tower import FUNCTIONS, INPUTS, block, forward, graph_of

if TYPE_CHECKING:
    from onnx import ModelProto

GRADIENT = (
    f"gradient ({INPUTS}, float[B, E] images, int64[B] labels) => "
    "(float loss, float[P, D] d_shared, float[K, S, D] d_own, float[K, E] features)"
)
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


def gradient_graph(model: Any) -> ModelProto:
    """The features of the prompts, the loss of a batch of images (rows of length 1), its gradient in the vectors."""
    last = len(model.transformer.resblocks) - 1
    body = forward(model) + block(LOSS, last + 1, last)
    for i in range(last, -1, -1):
        body += block(MLP_BACK, i, last)
        if i == last:  # only the prompts' ends went on from here
            body += block(PICK_BACK, i, last)
        body += block(ATTENTION_BACK, i, last)
    return graph_of(model, GRADIENT, body + GRADIENT_END + FUNCTIONS + BACK_FUNCTIONS)
