// What the page asks the server, and how it reads the arrays that come back.

/** An answer that is a refusal; its message is the server's own sentence. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.detail ?? `the server answered with status ${status}`);
    this.status = status;
    this.errors = body.errors ?? [];
  }
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, { detail: "the server does not answer; start it again: kmeans-lab serve" });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

export const post = (path, body) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export const remove = path => ask(path, { method: "DELETE" });

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

export const floats = text => new Float32Array(bytes(text).buffer);

export function labels(text, clusters) {
  const raw = bytes(text);
  return clusters > 256 ? new Uint16Array(raw.buffer) : raw;
}

const EVENTS = ["plan", "lane", "frame", "result", "verdict", "end"];

/** Follow a race: `on(name, data)` for each event, `lost(again)` where the line breaks. */
export function follow(path, on, lost) {
  const source = new EventSource(path);
  for (const name of EVENTS) {
    source.addEventListener(name, event => {
      if (name === "end") source.close();  // a browser would connect again otherwise
      on(name, JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    lost(source.readyState !== EventSource.CLOSED);
  });
  return () => source.close();
}
