// The server's JSON interface. A request is repeated until the server has answered: what it acknowledged is stored, and
// nothing goes on before that.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const PATIENCE = 10000; // ms until a request without any answer counts as failed

/** The server refused; `message` is its one plain sentence. */
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

/**
 * Fetch until an answer comes. Server errors and a lost network are tried again, with growing pauses of a random
 * length, so that many waiting participants do not come back at once.
 * @param {{failed: (attempt: number) => void, done: () => void}} notice - told while it goes on
 * @returns {Promise<Response>} of a status below 400
 * @throws {Refused} a status from 400 to 499, where trying again cannot help
 */
export async function fetchPatiently(url, options, notice) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(url, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) }).catch(
      () => null,
    );
    if (response?.ok) {
      if (attempt > 1) notice.done();
      return response;
    }
    if (response && response.status < 500 && response.status !== 429 && response.status !== 408) {
      if (attempt > 1) notice.done();
      const { error } = await response.json().catch(() => ({}));
      throw new Refused(response.status, error ?? `${response.status} ${response.statusText}`);
    }
    notice.failed(attempt);
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1));
    await pause(longest * (0.5 + Math.random() / 2));
  }
}

export class Api {
  /** Tells this page load from another one of the same session: a pair begun in another may have been seen. */
  load = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  token;
  #notice;

  constructor(token, notice) {
    this.token = token;
    this.#notice = notice;
  }

  async start(body) {
    const view = await this.#send("/api/sessions", body);
    this.token = view.token ?? "";
    return view;
  }

  view() {
    return this.#json(this.#path(""), { method: "GET" });
  }

  device(display) {
    return this.#send(this.#path("/device"), display);
  }

  vision(answers) {
    return this.#send(this.#path("/vision"), { answers });
  }

  begin(number) {
    return this.#send(this.#path(`/trials/${number}/begin`), { load: this.load });
  }

  shown(number, record) {
    return this.#send(this.#path(`/trials/${number}/shown`), { load: this.load, ...record });
  }

  answer(number, response, responseMs) {
    const body = { load: this.load, response, response_ms: responseMs };
    return this.#send(this.#path(`/trials/${number}/answer`), body);
  }

  withdraw() {
    return this.#send(this.#path("/withdraw"), {});
  }

  /** The bytes of an image. */
  async image(url) {
    return (await fetchPatiently(url, {}, this.#notice)).blob();
  }

  #path(rest) {
    return `/api/s/${encodeURIComponent(this.token)}${rest}`;
  }

  #send(url, body) {
    // keepalive: an answer on its way survives the page being closed
    const headers = { "Content-Type": "application/json" };
    return this.#json(url, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
  }

  async #json(url, options) {
    return (await fetchPatiently(url, options, this.#notice)).json();
  }
}
