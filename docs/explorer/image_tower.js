// MiniCLIP's image tower, by onnxruntime-web: drawings to features. Loaded when somebody draws.

import { floatTensor, rowsOf, session } from "./runtime.js";
import { SIDE } from "./pad.js";

let loading = null;

// drawings: each as the pixels of a Pad. One row of length 1 for each.
export async function imageFeatures(drawings, progress) {
  loading ??= session("image_tower.onnx.gz", progress.expect("runtime", "image_tower"));
  const tower = await loading.catch((error) => {
    loading = null; // the next drawing tries again
    throw error;
  });
  const size = SIDE * SIDE, all = new Float32Array(drawings.length * 3 * size);
  drawings.forEach((pixels, i) => [0, 1, 2].forEach((colour) => all.set(pixels, (3 * i + colour) * size))); // grey
  const { features } = await tower.run({ pixels: floatTensor(all, [drawings.length, 3, SIDE, SIDE]) });
  return rowsOf(features).map((row) => Float32Array.from(row));
}
