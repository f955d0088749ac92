// onnxruntime-web, loaded with the first graph that is computed.

import * as ort from "./ort.js";
import { unpacked } from "./files.js";

let loading = null;

export async function session(graph, arrived) {
  const [bytes] = await Promise.all([unpacked(graph, arrived), runtime(arrived)]);
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
}

// Once; where it failed, the next graph tries again.
function runtime(arrived) {
  loading ??= unpacked("ort.wasm.gz", arrived).then(
    (wasm) => {
      ort.env.wasm.wasmBinary = wasm;
      ort.env.wasm.numThreads = 1; // more of them need headers that a plain server does not send
    },
    (error) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

export function floatTensor(numbers, shape) {
  return new ort.Tensor("float32", numbers, shape);
}

export function wholeTensor(numbers) {
  return new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [numbers.length]);
}

// The rows of a tensor's last dimension.
export function rowsOf(tensor) {
  const width = tensor.dims.at(-1);
  return Array.from({ length: tensor.data.length / width }, (_, i) => tensor.data.subarray(i * width, (i + 1) * width));
}
