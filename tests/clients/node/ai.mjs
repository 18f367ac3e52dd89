// Vercel's `ai` package by three of its providers: node ai.mjs BASE_URL MODEL MAX_TOKENS [text] prints what it saw.
// With `text` only what any model can do, however small: no tools, no structured output.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, name, limit, onlyText] = process.argv.slice(2);
const at = { baseURL: `${baseURL}/v1`, apiKey: "unused" };
const models = {
  responses: createOpenAI(at).responses(name),
  chat: createOpenAI(at).chat(name),
  compatible: createOpenAICompatible({ name: "farthing", includeUsage: true, ...at }).chatModel(name),
  anthropic: createAnthropic(at)(name),
};
const weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

const saw = {};
for (const [kind, model] of Object.entries(models)) {
  const asked = { model, prompt: "Say hello.", maxOutputTokens: Number(limit), maxRetries: 0 };
  const whole = await generateText(asked);
  const stream = streamText(asked);
  let streamed = "";
  for await (const piece of stream.textStream) streamed += piece;
  saw[kind] = {
    whole: whole.text,
    finish: whole.finishReason,
    usage: [whole.usage.inputTokens, whole.usage.outputTokens],
    streamed,
    streamedUsage: [(await stream.usage).inputTokens, (await stream.usage).outputTokens],
  };
  if (!onlyText) {
    const agent = await generateText({
      ...asked, prompt: "Weather in Paris?", tools: { weather }, stopWhen: stepCountIs(2),
    });
    saw[kind].agent = { text: agent.text, steps: agent.steps.length, called: agent.steps[0].toolCalls[0].input };
  }
}
if (!onlyText) {
  const asked = { model: models.chat, prompt: "An object.", schema: z.object({ coin: z.string() }), maxRetries: 0 };
  saw.object = (await generateObject(asked)).object;
}
console.log(JSON.stringify(saw));
