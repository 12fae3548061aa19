// Images, fetched and decoded before they are wanted: nothing is decoded while a trial runs.

const AT_ONCE = 2; // the images of one pair: what comes later does not take the line from them
const SLOW_PAIR = 2000; // ms: a line on which a pair takes longer is slow
const DECODE_TRIES = 5;
const PROOF = 8; // bytes at the end of a file, before the last chunk: what tells the server that the file has come
const LAST_CHUNK = 12 + 4; // checksum of the chunk with the proof, and the IEND chunk

export class Images {
  #fetch;
  #ready = new Map();
  #waiting = [];
  #running = 0;
  #pairTime = 0;

  /** @param {(url: string, onProgress: function) => Promise<Uint8Array>} fetchBytes */
  constructor(fetchBytes) {
    this.#fetch = fetchBytes;
  }

  /** Whether the line is slow, by the images that came so far. */
  get slow() {
    return this.#pairTime > SLOW_PAIR;
  }

  /** Decoded images, in the order of the addresses; these go before all that is only being prepared. */
  get(urls) {
    const wanted = urls.map((url) => this.#entry(url));
    this.#waiting.sort((a, b) => wanted.includes(b) - wanted.includes(a)); // a stable sort
    return Promise.all(wanted.map((entry) => entry.image));
  }

  /** What the files at these addresses say for themselves: that they were fetched to the end. */
  proofs(urls) {
    return urls.map((url) => this.#entry(url).proof);
  }

  /** How much of these images has come, from 0 to 1. */
  progress(urls) {
    const shares = urls.map((url) => this.#ready.get(url)?.share ?? 0);
    return shares.reduce((sum, share) => sum + share, 0) / shares.length;
  }

  /** Get ready what comes next, in this order, and let go of everything else. */
  prepare(urls) {
    for (const [url, entry] of this.#ready) {
      if (!urls.includes(url)) {
        this.#ready.delete(url);
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        entry.image.then((bitmap) => bitmap.close()).catch(() => {});
      }
    }
    for (const url of urls) this.#entry(url);
  }

  #entry(url) {
    if (!this.#ready.has(url)) {
      const entry = { url, share: 0, proof: "" };
      entry.image = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      entry.image.catch(() => this.#ready.delete(url)); // asked for again when it is needed
      this.#ready.set(url, entry);
      this.#waiting.push(entry);
      this.#next();
    }
    return this.#ready.get(url);
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      const entry = this.#waiting.shift();
      this.#running += 1;
      this.#load(entry)
        .then(entry.resolve, entry.reject)
        .finally(() => {
          this.#running -= 1;
          this.#next();
        });
    }
  }

  async #load(entry) {
    const start = performance.now();
    for (let attempt = 1; ; attempt += 1) {
      const bytes = await this.#fetch(entry.url, (received, of) => {
        entry.share = of ? received / of : 0;
      });
      try {
        const image = await createImageBitmap(new Blob([bytes]));
        entry.proof = hex(bytes.subarray(bytes.length - LAST_CHUNK - PROOF, bytes.length - LAST_CHUNK));
        entry.share = 1;
        this.#pairTime = performance.now() - start; // both of a pair come at the same time
        return image;
      } catch (error) {
        if (attempt === DECODE_TRIES) throw error; // damaged on the way so often: not the line's fault
      }
    }
  }
}

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
