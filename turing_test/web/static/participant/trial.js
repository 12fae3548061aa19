// One trial: blank, images, buttons, and after a practice trial the explanation.

import { nextAnswer } from "./keys.js";
import { part } from "./screens.js";

export class TrialScreen {
  #screen;
  #stage;
  #presenter;
  #compositor;

  constructor(screen, stage, presenter, compositor) {
    this.#screen = screen;
    this.#stage = stage;
    this.#presenter = presenter;
    this.#compositor = compositor;
  }

  progress(phase, [done, of]) {
    part(this.#screen, "phase-practice").hidden = phase !== "practice";
    part(this.#screen, "phase-test").hidden = phase !== "test";
    part(this.#screen, "done").textContent = done;
    part(this.#screen, "of").textContent = of;
    Object.assign(this.#screen.querySelector("progress"), { max: of || 1, value: done });
  }

  /** Make room for the images of a trial; resolves once their places can be seen whole, also inside a platform's frame. */
  async ready() {
    this.#state("");
    await this.#stage.fit();
    if (this.#stage.isWhole()) return;
    this.#state("unseen");
    await this.#stage.whole();
    this.#state("");
  }

  /**
   * Show the images of a trial, each once.
   * @param {ImageBitmap[]} images - decoded
   * @param {object} timing - ms, as the study file has them
   * @param {{first: boolean, sequential: boolean}} how - `first` pair since the page was opened
   * @returns {Promise<{end: object, record: () => Promise<object>}>} `record` is what the server stores
   */
  async present(images, timing, { first, sequential }) {
    let before = await this.#presenter.change(() => this.#state(""));
    let delay = first ? timing.first_blank_ms : timing.blank_ms;
    const slots = this.#stage.slots;
    const groups = sequential ? slots.map((slot) => [slot]) : [slots];
    const records = [];
    for (const group of groups) {
      let cropped = () => false;
      const exposure = await this.#presenter.expose({
        before,
        delay,
        duration: timing.image_ms,
        draw: () => {
          group.forEach((slot) => this.#stage.draw(slot, images[slots.indexOf(slot)]));
          cropped = this.#stage.watch(group);
        },
        clear: () => group.forEach((slot) => this.#stage.clear(slot)),
      });
      const wasCropped = cropped();
      const record = async () => ({ ...(await exposure.record()), cropped: wasCropped });
      group.forEach((slot) => records.push([slot, record]));
      before = exposure.end;
      delay = timing.gap_ms;
    }
    const record = async () => ({
      ...Object.fromEntries(await Promise.all(records.map(async ([slot, of]) => [slot, await of()]))),
      interval_ms: this.#presenter.interval.ms,
      resolution_ms: this.#compositor.resolution,
    });
    return { end: before, record };
  }

  /**
   * Ask the question, without a limit of time.
   * @param {object|null} after - the change after which the buttons wait `delay` ms; null asks at once
   * @returns {Promise<{response: string, responseMs: number}>} from the buttons' appearance to the press
   */
  async ask(after, delay, { seen = false } = {}) {
    part(this.#screen, "seen").hidden = !seen;
    const show = () => this.#state("asking");
    const asked = after ? await this.#presenter.changeAfter(after, delay, show) : await this.#presenter.change(show);
    part(this.#screen, "question").focus({ preventScroll: true });
    const { response, time } = await nextAnswer(this.#screen);
    this.#screen.classList.add("sending");
    return { response, responseMs: Math.max(0, time - (asked.presented ?? asked.frame)) };
  }

  /** Show both images again with what they were. `images` may be missing after a reload. */
  async explain({ correct, fake }, images, duration) {
    const slots = this.#stage.slots;
    scrollTo(0, 0);
    const start = await this.#presenter.change(() => {
      this.#state("explaining");
      part(this.#screen, "seen").hidden = true;
      part(this.#screen, correct ? "right" : "wrong").hidden = false;
      slots.forEach((slot, k) => {
        if (images) this.#stage.draw(slot, images[k]);
        this.#verdict(slot, slot === fake ? "fake" : "real").hidden = false;
      });
    });
    await this.#presenter.changeAfter(start, duration, () => {
      this.#state("");
      slots.forEach((slot) => this.#stage.clear(slot));
    });
  }

  #verdict(slot, word) {
    return this.#screen.querySelector(`[data-slot="${slot}"] [data-verdict="${word}"]`);
  }

  /** What of the screen is visible: "", "unseen", "asking" or "explaining". */
  #state(name) {
    this.#screen.classList.remove("unseen", "asking", "explaining", "sending");
    document.documentElement.classList.toggle("still", name === ""); // nothing scrolls while images are shown
    if (name) this.#screen.classList.add(name);
    for (const button of this.#screen.querySelectorAll("[data-answer]")) button.classList.remove("chosen");
    if (name === "") {
      for (const word of this.#screen.querySelectorAll("[data-verdict]")) word.hidden = true;
      for (const name of ["right", "wrong", "seen"]) part(this.#screen, name).hidden = true;
    }
  }
}
