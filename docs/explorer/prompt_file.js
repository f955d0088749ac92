// The file of a learned prompt, as coop_edu.load_prompt reads it: safetensors, with a JSON header that says what the
// numbers belong to.

export function promptFile(header, { context, nCtx, classSpecific }, classnames, facts) {
  const said = { ...header, classnames, n_ctx: nCtx, class_specific: classSpecific, facts };
  const shape = classSpecific ? [classnames.length, nCtx, header.width] : [nCtx, header.width];
  const json = JSON.stringify({
    __metadata__: { coop_edu: JSON.stringify(said) },
    ctx: { dtype: "F32", shape, data_offsets: [0, context.byteLength] },
  });
  const text = new TextEncoder().encode(json);
  const spaces = " ".repeat((8 - (text.length % 8)) % 8); // the numbers start at a multiple of eight bytes
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(text.length + spaces.length), true);
  return new Blob([length, text, spaces, context], { type: "application/octet-stream" });
}

// The lines of Python that learn the same prompt, from those that make the task.
export function linesToLearn(task, shots, { words, nCtx, classSpecific }, seed) {
  const options = [words.trim() ? `init=${JSON.stringify(words.trim())}` : `n_ctx=${nCtx}, seed=${seed}`];
  if (classSpecific) options.push("class_specific=True");
  return `from coop_edu import PromptLearner, Recipe, Trainer, accuracy, load_clip, load_dataset, sample_few_shot
${task}
learner = PromptLearner(load_clip("mini", device="cpu"), task.classnames, ${options.join(", ")})
Trainer(learner, Recipe.mini(${shots})).fit(sample_few_shot(task.train, k=${shots}, seed=${seed}))
print(accuracy(learner, task.test))`;
}

// The lines that use a prompt.
export function linesToUse(file) {
  return `from coop_edu import load_clip, load_prompt, predict
learner = load_prompt("${file}", load_clip("mini"))
print(predict(learner, "image.png"))  # an image of yours: class -> probability`;
}
