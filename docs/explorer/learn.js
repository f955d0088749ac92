// "Learn the words here": settings, a training on a thread of its own (worker.js), and what it shows as it goes.

import { Drawings, OWN } from "./drawings.js";
import { Progress, json } from "./files.js";
import { linesToLearn, linesToUse, promptFile } from "./prompt_file.js";
import { Results, percent } from "./results.js";

const LENGTHS = [1, 2, 4, 8, 16];
const RECORDS = 60; // of a training, at most, each with the answers on the held-out images

const find = (selector) => document.querySelector(`#learn ${selector}`);
const form = find("form"), learnButton = find("[type=submit]"), stopButton = find(".stop");
const progress = find("progress"), status = find("#learn-status");
const results = new Results(document.querySelector("#learn .learn-result"));
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });

let facts; // learn.json
let loading = null;
let waiting = null; // for an answer of the worker
let stopped = false;
let drawings = null;
export const run = {}; // the latest training: its settings, and records of its steps

try {
  facts = await json("learn.json");
  layOut();
} catch (error) {
  status.textContent = `This could not be loaded (${error.message}). Load the page again.`;
  throw error;
}

function layOut() {
  fill("#learn-task", [...Object.entries(facts.tasks).map(([name, { title }]) => [name, title]), ["own", OWN.title]]);
  drawings = new Drawings(find(".learn-own"));
  fill("#learn-n-ctx", LENGTHS.map((length) => [length, length]), "16");
  describe();
  find(".nearest").textContent = `Show the nearest words (loads ${megabytes(facts.bytes["all words"])})`;
  find(".nearest").addEventListener("click", showWords);
  form.addEventListener("submit", (event) => { event.preventDefault(); learn(); });
  stopButton.addEventListener("click", () => (stopped = true));
  find("#learn-task").addEventListener("change", () => {
    describe();
    if (learnButton.disabled) return; // a training goes on, and shows its own task
    find(".learn-result").hidden = true; // else the results would stand under another task's name
    progress.value = 0;
  });
  find("#learn-words").addEventListener("input", () => {
    find("#learn-n-ctx").disabled = find("#learn-words").value.trim() !== ""; // then there are as many vectors as words
  });
}

function fill(selector, options, chosen) {
  find(selector).replaceChildren(
    ...options.map(([value, text]) => new Option(text, value, false, String(value) === chosen)),
  );
}

function describe() {
  const name = find("#learn-task").value, own = name === "own";
  const { runtime, words, gradient, image_tower } = facts.bytes, size = runtime + words + gradient + (own ? image_tower : 0);
  if (!loading) status.textContent = `“Learn” loads MiniCLIP, ${megabytes(size)}, once.`;
  const { about, template, shots } = own ? OWN : facts.tasks[name];
  find(".learn-about").textContent = about;
  find("#learn-sentence").value = template;
  find(".learn-own").hidden = !own;
  fill("#learn-shots", own ? [["all", "every second drawing"]] : Object.keys(shots).map((k) => [k, k]), "16");
}

async function learn() {
  busy(true);
  try {
    await load();
    if (find("#learn-task").value === "own") await addDrawings();
    await begin();
    await train();
    await finish();
  } catch (error) {
    status.textContent = error.message;
  }
  busy(false);
}

// While the worker is busy, and what the keyboard is on then.
function busy(yes) {
  const moves = document.activeElement === (yes ? learnButton : stopButton);
  stopped = false;
  learnButton.disabled = find(".nearest").disabled = yes;
  stopButton.disabled = !yes;
  form.setAttribute("aria-busy", yes);
  if (moves) (yes ? stopButton : learnButton).focus();
}

// MiniCLIP, once; where it failed, the next time tries again.
async function load() {
  loading ??= ask("load", facts);
  try {
    await loading;
  } catch (error) {
    loading = null;
    throw new Error(`MiniCLIP could not be loaded (${error.message}). Try again; a browser older than 2023 is too old.`);
  }
}

async function addDrawings() {
  const { task, train, test } = await drawings.task(facts.recipe, new Progress(facts.bytes, showProgress));
  facts.tasks.own = task;
  await ask("addTask", { name: "own", task, train, test });
}

async function begin() {
  const task = find("#learn-task").value, template = find("#learn-sentence").value;
  const settings = {
    words: find("#learn-words").value,
    nCtx: Number(find("#learn-n-ctx").value),
    classSpecific: find("#learn-contexts").value === "each",
  };
  const shots = find("#learn-shots").value;
  const sentence = await ask("sentence", { task, template });
  const { steps, nCtx, places } = await ask("begin", { task, shots, settings });
  Object.assign(run, { task, template, settings: { ...settings, nCtx }, shots, sentence, steps, started: performance.now() });
  run.records = [await ask("advance", 0)];
  find(".learn-end").hidden = true;
  const sheet = { address: new URL(`${task}.png`, import.meta.url), ...facts.tasks[task].sheet };
  results.begin(run, { ...facts.tasks[task], sheet }, places);
  show();
}

function show() {
  progress.max = run.steps;
  progress.value = run.records.at(-1).step;
  results.draw();
}

async function train() {
  const { records, steps } = run;
  status.textContent = "Learning …";
  while (records.at(-1).step < steps && !stopped) {
    records.push(await ask("advance", Math.ceil(steps / RECORDS)));
    show();
  }
}

async function finish() {
  const { task, shots, settings, sentence, records, steps } = run, { step, accuracy } = records.at(-1);
  run.milliseconds = performance.now() - run.started;
  const { dataset, python, classnames, test, shots: drawn } = facts.tasks[task];
  const took = step < steps ? `Stopped after ${step} of ${steps} steps. ` : `${steps} steps took ${(run.milliseconds / 1000).toFixed(1)} s. `;
  const { probe } = drawn[shots];
  status.textContent =
    `${took}Of ${test.length} held-out images, the learned prompt names ${percent(accuracy)} right, your sentence ` +
    `${percent(sentence.accuracy)}${probe === null ? "" : `, a classifier without words on the same images (linear probe) ${percent(probe)}`}.`;
  const prompt = await ask("prompt");
  const file = promptFile(facts.header, prompt, classnames, { dataset, shots, step, accuracy });
  const link = find(".download");
  URL.revokeObjectURL(link.href);
  Object.assign(link, { href: URL.createObjectURL(file), download: `${dataset}.safetensors` });
  const again = python && step === steps; // a stopped training, or one on drawings, the lines could not repeat
  find(".lines").textContent = again ? "learn the same one" : "use it";
  find(".learn-end pre").textContent = again ? linesToLearn(python, shots, settings, facts.seed) : linesToUse(link.download);
  find(".words").textContent = "";
  find(".learn-end").hidden = false;
}

// The words nearest to the learned vectors.
async function showWords() {
  busy(true);
  const { names } = facts.tasks[run.task], said = status.textContent;
  try {
    const words = await ask("nearestWords");
    const lists = run.settings.classSpecific ? names.map((name, k) => `${name}: ${listed(words, k)}`) : [listed(words, 0)];
    find(".words").textContent = lists.join("; ");
    status.textContent = said;
  } catch (error) {
    status.textContent = error.message;
  }
  busy(false);
}

function listed(words, k) {
  const { nCtx } = run.settings;
  return words.slice(k * nCtx, (k + 1) * nCtx).join(" · ");
}

// One call of the worker after the other.
function ask(call, given) {
  return new Promise((resolve, reject) => {
    waiting = { resolve, reject };
    worker.postMessage({ call, given });
  });
}

function showProgress(loaded, expected) {
  if (!learnButton.disabled) return; // another file has failed, and nobody waits any more
  progress.max = expected;
  progress.value = loaded;
  status.textContent = `Loading MiniCLIP, ${megabytes(expected)} …`;
}

function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

worker.addEventListener("message", ({ data }) => {
  if ("progress" in data) {
    showProgress(...data.progress);
  } else if ("error" in data) {
    waiting.reject(new Error(data.error));
  } else {
    waiting.resolve(data.result);
  }
});
worker.addEventListener("error", () => waiting?.reject(new Error("the thread of the training could not start")));
