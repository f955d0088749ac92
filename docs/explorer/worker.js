// The training, on a thread of its own: the page asks for a few steps at a time, and stays free meanwhile.
//
// A message is { call, given }; the answer is { result } or { error }. While files come in, { progress: [loaded, expected] }.

import { Progress, floats, unpacked } from "./files.js";
import { Prompts, Tower } from "./tower.js";
import { Words } from "./words.js";
import { Learner, Training } from "./learning.js";
import { dot, tokensOf } from "./clip.js";

let facts, tower, training; // facts: learn.json
const features = new Map(); // of each task's images

const calls = {
  async load(learn) {
    facts = learn;
    const progress = new Progress(facts.bytes, (...counts) => postMessage({ progress: counts }));
    tower ??= await Tower.load("gradient", await Words.load(progress), progress);
  },

  // One more task, with the features of its images.
  addTask({ name, task, train, test }) {
    facts.tasks[name] = task;
    features.set(name, { train, test });
  },

  // How a hand-written sentence does on a task.
  async sentence({ task, template }) {
    const { names } = facts.tasks[task];
    const prompts = new Prompts(tokensOf(template, names, tower.words.tokenizer, facts.positions));
    const { test } = await imagesOf(task);
    const found = await tower.gradient(prompts, new Float32Array(), test.slice(0, 1), [0]); // only for the features
    return measured(task, found.features);
  },

  async begin({ task, shots, settings }) {
    const { names, train, shots: drawn } = facts.tasks[task];
    const { images, epochs } = drawn[shots];
    const all = await imagesOf(task);
    const learner = await Learner.make(tower, names, settings, facts);
    training = new Training(learner, images.map((i) => all.train[i]), images.map((i) => train[i]), epochs, facts);
    training.task = task;
    return { steps: training.steps, nCtx: learner.nCtx, places: places(all.test, task) };
  },

  // So many steps: the mean of their losses, and how well the context is that they lead to.
  async advance(count) {
    let sum = 0, done = 0;
    for (; done < count && training.done < training.steps; done++) sum += (await training.step()).loss;
    const { learner, images, labels, task } = training;
    const { features } = await learner.gradient(images.slice(0, 1), labels.slice(0, 1)); // only for the features
    return { step: training.done, loss: done ? sum / done : null, ...(await measured(task, features)) };
  },

  prompt() {
    const { context, nCtx, classSpecific } = training.learner;
    return { context, nCtx, classSpecific };
  },

  nearestWords() {
    return training.learner.nearestWords();
  },
};

// The answers on a task's held-out images, how many are right, in per cent, and where the classes are on the map.
async function measured(task, directions) {
  const labels = facts.tasks[task].test;
  const { test } = await imagesOf(task);
  const answers = test.map((image) => {
    const cosines = directions.map((w) => dot(w, image));
    return cosines.indexOf(Math.max(...cosines));
  });
  const right = answers.filter((answer, i) => answer === labels[i]).length;
  return {
    accuracy: (100 * right) / labels.length,
    answers,
    places: places(directions, task),
  };
}

function places(rows, task) {
  return rows.map((row) => facts.tasks[task].axes.map((axis) => dot(axis, row)));
}

async function imagesOf(task) {
  if (!features.has(task)) {
    const { train, test, axes } = facts.tasks[task];
    const numbers = floats(await unpacked(`${task}.features.gz`)), width = axes[0].length;
    const rows = [...train, ...test].map((_, i) => normalized(numbers.subarray(i * width, (i + 1) * width)));
    features.set(task, { train: rows.slice(0, train.length), test: rows.slice(train.length) });
  }
  return features.get(task);
}

function normalized(row) {
  const length = Math.sqrt(dot(row, row));
  return row.map((each) => each / length);
}

addEventListener("message", async ({ data: { call, given } }) => {
  try {
    postMessage({ result: await calls[call](given) });
  } catch (error) {
    postMessage({ error: error.message });
  }
});
