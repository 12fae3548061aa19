// When images come and go. An exposure starts in one animation frame and ends in the frame that brings its duration
// closest to what was asked for; timers take no part. Times are milliseconds of performance.now().

import { Latency, RefreshInterval } from "./refresh.js";

/** Decides in which animation frame something that should last `duration` ms has to end. */
export class Exposure {
  /**
   * @param {number} duration - ms on screen
   * @param {number} interval - ms between frames
   * @param {number} latency - ms from a frame to the moment its drawing is on screen, as a rule
   * @param {{frame: number, presented: number|null}} start - the change that started it; `presented` may come later
   */
  constructor(duration, interval, latency, start) {
    Object.assign(this, { duration, interval, latency, start });
  }

  /**
   * Whether a change drawn in this frame ends the exposure. Of two neighbouring frames the nearer one is taken, hence
   * half an interval. An image that reached the screen late is ended as much later.
   */
  endsIn(frame) {
    const onset = this.start.presented ?? this.start.frame + this.latency;
    return frame + this.latency - onset >= this.duration - this.interval / 2;
  }
}

/** What was measured of one exposure, as the server stores it. */
export function measured(start, end, frames, hidden) {
  const presented = start.presented !== null && end.presented !== null;
  const gaps = frames.slice(1).map((time, k) => time - frames[k]);
  return {
    on_ms: presented ? start.presented : start.frame,
    off_ms: presented ? end.presented : end.frame,
    frames: frames.length - 1,
    largest_gap_ms: Math.max(0, ...gaps),
    hidden,
    clock: presented ? "presented" : "frame",
  };
}

/** Whether, and how often, the page was hidden since this watch began. */
class Watch {
  times = 0;
  #act = () => {};

  constructor(visibility) {
    this.stop = visibility.watch(() => {
      this.times += 1;
      this.#act();
    });
  }

  get hidden() {
    return this.times > 0;
  }

  onHidden(act) {
    this.#act = act;
  }
}

/** Plays changes of the screen at exact times. */
export class Presenter {
  interval = new RefreshInterval();
  latency = new Latency();
  #nextFrame;
  #compositor;
  #visibility;

  /**
   * @param {() => Promise<number>} nextFrame - resolves in the next animation frame with its time
   * @param {{mark: (change: object) => void}} compositor - fills in `change.presented` once it is known
   * @param {{hidden: boolean, watch: (act: () => void) => () => void}} visibility - `watch` calls `act` each time the page is
   *   hidden (at once if it is) and returns how to stop
   */
  constructor(nextFrame, compositor, visibility) {
    this.#nextFrame = nextFrame;
    this.#compositor = compositor;
    this.#visibility = visibility;
  }

  /** Learn the refresh interval and the latency of an idle page; draws nothing. */
  async calibrate(frames = 60) {
    this.interval.restart();
    const changes = [];
    for (let k = 0; k < frames; k += 1) {
      const frame = await this.#frame();
      if (k % 6 === 0) changes.push(this.#mark(frame));
    }
    await this.#settle(changes);
  }

  /** Wait for a frame, draw in it. The change tells the time; `presented` is filled in later where the browser can. */
  async change(draw) {
    const frame = await this.#frame();
    draw();
    return this.#mark(frame);
  }

  /**
   * Keep what is on screen until `duration` ms after the change `start`, then draw. Returns the change.
   * @param {Watch} [watch] - each time it saw the page hidden, the wait begins afresh when the page is back
   */
  async changeAfter(start, duration, draw, watch = null) {
    let from = start;
    let hiddenTimes = watch?.times;
    for (;;) {
      const frame = await this.#frame();
      if (watch?.times !== hiddenTimes) {
        hiddenTimes = watch.times;
        from = this.#mark(frame);
      } else if (new Exposure(duration, this.interval.ms, this.latency.ms, from).endsIn(frame)) {
        draw();
        return this.#mark(frame);
      }
    }
  }

  /**
   * Show something for `duration` ms, `delay` ms after the change `before`.
   *
   * A page hidden while the image is up loses it at once: it must not greet the participant on return, a second look
   * being no part of the protocol. A page hidden before starts the delay afresh on return. Either way the record says
   * `hidden`.
   *
   * @param {object} what
   * @param {object|null} [what.start] - the change that has drawn it already, in place of `before`, `delay` and `draw`
   * @param {() => boolean} [what.isOver] - asked in every frame: whether it ends now, whatever the duration
   * @param {() => void} [what.end] - how it goes when its time is over; `clear` when not given
   * @param {boolean} [what.stays] - whether a hidden page keeps it: where there is no limit, a second look is no matter
   * @returns {Promise<{end: object, record: () => Promise<object>}>} `record` waits for the compositor's word
   */
  async expose({ before, delay, duration, draw, clear, start = null, isOver = () => false, end: finish = clear, stays = false }) {
    const watch = new Watch(this.#visibility);
    start ??= await this.changeAfter(before, delay, draw, watch);
    const frames = [start.frame];
    let gone = null; // the change by which a hidden page lost its image
    watch.onHidden(() => {
      if (stays) return;
      clear();
      gone = { frame: performance.now(), presented: null };
    });
    let end = null;
    while (!end && !gone) {
      const frame = await this.#frame();
      if (gone) break;
      frames.push(frame);
      if (isOver() || new Exposure(duration, this.interval.ms, this.latency.ms, start).endsIn(frame)) {
        finish();
        end = this.#mark(frame);
      }
    }
    watch.stop();
    // What follows a lost image is timed from a frame that the participant can see.
    const next = end ?? (await this.change(() => {}));
    const record = async () => {
      if (end) await this.#settle([start, end]);
      return measured(start, end ?? gone, frames, watch.hidden);
    };
    return { start, end: next, isWhole: end !== null, record };
  }

  async #frame() {
    const time = await this.#nextFrame();
    if (this.#visibility.hidden) this.interval.restart();
    this.interval.frame(time);
    return time;
  }

  #mark(frame) {
    const change = { frame, presented: null };
    this.#compositor.mark(change, () => this.latency.add(change.presented - frame));
    return change;
  }

  /** Give the compositor's word some frames to arrive; at most a second, while the participant thinks. */
  async #settle(changes) {
    for (let k = 0; k < 60 && this.#compositor.tells && changes.some((change) => change.presented === null); k += 1) {
      await this.#frame();
    }
  }
}
