// MiniCLIP in the page: a wording to text features, and the probabilities of Eq. 1 from them.
//
// The features of a few wordings come with the page. For any other one the text tower is loaded, once.
//
// Leaves out: the image tower (image_tower.js), and all that is shown (explorer.js).

import { imageFeatures } from "./image_tower.js";
import { Prompts, Tower } from "./tower.js";
import { Words } from "./words.js";
import { Progress, json, unpacked } from "./files.js";
import { clean } from "./tokenizer.js";

const LONGEST = 1000; // letters of a wording, as in Python

// data: what the package has written for the page: class names, images with their features, CLIP's own temperature.
export async function loadClip(onProgress) {
  const [data, known] = await Promise.all([json("data.json"), unpacked("wordings.gz")]);
  return new Clip(data, new Float32Array(known.buffer), onProgress);
}

class Clip {
  // onProgress(loaded, expected) is told the bytes that have come, and those that will
  constructor(data, known, onProgress) {
    this.data = data;
    this.progress = new Progress(data.bytes, onProgress);
    const width = data.images[0].features.length, rows = data.classnames.length;
    this.features = new Map(
      data.wordings.map((wording, i) => [
        wording,
        data.classnames.map((_, k) => known.subarray((i * rows + k) * width, (i * rows + k + 1) * width)),
      ]),
    );
  }

  // One row of length 1 for each class. Throws an Error with a sentence for the reader where a wording cannot be read.
  async textFeatures(template) {
    if (!this.features.has(template)) {
      checkTemplate(template);
      const tower = await this.load();
      const prompts = new Prompts(this.tokens(template));
      const found = await tower.features(prompts).catch((error) => { throw new LoadingError(error.message); });
      this.features.set(template, found.map((row) => Float32Array.from(row)));
    }
    return this.features.get(template);
  }

  // Once; where it failed, the next wording tries again.
  load() {
    this.loading ??= this.loadTower().catch((error) => {
      this.loading = null;
      throw new LoadingError(error.message);
    });
    return this.loading;
  }

  async loadTower() {
    const words = await Words.load(this.progress);
    this.tokenizer = words.tokenizer;
    return Tower.load("text_tower", words, this.progress);
  }

  // The features of a drawing, for which the image tower is loaded, once.
  async see(pixels) {
    try {
      return (await imageFeatures([pixels], this.progress))[0];
    } catch (error) {
      throw new LoadingError(error.message);
    }
  }

  tokens(template) {
    return tokensOf(template, this.data.classnames, this.tokenizer, this.data.positions);
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

export class LoadingError extends Error {}

// The token numbers of a sentence for each class.
export function tokensOf(template, classnames, tokenizer, positions) {
  checkTemplate(template);
  const rows = classnames.map((name) => tokenizer.encode(template.replace("{}", () => name)));
  checkLengths(rows, classnames, positions);
  return rows;
}

export function checkLengths(rows, classnames, positions) {
  const longest = rows.reduce((a, b) => (b.length > a.length ? b : a));
  if (longest.length > positions) {
    const name = classnames[rows.indexOf(longest)];
    throw new Error(
      `This is too long: with “${name}” in it, it has ${longest.length} pieces, and MiniCLIP reads ` +
        `${positions}. Shorten it.`,
    );
  }
}

export function checkTemplate(template) {
  if (template.split("{}").length !== 2) {
    throw new Error("Put {} once into the sentence, where the name of the class goes, as in “a photo of a {}.”");
  }
  checkText(template);
}

export function checkText(text) {
  if (text.length > LONGEST) {
    throw new Error(`This has ${text.length} letters, and CLIP reads a sentence. Shorten it.`);
  }
  if (/<(start|end)_of_text>/.test(clean(text))) {
    throw new Error("This holds CLIP's own mark of where a text starts or ends. Take it out.");
  }
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
