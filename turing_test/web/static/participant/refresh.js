// How long one frame of this display lasts, and how long a drawing takes to reach the screen. Both are measured on the
// display at hand, all the time: 60 Hz is never assumed, and a window may move to another monitor.

const MEMORY = 120; // measurements kept: about two seconds of frames at 60 Hz

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The interval between frames in ms: the mean of the gaps near their median, so that missed frames do not count. */
export class RefreshInterval {
  #gaps = [];
  #last = null;

  /** @param {number} time - of an animation frame; time 0 of a new series is told by `restart` */
  frame(time) {
    if (this.#last !== null && time > this.#last) {
      this.#gaps.push(time - this.#last);
      if (this.#gaps.length > MEMORY) this.#gaps.shift();
    }
    this.#last = time;
  }

  restart() {
    this.#last = null;
  }

  get ms() {
    if (!this.#gaps.length) return 1000 / 60; // nothing measured yet; the page never shows an image in this state
    const typical = median(this.#gaps);
    const near = this.#gaps.filter((gap) => Math.abs(gap - typical) < 0.2 * typical);
    return near.reduce((sum, gap) => sum + gap, 0) / near.length;
  }
}

/** Time in ms from an animation frame to the moment its drawing is on screen: the median of the latest. */
export class Latency {
  #delays = [];

  add(delay) {
    this.#delays.push(delay);
    if (this.#delays.length > MEMORY) this.#delays.shift();
  }

  get ms() {
    return this.#delays.length ? median(this.#delays) : 0;
  }
}
