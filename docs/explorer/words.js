// CLIP's words as vectors: one row of a table for each token number.

import { floats, unpacked } from "./files.js";
import { Tokenizer } from "./tokenizer.js";

export class Words {
  static async load(arrived) {
    const [merges, table] = await Promise.all(["merges.txt.gz", "words.gz"].map((name) => unpacked(name, arrived)));
    return new Words(new Tokenizer(new TextDecoder().decode(merges)), floats(table));
  }

  constructor(tokenizer, table) {
    this.tokenizer = tokenizer;
    this.table = table;
    this.width = table.length / (tokenizer.end + 1); // the mark of the end has the last number
  }

  vector(token) {
    return this.table.subarray(token * this.width, (token + 1) * this.width);
  }

  // The word whose vector is nearest.
  nearest(vector) {
    let best = 0, least = Infinity;
    for (let token = 0; token <= this.tokenizer.end; token++) {
      let distance = 0; // squared
      for (let d = 0; d < this.width; d++) distance += (this.table[token * this.width + d] - vector[d]) ** 2;
      if (distance < least) [best, least] = [token, distance];
    }
    return this.tokenizer.decode(best);
  }
}
