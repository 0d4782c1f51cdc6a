// The server's API: its models, and completions as a stream of events.

const KEY = 'gpt-pipeline-api-key';

/** What the server answered instead of text: its message, the HTTP status, its code. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The server could not be reached, or was gone before the end. */
export class ConnectionLost extends Error {}

/** The API key of this tab, '' where none was given. */
export function apiKey() {
  return sessionStorage.getItem(KEY) ?? '';
}

/** Keep a key until the tab is closed. */
export function keepApiKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The first model that the server lists. Throws ApiError or ConnectionLost. */
export async function loadModel() {
  const response = await send('v1/models', {});
  const { data } = await response.json();
  if (!data?.length) throw new ApiError('The server lists no model.');
  return data[0];
}

/**
 * Complete a prompt.
 * @param {object} body the request, with `stream: true`
 * @param {AbortSignal} signal ends the request; the generator then throws an AbortError
 * @yields {object} the events as the server sends them
 */
export async function* complete(body, signal) {
  const headers = { 'Content-Type': 'application/json' };
  const request = { method: 'POST', headers, body: JSON.stringify(body), signal };
  const response = await send('v1/completions', request);
  for await (const data of readEvents(response.body)) {
    if (data === '[DONE]') return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(event.error.message, event.error);
    yield event;
  }
  throw new ConnectionLost();
}

async function send(path, request) {
  const headers = new Headers(request.headers);
  if (apiKey()) authorize(headers);
  const response = await reachable(fetch(path, { ...request, headers }));
  if (!response.ok) throw await refusal(response);
  return response;
}

function authorize(headers) {
  try {
    headers.set('Authorization', `Bearer ${apiKey()}`);
  } catch { // characters that no header can hold
    throw new ApiError('This key cannot be sent.', { status: 401 });
  }
}

/** Tell a lost connection, which fetch reports as a TypeError, from a bug of this page. */
async function reachable(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ConnectionLost(undefined, { cause: error });
  }
}

async function refusal(response) {
  const { status } = response;
  const body = await response.json().catch(() => null); // a proxy's error page is not JSON
  const message = body?.error?.message ?? `The server answered with status ${status}.`;
  return new ApiError(message, { status, code: body?.error?.code });
}

/** The data of each server-sent event of a byte stream. */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reachable(reader.read());
      if (done) return;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        if (line !== '' || !data.length) continue;
        yield data.join('\n');
        data = [];
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // leaving early ends the request; an aborted one has ended
  }
}
