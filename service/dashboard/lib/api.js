import { refused, session } from "./session.js";

/** Why there is no answer: an RFC 9457 problem of the service, or status 0 where it could not be reached. */
export class Problem extends Error {
  constructor({ status, code, detail }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

/** The JSON that this path answers. body: sent as JSON. Throws Problem, or an AbortError once signal says so. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  const json = body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await request(path, { method, signal, ...json });
  return response.json();
}

/** The response, if it is a good one, asked for with the key of whoever looks. Throws as `ask` does. */
export async function request(path, { headers, ...others } = {}) {
  const { key } = session.get();
  const response = await send(path, { ...others, headers: { ...headers, ...(key && { authorization: `Bearer ${key}` }) } });
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) refused(key, problem.detail);
  throw problem;
}

/** `path?…` with those parameters that have a value. */
export function pathWith(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function send(path, request) {
  try {
    return await fetch(path, { ...request, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, code: "unreachable", detail: "The service does not answer." });
  }
}

async function problemOf(response) {
  const said = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {}; // A proxy's page, not a problem of ours.
  });
  return new Problem({
    status: response.status,
    code: said.code ?? "",
    detail: said.detail ?? `The service answered ${response.status}.`,
  });
}
