// MiniCLIP's text tower, by onnxruntime-web: prompts to features, and the gradient of the loss in a learned context.
//
// A prompt is a list of pieces. A piece is a token's number, or -1 - j for row j of the learned context.

import { floatTensor, rowsOf, session, wholeTensor } from "./runtime.js";

export class Tower {
  // graph: "text_tower", or "gradient", which takes images too; words: of words.js
  static async load(graph, words, progress) {
    return new Tower(await session(`${graph}.onnx.gz`, progress.expect("runtime", graph)), words);
  }

  constructor(session, words) {
    this.session = session;
    this.words = words;
  }

  // One row of length 1 for each prompt.
  async features(prompts) {
    const { features } = await this.session.run(await this.inputs(prompts, null));
    return rowsOf(features);
  }

  // For a batch of images, rows of length 1, with their labels: the loss, its gradient in the context, and the features.
  async gradient(prompts, context, images, labels) {
    const batch = new Float32Array(images.length * images[0].length);
    images.forEach((row, i) => batch.set(row, i * row.length));
    const outputs = await this.session.run({
      ...(await this.inputs(prompts, context)),
      images: floatTensor(batch, [images.length, images[0].length]),
      labels: wholeTensor(labels),
    });
    const gradient = new Float32Array(context.length);
    this.collect(prompts.common, rowsOf(outputs.d_shared), gradient);
    const own = rowsOf(outputs.d_own); // prompts.longest rows for each prompt
    prompts.own.forEach((pieces, k) => this.collect(pieces, own.slice(k * prompts.longest), gradient));
    return { loss: outputs.loss.data[0], gradient, features: rowsOf(outputs.features) };
  }

  async inputs(prompts, context) {
    const { common, own, longest } = prompts, D = this.words.width;
    await this.words.need([...common, ...own.flat()].filter((piece) => piece >= 0));
    const padded = own.flatMap((pieces) => [...pieces, ...Array(longest - pieces.length).fill(0)]);
    return {
      shared: floatTensor(this.vectors(common, context), [common.length, D]),
      own: floatTensor(this.vectors(padded, context), [own.length, longest, D]),
      ends: wholeTensor(own.map((pieces, k) => common.length + k * longest + pieces.length - 1)),
    };
  }

  vectors(pieces, context) {
    const D = this.words.width, found = new Float32Array(pieces.length * D);
    pieces.forEach((piece, i) => {
      const vector = piece >= 0 ? this.words.vector(piece) : context.subarray((-1 - piece) * D, -piece * D);
      found.set(vector, i * D);
    });
    return found;
  }

  // A row of the context may stand in several prompts: its gradient is the sum of theirs.
  collect(pieces, rows, gradient) {
    pieces.forEach((piece, i) => {
      if (piece < 0) rows[i].forEach((each, d) => (gradient[(-1 - piece) * this.words.width + d] += each));
    });
  }
}

// Each token sees only those before it, so what all prompts start with is computed once, and then each one's own part.
export class Prompts {
  constructor(rows) {
    const shortest = Math.min(...rows.map((row) => row.length));
    let same = 0;
    while (same < shortest - 1 && rows.every((row) => row[same] === rows[0][same])) same++;
    this.common = rows[0].slice(0, same);
    this.own = rows.map((row) => row.slice(same));
    this.longest = Math.max(...this.own.map((pieces) => pieces.length));
  }
}
