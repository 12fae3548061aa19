// Images, fetched and decoded before they are wanted: nothing is decoded while a trial runs.

export class Images {
  #fetch;
  #ready = new Map();

  /** @param {(url: string) => Promise<Blob>} fetchBlob */
  constructor(fetchBlob) {
    this.#fetch = fetchBlob;
  }

  /** Decoded images, in the order of the addresses. */
  async get(urls) {
    return Promise.all(urls.map((url) => this.#load(url)));
  }

  /** Get ready what comes next, and let go of everything else. */
  prepare(urls) {
    for (const [url, image] of this.#ready) {
      if (!urls.includes(url)) {
        this.#ready.delete(url);
        image.then((bitmap) => bitmap.close()).catch(() => {});
      }
    }
    for (const url of urls) this.#load(url).catch(() => this.#ready.delete(url)); // asked for again when it is needed
  }

  #load(url) {
    if (!this.#ready.has(url)) {
      const image = this.#fetch(url).then((blob) => createImageBitmap(blob));
      image.catch(() => this.#ready.delete(url));
      this.#ready.set(url, image);
    }
    return this.#ready.get(url);
  }
}
