// CLIP's words as vectors: one row of a table for each token number.
//
// The table is large. A first part of it has the frequent words and the class names of the page; the whole is loaded when
// another word is used.

import { floats, json, unpacked } from "./files.js";
import { Tokenizer } from "./tokenizer.js";

export class Words {
  static async load(progress) {
    const arrived = progress.expect("words");
    const [{ frequent, others, width }, merges, first] = await Promise.all([
      json("words.json"),
      ...["merges.txt.gz", "words_first.gz"].map((name) => unpacked(name, arrived)),
    ]);
    const words = new Words(new Tokenizer(new TextDecoder().decode(merges)), width, progress);
    const table = floats(first); // the frequent ones have the first token numbers
    const row = (i) => table.subarray(i * width, (i + 1) * width);
    for (let token = 0; token < frequent; token++) words.rows.set(token, row(token));
    others.forEach((token, i) => words.rows.set(token, row(frequent + i)));
    return words;
  }

  constructor(tokenizer, width, progress) {
    Object.assign(this, { tokenizer, width, progress, rows: new Map(), whole: null });
  }

  vector(token) {
    return this.rows.get(token);
  }

  // Before the vectors of these tokens are asked for.
  async need(tokens) {
    if (!tokens.every((token) => this.rows.has(token))) await this.needAll();
  }

  async needAll() {
    if (this.whole) return;
    const whole = floats(await unpacked("words.gz", this.progress.expect("all words")));
    for (let token = 0; token <= this.tokenizer.end; token++) { // the mark of the end has the last number
      this.rows.set(token, whole.subarray(token * this.width, (token + 1) * this.width));
    }
    this.whole = whole;
  }

  // For each vector the word whose own vector is nearest.
  async nearest(vectors) {
    await this.needAll();
    return vectors.map((vector) => {
      let best = 0, least = Infinity;
      for (let token = 0; token <= this.tokenizer.end; token++) {
        let distance = 0; // squared
        for (let d = 0; d < this.width; d++) distance += (this.whole[token * this.width + d] - vector[d]) ** 2;
        if (distance < least) [best, least] = [token, distance];
      }
      return this.tokenizer.decode(best);
    });
  }
}
