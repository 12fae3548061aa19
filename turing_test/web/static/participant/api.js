// The server's JSON interface. A request is repeated until the whole answer has come: what the server acknowledged is
// stored, and nothing goes on before that.

import { answerOf, bytesOf } from "./patience.js";

export { Refused } from "./patience.js";

export class Api {
  /** Tells this page load from another one of the same session: a pair begun in another may have been seen. */
  load = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  token;
  #root;
  #notice;

  /** @param {string} root - the path that the study is served under, "" for none */
  constructor(root, token, notice) {
    this.#root = root;
    this.token = token;
    this.#notice = notice;
  }

  async start(body) {
    const view = await this.#send(`${this.#root}/api/sessions`, body);
    this.token = view.token ?? "";
    return view;
  }

  view() {
    return this.#get("");
  }

  /** Addresses of images further ahead, for slow lines. */
  async ahead() {
    return (await this.#get("/ahead")).images;
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

  /** The bytes of an image; `onProgress` is told how many of how many have come. */
  image(url, onProgress) {
    return bytesOf(url, this.#notice, onProgress);
  }

  #path(rest) {
    return `${this.#root}/api/s/${encodeURIComponent(this.token)}${rest}`;
  }

  #get(rest) {
    return answerOf(this.#path(rest), { method: "GET" }, this.#notice);
  }

  #send(url, body) {
    // keepalive: an answer on its way survives the page being closed
    const headers = { "Content-Type": "application/json" };
    return answerOf(url, { method: "POST", headers, body: JSON.stringify(body), keepalive: true }, this.#notice);
  }
}
