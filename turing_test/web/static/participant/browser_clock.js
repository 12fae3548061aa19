// The browser behind the presenter: animation frames, the compositor's presentation times, the page's visibility.

export const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/**
 * The compositor's own word on when a change was on screen, by the Element Timing API (Chromium): every change puts a
 * new, invisible text beside the stage, and the browser reports when the frame that holds it was presented. Elsewhere
 * `tells` is false and times are those of animation frames.
 */
export class Compositor {
  #waiting = new Map();
  #reported = [];
  #count = 0;
  #place;

  /** @param {HTMLElement} place - painted, inside the window, of the background's colour */
  constructor(place) {
    this.#place = place;
    this.tells = Boolean(globalThis.PerformanceObserver?.supportedEntryTypes?.includes("element"));
    if (this.tells) {
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => this.#presented(entry))).observe({
        type: "element",
      });
    }
  }

  /** Resolution of its times in ms: browsers coarsen them unless the page is isolated from other origins. */
  get resolution() {
    return globalThis.crossOriginIsolated ? 0.1 : 4;
  }

  mark(change, presented) {
    if (!this.tells) return;
    this.#count += 1;
    const name = `change-${this.#count}`;
    const text = document.createElement("div");
    text.setAttribute("elementtiming", name);
    text.textContent = ".";
    this.#waiting.set(name, { change, presented, text });
    // It stays until it was reported, since the browser says nothing of what is gone by then, and goes with the next
    // change, so that the compositor has nothing extra to do.
    this.#reported.splice(0).forEach((old) => old.remove());
    this.#place.append(text);
  }

  #presented(entry) {
    const found = this.#waiting.get(entry.identifier);
    const time = entry.presentationTime || entry.renderTime;
    if (!found || !time) return;
    this.#waiting.delete(entry.identifier);
    this.#reported.push(found.text);
    found.change.presented = time;
    found.presented();
  }
}

export const visibility = {
  get hidden() {
    return document.visibilityState === "hidden";
  },

  /** Call `act` each time the page is hidden (at once if it is); the function returned stops that. */
  watch(act) {
    const listener = () => this.hidden && act();
    document.addEventListener("visibilitychange", listener);
    listener();
    return () => document.removeEventListener("visibilitychange", listener);
  },
};
