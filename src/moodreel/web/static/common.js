// What every page needs: requests with the CSRF token and errors that say why.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

const csrf = $('meta[name="csrf-token"]').content;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Refusal extends Error {
  constructor(status, error, reason) {
    super(reason);
    this.status = status;
    this.error = error;
  }
}

// A request; a server that is busy is asked again a few times.
export async function ask(path, options = {}) {
  for (let turn = 0; ; turn++) {
    let response;
    try {
      response = await fetch(path, {
        ...options,
        headers: { "X-CSRF-Token": csrf, ...options.headers },
        credentials: "same-origin",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, "offline", "the server cannot be reached");
    }
    if (response.ok) return response;
    if ((response.status === 503 || response.status === 429) && turn < 5) {
      const wait = Number(response.headers.get("retry-after"));
      if (wait) {
        await sleep(1000 * wait);
        continue;
      }
    }
    let told = {};
    try {
      told = await response.json();
    } catch {
      // not ours: a proxy's page, say
    }
    throw new Refusal(response.status, told.error || "failed", told.reason || `error ${response.status}`);
  }
}

export const askJson = async (path, options) => (await ask(path, options)).json();

export const sendJson = (path, body, method = "POST") =>
  askJson(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export const wait = sleep;

// Lets a browser save what is in memory.
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Text with the first letter large and a full stop, for a sentence of its own.
export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// Markup that our own server made, as an element; scripts in it would not run.
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}
