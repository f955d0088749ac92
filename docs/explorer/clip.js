// MiniCLIP in the page: a wording to text features, by onnxruntime-web, and the probabilities of Eq. 1 from them.
//
// Leaves out: the image tower (data.json has the features of a few images), and all that is shown (explorer.js).

import * as ort from "./ort.js";
import { Tokenizer, clean } from "./tokenizer.js";

const LONGEST = 1000; // letters of a wording, as in Python

// What the package has written for the page: class names, images with their features, CLIP's own temperature.
export async function loadData() {
  return (await get("data.json")).json();
}

// clip.textFeatures(template) and clip.probabilities(template, image, temperature), for the classes of `data`.
export async function loadClip(data) {
  const [wasm, tower, merges] = await Promise.all(["ort.wasm.gz", "text_tower.onnx.gz", "merges.txt.gz"].map(unpacked));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more of them need headers that a plain server does not send
  const session = await ort.InferenceSession.create(tower, { executionProviders: ["wasm"] });
  return new Clip(data, session, new Tokenizer(new TextDecoder().decode(merges)));
}

class Clip {
  constructor(data, session, tokenizer) {
    this.data = data;
    this.session = session;
    this.tokenizer = tokenizer;
    this.latest = { template: null, features: null };
  }

  // One row of length 1 for each class. Throws an Error with a sentence for the reader where a wording cannot be read.
  async textFeatures(template) {
    if (template !== this.latest.template) {
      const features = await this.encode(this.tokens(template));
      this.latest = { template, features };
    }
    return this.latest.features;
  }

  tokens(template) {
    check(template);
    const rows = this.data.classnames.map((name) => this.tokenizer.encode(template.replace("{}", () => name)));
    const longest = rows.reduce((a, b) => (b.length > a.length ? b : a));
    if (longest.length > this.data.positions) {
      const name = this.data.classnames[rows.indexOf(longest)];
      throw new Error(
        `This is too long: with “${name}” in it, it has ${longest.length} pieces, and MiniCLIP reads ` +
          `${this.data.positions}. Shorten it.`,
      );
    }
    return rows;
  }

  async encode(rows) {
    const length = Math.max(...rows.map((row) => row.length));
    const ids = rows.flatMap((row) => [...row, ...Array(length - row.length).fill(0)]);
    const feeds = { ids: new ort.Tensor("int64", BigInt64Array.from(ids.map(BigInt)), [rows.length, length]) };
    const { features } = await this.session.run(feeds); // w: (K, E)
    const width = features.dims[1];
    return rows.map((_, i) => normalized(features.data.subarray(i * width, (i + 1) * width)));
  }

  // p(y = i | x) for each class: the softmax of the cosines divided by the temperature.
  async probabilities(template, image, temperature) {
    const f = this.data.images[image].features;
    const logits = (await this.textFeatures(template)).map((w) => dot(w, f) / temperature);
    const highest = Math.max(...logits);
    const exponentials = logits.map((logit) => Math.exp(logit - highest));
    const sum = exponentials.reduce((a, b) => a + b);
    return exponentials.map((each) => each / sum);
  }
}

function check(template) {
  if (template.split("{}").length !== 2) {
    throw new Error("Put {} once into the sentence, where the name of the class goes, as in “a photo of a {}.”");
  }
  if (template.length > LONGEST) {
    throw new Error(`This has ${template.length} letters, and CLIP reads a sentence. Shorten it.`);
  }
  if (/<(start|end)_of_text>/.test(clean(template))) {
    throw new Error("This holds CLIP's own mark of where a text starts or ends. Take it out.");
  }
}

function dot(a, b) {
  return a.reduce((sum, each, i) => sum + each * b[i], 0);
}

function normalized(row) {
  const length = Math.sqrt(dot(row, row));
  return Float32Array.from(row, (each) => each / length);
}

async function get(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

// Unpacked here, unless a server has said that the file is packed: then the browser has done it already.
async function unpacked(name) {
  const bytes = new Uint8Array(await (await get(name)).arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
