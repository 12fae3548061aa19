// The places where images appear. An image pixel is a CSS pixel, whatever the device makes of it, and whatever the size of
// the window: what surrounds the images gives way to them, never the other way round.

// CSS pixels; turing_test.study.protocol has the same three, and participant.css makes them true.
const BETWEEN = 16;
const QUESTION = 48;
const ANSWERS = 64; // the row of buttons below images that are answered while they are seen
const ROOMY = 290; // what progress bar, question, verdicts, remarks and foot take at their ease
const VERDICT = 47; // of which for an image's verdict, below it
const YES_NO = 130; // the two large buttons below a single image, with what is around them; in small windows they lie in its place
const SNUG = 156; // progress bar, question and foot, packed closely
const WHOLE = 0.995; // an image of which so much is in view is whole: the rest is rounding

/** Width and height of what can be seen of this page's window, CSS pixels. */
export function windowSize() {
  const view = globalThis.visualViewport;
  return { width: Math.round(view?.width ?? innerWidth), height: Math.round(view?.height ?? innerHeight) };
}

/** Pixels of the device per CSS pixel, by the page's zoom and by that of two fingers. */
const magnification = () => devicePixelRatio * (globalThis.visualViewport?.scale ?? 1);

/** Whether the window has the room that a study asks for. */
export function hasRoom({ width, height }) {
  const now = windowSize();
  return now.width >= width && now.height >= height;
}

/** Call `act` whenever the window's size or place changes, until the signal says stop. */
function onWindowChange(act, signal) {
  for (const target of [globalThis, globalThis.visualViewport]) {
    for (const type of ["resize", "scroll"]) target?.addEventListener(type, act, { signal });
  }
}

/** Resolves once the window has room. */
export function whenRoom(needed) {
  return new Promise((resolve) => {
    const stop = new AbortController();
    const look = () => {
      if (!hasRoom(needed)) return;
      stop.abort();
      resolve();
    };
    onWindowChange(look, stop.signal);
    look();
  });
}

export class Stage {
  #trial;
  #canvases;
  #size;
  #columns;
  #observer;
  #inView = new Map();
  #watches = new Set();

  /**
   * @param {HTMLElement} trial - the screen of trials
   * @param {number} size - side of the images in CSS pixels
   */
  constructor(trial, size) {
    this.#trial = trial;
    this.#size = size;
    trial.style.setProperty("--size", `${size}px`);
    this.#columns = Number(trial.querySelector("[data-columns]").dataset.columns);
    trial.style.setProperty("--columns", this.#columns);
    this.#canvases = new Map(
      [...trial.querySelectorAll("[data-slot]")].map((slot) => [slot.dataset.slot, slot.querySelector("canvas")]),
    );
    // Tells also what a platform's page shows of the frame that this page is in.
    this.#observer = new IntersectionObserver(
      (entries) => {
        for (const { target, intersectionRatio } of entries) this.#inView.set(target, intersectionRatio);
        this.#watches.forEach((look) => look());
      },
      { threshold: [0, 0.25, 0.5, 0.75, 0.9, WHOLE, 1] },
    );
  }

  get slots() {
    return [...this.#canvases.keys()];
  }

  /**
   * Arrange the places for the window as it is, and match the canvases to the device's pixels. Clears them. Resolves once
   * the browser has looked where they lie.
   */
  async fit() {
    this.#arrange();
    const side = Math.round(this.#size * devicePixelRatio);
    this.#inView.clear();
    for (const canvas of this.#canvases.values()) {
      canvas.width = canvas.height = side;
      this.#observer.unobserve(canvas);
      this.#observer.observe(canvas); // which is always answered with a first report
    }
    await new Promise((resolve) => {
      const stop = this.#onChange(() => {
        if (this.#inView.size < this.#canvases.size) return;
        queueMicrotask(() => stop());
        resolve();
      });
    });
  }

  /** Arrange the places anew when the window changes, as long as they are empty; the function returned stops that. */
  keepArranged() {
    const stop = new AbortController();
    addEventListener("resize", () => this.#arrange(), { signal: stop.signal });
    return () => stop.abort();
  }

  draw(slot, image) {
    drawCrisp(this.#canvases.get(slot), image);
  }

  clear(slot) {
    const canvas = this.#canvases.get(slot);
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  /** Whether the places of these slots can be seen whole, now. */
  isWhole(slots = this.slots) {
    const view = globalThis.visualViewport;
    const left = view?.offsetLeft ?? 0;
    const top = view?.offsetTop ?? 0;
    const right = left + (view?.width ?? innerWidth);
    const bottom = top + (view?.height ?? innerHeight);
    return slots.every((slot) => {
      const canvas = this.#canvases.get(slot);
      const box = canvas.getBoundingClientRect();
      const inWindow = box.left >= left - 1 && box.top >= top - 1 && box.right <= right + 1 && box.bottom <= bottom + 1;
      return inWindow && (this.#inView.get(canvas) ?? 0) >= WHOLE;
    });
  }

  /** Watch over the places of slots; the function returned stops that and says whether any was cropped or zoomed meanwhile. */
  watch(slots) {
    const before = magnification();
    const seen = { cropped: false, zoomed: false };
    const look = () => {
      seen.cropped ||= !this.isWhole(slots);
      seen.zoomed ||= magnification() !== before;
    };
    const stop = this.#onChange(look);
    return () => {
      stop();
      look();
      return seen;
    };
  }

  /** Resolves once all places can be seen whole. */
  whole() {
    return new Promise((resolve) => {
      const stop = this.#onChange(() => {
        if (!this.isWhole()) return;
        queueMicrotask(() => stop());
        resolve();
      });
    });
  }

  /** Call `look` now and at every change of what can be seen; the function returned stops that. */
  #onChange(look) {
    const stop = new AbortController();
    this.#watches.add(look);
    onWindowChange(look, stop.signal);
    look();
    return () => {
      stop.abort();
      this.#watches.delete(look);
    };
  }

  #arrange() {
    const { width, height } = windowSize();
    const size = this.#size;
    const places = this.slots.length;
    const below = this.#trial.classList.contains("answers-below") ? ANSWERS : 0;
    let arrangement = "same"; // both in one place
    let stageHeight = size + below;
    if (places > 2) {
      const rows = Math.ceil(places / this.#columns);
      [arrangement, stageHeight] = ["grid", rows * (size + below) + (rows - 1) * BETWEEN];
    } else if (places * size + (places - 1) * BETWEEN <= width) arrangement = "beside";
    else if (2 * (size + below) + BETWEEN + QUESTION <= height) {
      [arrangement, stageHeight] = ["stacked", 2 * (size + below) + BETWEEN];
    }
    const free = height - stageHeight;
    const more = arrangement === "stacked" ? VERDICT : places === 1 && !below ? YES_NO : 0;
    const level = free >= ROOMY + more ? "roomy" : free >= SNUG ? "snug" : "bare";
    this.#trial.dataset.arrangement = arrangement;
    this.#trial.classList.toggle("compact", level !== "roomy");
    this.#trial.classList.toggle("bare", level === "bare");
    document.documentElement.dataset.level = level;
    scrollTo(0, 0);
  }
}

/** Fill a canvas with an image: whole multiples pixel by pixel, other ratios interpolated. */
export function drawCrisp(canvas, image) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = canvas.width % image.width !== 0;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}
