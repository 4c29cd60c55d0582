// The AI SDK over the gateway and its simulator, which `test_ai_sdk.py` starts.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const { BASE_URL, SIMULATOR_URL, KEY, MODEL } = process.env;
const model = createOpenAICompatible({
  name: "gateway",
  baseURL: BASE_URL,
  apiKey: KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
})(MODEL);

const QUESTION = "What does the project do?";
const FILES = { "README.md": "See birds.py. 雨", "birds.py": 'print("tit")', "test_birds.py": "assert True" };
const read_file = tool({
  description: "Reads one file of the project.",
  inputSchema: z.object({ path: z.string() }),
  execute: async ({ path }) => FILES[path],
});
const clock = tool({ description: "Tells the time.", inputSchema: z.object({}), execute: async () => "12:00" });
const read = (path) => ({ name: "read_file", arguments: { path } });
const ROUNDS = [
  { text: "I read first.", tool_calls: [read("README.md")] },
  { tool_calls: [read("birds.py"), read("test_birds.py")] },
  { text: "It prints a bird." },
];

const Bird = z.object({
  name: z.string(),
  colors: z.array(z.string()),
  legs: z.int(),
  diet: z.enum(["seeds", "insects"]),
});
const BIRD = { name: 'the "tit"', colors: ["黄", "blue"], legs: 2, diet: "seeds" };

async function simulator(path, body) {
  const options = body && {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  };
  const answer = await fetch(`${SIMULATOR_URL}/__sim/${path}`, options);
  assert.equal(answer.status, 200);
  return await answer.json();
}

const program = (...turns) => simulator("program", { turns });
const seen = async () => (await simulator("requests")).requests;

beforeEach(() => simulator("reset", {}));

async function checkRounds() {
  const [first, ...others] = await seen();
  assert.equal(others.length, 2);
  for (const one of others) {
    assert.equal(one.chat_id, first.chat_id);
    assert.notEqual(one.parent, null);
    assert(!one.prompt.includes(QUESTION));
  }
  for (const [name, index] of [["README.md", 0], ["birds.py", 1], ["test_birds.py", 1]]) {
    assert.deepEqual(others.map((one) => one.prompt.includes(FILES[name])), [index === 0, index === 1], name);
  }
}

test("generateText calls its tools until the answer is there", async () => {
  await program(...ROUNDS);
  const found = await generateText({ model, tools: { read_file, clock }, stopWhen: stepCountIs(5), prompt: QUESTION });
  assert.equal(found.text, "It prints a bird.");
  assert.deepEqual(found.steps.map((step) => step.finishReason), ["tool-calls", "tool-calls", "stop"]);
  assert.deepEqual(found.steps.map((step) => step.toolCalls.length), [1, 2, 0]);
  await checkRounds();
});

test("streamText calls its tools until the answer is there", async () => {
  await program(...ROUNDS);
  const found = streamText({
    model,
    tools: { read_file, clock },
    stopWhen: stepCountIs(5),
    prompt: QUESTION,
    onError: ({ error }) => assert.fail(error),
  });
  const kinds = new Set();
  for await (const part of found.fullStream) kinds.add(part.type);
  assert(kinds.has("tool-input-start") && kinds.has("tool-call") && kinds.has("tool-result"));
  assert(!kinds.has("error") && !kinds.has("tool-error"));
  assert.equal(await found.text, "It prints a bird.");
  const steps = await found.steps;
  assert.deepEqual(steps.map((step) => step.toolCalls.map((call) => call.input.path)), [
    ["README.md"],
    ["birds.py", "test_birds.py"],
    [],
  ]);
  assert((await found.totalUsage).inputTokens > 0);
  await checkRounds();
});

for (const toolChoice of ["required", { type: "tool", toolName: "clock" }]) {
  test(`a demanded call comes: ${JSON.stringify(toolChoice)}`, async () => {
    await program({ text: "I would rather talk." }, { tool_calls: [{ name: "clock" }] });
    const found = await generateText({ model, tools: { read_file, clock }, toolChoice, prompt: QUESTION });
    assert.deepEqual(found.toolCalls.map((call) => [call.toolName, call.input]), [["clock", {}]]);
    assert.equal(found.text, "");
    assert.equal((await seen()).length, 2);
  });
}

test("a long argument arrives in pieces", async () => {
  const content = 'line "n"\n'.repeat(4000);
  await program({ tool_calls: [{ name: "write_file", arguments: { content } }], chunks: 2000, delay_ms: 5 });
  const write_file = tool({ description: "Writes.", inputSchema: z.object({ content: z.string() }) });
  const found = streamText({ model, tools: { write_file }, prompt: QUESTION });
  let pieces = 0;
  for await (const part of found.fullStream) pieces += part.type === "tool-input-delta";
  assert(pieces > 5);
  assert.equal((await found.toolCalls)[0].input.content, content);
});

test("a call that breaks off is an error and no call", async () => {
  const content = 'line "n"\n'.repeat(4000);
  await program({
    tool_calls: [{ name: "write_file", arguments: { content } }],
    chunks: 1000,
    error: "eof",
    after_chunks: 20,
  });
  let executed = false;
  const write_file = tool({
    description: "Writes.",
    inputSchema: z.object({ content: z.string() }),
    execute: async () => (executed = true),
  });
  const errors = [];
  const found = streamText({
    model,
    tools: { write_file },
    prompt: QUESTION,
    maxRetries: 0,
    onError: ({ error }) => errors.push(error),
  });
  await found.consumeStream();
  assert.equal(errors.length, 1);
  assert.equal(executed, false);
});

test("generateObject fills its schema", async () => {
  await program({ text: '{"name": "tit"}' }, { text: "```json\n" + JSON.stringify(BIRD) + "\n```" });
  const { object } = await generateObject({ model, schema: Bird, prompt: QUESTION });
  assert.deepEqual(object, BIRD);
  assert.equal((await seen()).length, 2);
});

test("streamObject fills its schema", async () => {
  await program({ text: JSON.stringify(BIRD) });
  const found = streamObject({ model, schema: Bird, prompt: QUESTION });
  for await (const _ of found.partialObjectStream);
  assert.deepEqual(await found.object, BIRD);
});

test("an output of a type comes after the tools", async () => {
  await program(ROUNDS[0], { text: JSON.stringify(BIRD) });
  const found = await generateText({
    model,
    tools: { read_file },
    output: Output.object({ schema: Bird }),
    stopWhen: stepCountIs(5),
    prompt: QUESTION,
  });
  assert.deepEqual(found.output, BIRD);
  assert.equal(found.steps.length, 2);
});
