// Requests over lines that are slow, that break off and that come back. Nothing is given up: a request without progress is
// sent again, what has come of an image is kept, and the participant is told what is being waited for.

const FIRST_WAIT = 500; // ms until the first repetition; doubled each time
const LONGEST_WAIT = 8000;
const FIRST_PATIENCE = 15000; // ms without any progress until a request counts as failed; doubled each time
const LONGEST_PATIENCE = 60000;

/** The server refused; `message` is its one plain sentence, `reason` names the page's own text for it, `ending` the way back. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const pause = (ms) =>
  new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      removeEventListener("online", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    addEventListener("online", wake); // the network is back: no need to wait longer
  });

/** Whether a later repetition may succeed: too early, too many, too slow, or the server is not itself. */
const isPassing = (status) => status >= 500 || [408, 416, 425, 429].includes(status);

/** Ends a request that makes no progress for so long; time spent with progress does not count. */
class Stall {
  #controller = new AbortController();
  #timer = null;
  #ms;

  constructor(ms) {
    this.#ms = ms;
    this.progress();
  }

  get signal() {
    return this.#controller.signal;
  }

  progress() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

/**
 * Do `act` until it succeeds. Server errors and a lost network are tried again, with growing pauses of a random length, so
 * that many waiting participants do not come back at once.
 * @param {(stall: Stall) => Promise} act - reads the whole answer; throws when that breaks off
 * @param {{failed: (attempt: number) => void, done: () => void}} notice - told while it goes on
 * @throws {Refused} a status from 400 to 499, where trying again cannot help
 */
async function patiently(act, notice) {
  let hasFailed = false;
  const end = () => hasFailed && notice.done();
  for (let attempt = 1; ; attempt += 1) {
    const stall = new Stall(Math.min(LONGEST_PATIENCE, FIRST_PATIENCE * 2 ** (attempt - 1)));
    let longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1));
    try {
      const result = await act(stall);
      end();
      return result;
    } catch (error) {
      if (error instanceof Refused && !isPassing(error.status)) {
        end();
        throw error;
      }
      if (error.progressed) attempt = 0; // what came is kept: the line works, if badly
      longest = Math.max(longest, 1000 * (error.retryAfter ?? 0));
    } finally {
      stall.end();
    }
    hasFailed = true;
    notice.failed(attempt);
    await pause(longest * (0.5 + Math.random() / 2));
  }
}

async function refuseErrors(response) {
  if (response.ok) return;
  const { error, reason, ending } = await response.json().catch(() => ({}));
  const refused = new Refused(response.status, error ?? `${response.status} ${response.statusText}`);
  refused.reason = reason;
  refused.ending = ending;
  // Twice, since the pause is cut to as little as half: never earlier than the server asks for.
  refused.retryAfter = 2 * (Number(response.headers.get("Retry-After")) || 0);
  throw refused;
}

/** The JSON that a request is answered with. Every request of the interface may be sent twice. */
export function answerOf(url, options, notice) {
  return patiently(async ({ signal }) => {
    const response = await fetch(url, { ...options, cache: "no-store", signal });
    await refuseErrors(response);
    return response.json(); // an answer that broke off is no JSON, and is asked for again
  }, notice);
}

/**
 * The bytes at an address. After a break the rest alone is asked for.
 * @param {(received: number, of: number) => void} onProgress
 * @returns {Promise<Uint8Array>}
 */
export function bytesOf(url, notice, onProgress = () => {}) {
  let parts = [];
  let received = 0;
  return patiently(async (stall) => {
    const before = received;
    const headers = received ? { Range: `bytes=${received}-` } : {};
    try {
      const response = await fetch(url, { headers, cache: "no-store", signal: stall.signal });
      if (response.status === 416) received = 0; // what came before is no part of what is there now
      await refuseErrors(response);
      if (response.status !== 206) [parts, received] = [[], 0];
      const length = Number(response.headers.get("Content-Length"));
      const total = length ? received + length : 0;
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        stall.progress();
        parts.push(value);
        received += value.length;
        onProgress(received, total);
      }
      if (received < total) throw new Error(`${received} of ${total} bytes came`);
      return joined(parts, received);
    } catch (error) {
      error.progressed = received > before;
      throw error;
    }
  }, notice);
}

function joined(parts, length) {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
