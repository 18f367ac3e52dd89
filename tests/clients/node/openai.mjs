// The official `openai` package: node openai.mjs BASE_URL MODEL MAX_TOKENS [text] prints what it saw as JSON.
// With `text` only what any model can do, however small: no tools, no structured output.
import OpenAI from "openai";

const [baseURL, model, limit, onlyText] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "unused", maxRetries: 0 });
const asked = { model, max_tokens: Number(limit), messages: [{ role: "user", content: "Say hello." }] };
const tool = { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } };

const saw = {};
const whole = await client.chat.completions.create(asked);
saw.whole = { text: whole.choices[0].message.content, usage: whole.usage };

saw.streamed = "";
for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
  saw.streamed += chunk.choices[0]?.delta?.content ?? "";
}

const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: Number(limit) });
saw.response = { text: response.output_text, status: response.status, usage: response.usage };

saw.responseEvents = [];
const events = client.responses.stream({ model, input: "Say hello.", max_output_tokens: Number(limit) });
for await (const event of events) saw.responseEvents.push(event.type);
saw.responseText = (await events.finalResponse()).output_text;

const embedded = await client.embeddings.create({ model, input: ["a farthing", "a penny"] });
saw.vectors = embedded.data.map((item) => item.embedding.length);

if (!onlyText) {
  const runner = client.chat.completions.stream({ ...asked, tools: [{ type: "function", function: tool }] });
  const called = (await runner.finalChatCompletion()).choices[0].message.tool_calls[0].function;
  saw.called = { name: called.name, arguments: JSON.parse(called.arguments) };
}

try {
  await client.chat.completions.create({ ...asked, model: "nobody" });
} catch (error) {
  saw.error = { kind: error.constructor.name, status: error.status, code: error.code };
}
saw.models = [];
for await (const listed of client.models.list()) saw.models.push(listed.id);
console.log(JSON.stringify(saw));
