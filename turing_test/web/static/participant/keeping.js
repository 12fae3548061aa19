// A session belongs to the browser that began it. Its token is kept in the browser; the address bar shows a name for it that
// opens nothing elsewhere, so whoever gets that address from a participant cannot go on in their place.

const KEPT = 20; // sessions of one browser in one study; older ones are over

/** The sessions of one study: several studies under one host, each with a path of its own, share what a browser keeps. */
export class Keeping {
  #prefix;

  /** @param {string} root - the path that the study is served under, "" for none */
  constructor(root) {
    this.#prefix = root ? `evalkit-session ${root} ` : "evalkit-session-";
  }

  /** Keep a token; the name to show for it. Where the browser keeps nothing, the name is the token itself: a reload must resume. */
  keep(token) {
    const name = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    try {
      const old = Object.keys(localStorage).filter((key) => key.startsWith(this.#prefix));
      const at = (key) => JSON.parse(localStorage.getItem(key)).at;
      old.sort((a, b) => at(a) - at(b));
      old.slice(0, Math.max(0, old.length - KEPT)).forEach((key) => localStorage.removeItem(key));
      localStorage.setItem(this.#prefix + name, JSON.stringify({ token, at: Date.now() }));
      return name;
    } catch {
      return token;
    }
  }

  /** The token kept under a name; "" when it is another browser's. Long names are tokens. */
  find(name) {
    if (name.length !== 12) return name;
    try {
      return JSON.parse(localStorage.getItem(this.#prefix + name))?.token ?? "";
    } catch {
      return "";
    }
  }
}
