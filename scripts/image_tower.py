"""MiniCLIP's image tower as a graph of ONNX: pixels to features, for what a visitor draws in the page.

It is open_clip's ModifiedResNet: three convolutions, blocks of three with a shortcut around them, and a pooling by
attention, in which only the mean of all places asks.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Any

import torch

from text_tower import with_weights

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

HEADER = """
<ir_version: 9, opset_import: ["" : 20]>
image_tower (float[B, 3, H, W] pixels) => (float[B, E] features)
{
  centred = Sub(pixels, mean)
  image = Div(centred, std)
"""
CONVOLUTION = """
  $y.c = Conv<pads = [$pad, $pad, $pad, $pad], strides = [$stride, $stride]>($x, $name.w)
  $y = BatchNormalization<epsilon = 1e-5>($y.c, $name.scale, $name.bias, $name.mean, $name.var)
"""
RELU = """
  $y = Relu($x)
"""
SUM = """
  $y = Add($x, $shortcut)
"""
HALVE = """
  $y = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>($x)
"""
POOL = """
  flat = Constant<value_ints = [0, 0, -1]>()
  heads = Constant<value_ints = [0, 0, $heads, -1]>()
  one = Constant<value_ints = [1]>()
  minus = Constant<value_ints = [-1]>()
  rows = Reshape($x, flat)
  places = Transpose<perm = [0, 2, 1]>(rows)
  middle = ReduceMean<keepdims = 1>(places, one)
  all = Concat<axis = 1>(middle, places)
  x = Add(all, position)
  zero = Constant<value_ints = [0]>()
  first = Slice(x, zero, one, one)
  q0 = MatMul(first, q_w)
  q1 = Add(q0, q_b)
  q2 = Reshape(q1, heads)
  q = Transpose<perm = [0, 2, 1, 3]>(q2)
  k0 = MatMul(x, k_w)
  k1 = Add(k0, k_b)
  k2 = Reshape(k1, heads)
  k = Transpose<perm = [0, 2, 3, 1]>(k2)
  v0 = MatMul(x, v_w)
  v1 = Add(v0, v_b)
  v2 = Reshape(v1, heads)
  v = Transpose<perm = [0, 2, 1, 3]>(v2)
  dots = MatMul(q, k)
  scaled = Mul(dots, scale)
  attention = Softmax<axis = -1>(scaled)
  mixed = MatMul(attention, v)
  turned = Transpose<perm = [0, 2, 1, 3]>(mixed)
  joined = Reshape(turned, flat)
  out = MatMul(joined, c_w)
  biased = Add(out, c_b)
  raw = Squeeze(biased, one)
  length = ReduceL2<keepdims = 1>(raw, minus)
  features = Div(raw, length)
}
"""


def image_tower(model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> ModelProto:
    """Pixels (B, 3, H, W) from 0 to 1 to features (B, E), of length 1.  ValueError for weights of full precision."""
    from onnx import parser

    visual = model.visual
    lines, weights = [HEADER], {}

    def put(text: str, **names: Any) -> str:
        lines.append(Template(text.replace("$y.c", "${y}_c").replace("$name.", "${name}_")).substitute(names))
        return names.get("y", "")

    def convolve(x: str, name: str, convolution: Any, norm: Any, then: str = RELU) -> str:
        weights[f"{name}_w"] = convolution.weight
        weights.update({f"{name}_scale": norm.weight, f"{name}_bias": norm.bias})
        weights.update({f"{name}_mean": norm.running_mean, f"{name}_var": norm.running_var})
        pad, stride = convolution.padding[0], convolution.stride[0]
        y = put(CONVOLUTION, x=x, y=f"{name}_y", name=name, pad=pad, stride=stride)
        return put(then, x=y, y=f"{name}_r") if then else y

    x = "image"
    for i in (1, 2, 3):
        x = convolve(x, f"stem{i}", getattr(visual, f"conv{i}"), getattr(visual, f"bn{i}"))
    x = put(HALVE, x=x, y="stem")
    blocks = [block for i in (1, 2, 3, 4) for block in getattr(visual, f"layer{i}")]
    for i, block in enumerate(blocks):
        halves = block.stride > 1
        y = convolve(x, f"a{i}", block.conv1, block.bn1)
        y = convolve(y, f"b{i}", block.conv2, block.bn2)
        y = put(HALVE, x=y, y=f"half{i}") if halves else y
        y = convolve(y, f"c{i}", block.conv3, block.bn3, then="")
        if block.downsample is not None:
            x = put(HALVE, x=x, y=f"side{i}") if halves else x
            x = convolve(x, f"d{i}", block.downsample[1], block.downsample[2], then="")
        x = put(RELU, x=put(SUM, x=y, shortcut=x, y=f"sum{i}"), y=f"block{i}")
    pool = visual.attnpool
    put(POOL, x=x, heads=pool.num_heads)
    for name in "qkvc":
        linear = getattr(pool, f"{name}_proj")
        weights |= {f"{name}_w": linear.weight.T, f"{name}_b": linear.bias}
    weights["position"] = pool.positional_embedding
    constants = {"scale": torch.tensor((pool.q_proj.out_features // pool.num_heads) ** -0.5)}
    constants |= {"mean": channels(mean), "std": channels(std)}
    return with_weights(parser.parse_model("".join(lines)), weights, constants)


def channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(3, 1, 1)
