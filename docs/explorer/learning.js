// CoOp in the page: SGD on the vectors of a context, which stand before the class names, by the library's recipe.
//
// The gradient comes from gradient.onnx (tower.js). Random numbers are torch's (torch_random.js), so a training here is
// the library's training of the same seed, step by step.

import { Prompts } from "./tower.js";
import { Generator } from "./torch_random.js";
import { checkLengths, checkText } from "./clip.js";

const DEVIATION = 0.02; // of the random vectors that a context starts with

export class Learner {
  // settings: words to start from (or "" for random vectors), nCtx, classSpecific
  static async make(tower, names, settings, facts) {
    const tokens = settings.words.trim() ? startTokens(settings.words, tower.words.tokenizer) : null;
    if (tokens) await tower.words.need(tokens);
    return new Learner(tower, names, tokens, settings, facts);
  }

  constructor(tower, names, tokens, { nCtx, classSpecific }, { seed, positions }) {
    const { tokenizer, width } = tower.words;
    this.tower = tower;
    this.classSpecific = classSpecific;
    const M = (this.nCtx = tokens ? tokens.length : nCtx);
    const contexts = classSpecific ? names.length : 1;
    this.context = tokens
      ? Float32Array.from(Array(contexts).fill(tokens).flat().flatMap((token) => [...tower.words.vector(token)]))
      : new Generator(seed).normal(contexts * M * width).map((each) => DEVIATION * each);
    const rows = names.map((name, k) => {
      const [start, ...rest] = tokenizer.encode(`${name}.`); // the class name with its full stop, and the end
      const first = classSpecific ? k * M : 0;
      return [start, ...Array.from({ length: M }, (_, m) => -1 - (first + m)), ...rest];
    });
    checkLengths(rows, names, positions);
    this.prompts = new Prompts(rows);
    this.velocity = null;
  }

  // One step of SGD with momentum on a batch of images: { loss, features }, of the context before the step.
  async step(images, labels, rate, { momentum, weight_decay }) {
    const { loss, gradient, features } = await this.gradient(images, labels);
    const pull = gradient.map((each, i) => each + weight_decay * this.context[i]);
    this.velocity = this.velocity ? this.velocity.map((each, i) => momentum * each + pull[i]) : pull;
    this.context = this.context.map((each, i) => each - rate * this.velocity[i]);
    return { loss, features };
  }

  gradient(images, labels) {
    return this.tower.gradient(this.prompts, this.context, images, labels);
  }

  // The words nearest to each vector.
  nearestWords() {
    const { words } = this.tower, D = words.width;
    const rows = Array.from({ length: this.context.length / D }, (_, i) => this.context.subarray(i * D, (i + 1) * D));
    return words.nearest(rows);
  }
}

// The batches of a training, and the learning rate of each step.
export class Training {
  constructor(learner, images, labels, epochs, { recipe, orders }) {
    Object.assign(this, { learner, images, labels, epochs, recipe, orders });
    this.perEpoch = Math.max(1, Math.floor(images.length / recipe.batch_size));
    this.steps = this.perEpoch * epochs;
    this.done = 0;
  }

  async step() {
    const epoch = Math.floor(this.done / this.perEpoch), batch = this.done % this.perEpoch;
    if (batch === 0) this.order = new Generator(this.orders[epoch]).permutation(this.images.length);
    const size = this.recipe.batch_size;
    const chosen = this.order.slice(batch * size, (batch + 1) * size);
    const [images, labels] = [this.images, this.labels].map((all) => chosen.map((i) => all[i]));
    this.done++;
    return this.learner.step(images, labels, learningRate(epoch, this.epochs, this.recipe), this.recipe);
  }
}

// Constant while warming up, then a cosine that never quite reaches 0.
export function learningRate(epoch, epochs, { lr, warmup_epochs, warmup_lr }) {
  if (epoch < warmup_epochs) return warmup_lr;
  return (lr * (1 + Math.cos((Math.PI * (epoch - warmup_epochs)) / epochs))) / 2;
}

function startTokens(words, tokenizer) {
  if (/[{}]|\.\s*$/.test(words)) {
    throw new Error("Give the words of the context alone, without {} and full stop, as in “a photo of a”.");
  }
  checkText(words);
  const tokens = tokenizer.encode(words.replaceAll("_", " ")).slice(1, -1);
  if (!tokens.length) throw new Error("There is no word in what the context should start from.");
  return tokens;
}
