// One trial: blank, images, buttons, and after a practice trial the explanation.

import { nextAnswer } from "./keys.js";
import { maskOf } from "./masks.js";
import { part } from "./screens.js";

const sinceOnset = ({ given, onset }) => Math.max(0, given.time - (onset.presented ?? onset.frame));

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
   * @param {object} timing - ms, as the study file has them; `image_ms` is null where images stay until the answer
   * @param {{first: boolean, sequential: boolean, answer_ends: boolean, mask: string}} how - `first` pair since the page was
   *   opened or since a break
   * @returns {Promise<{end: object, answer: function|null, record: () => Promise<object>}>} `record` is what the server stores;
   *   `answer` resolves with the answer where that may come while an image is seen
   */
  async present(images, timing, { first, sequential, answer_ends: answerEnds, mask: kind }) {
    let before = await this.#presenter.change(() => this.#state(""));
    let delay = first ? timing.first_blank_ms : timing.blank_ms;
    const slots = this.#stage.slots;
    const groups = sequential ? slots.map((slot) => [slot]) : [slots];
    const mask = kind === "none" ? null : maskOf(kind, images);
    const records = [];
    let asked = null; // the question that is asked with the last images
    let start = null; // of images that came in the frame in which those before them went
    for (const [k, group] of groups.entries()) {
      const isLast = k === groups.length - 1;
      let stopWatch = () => ({});
      const show = (those) => those.forEach((slot) => this.#stage.draw(slot, images[slots.indexOf(slot)]));
      const clear = () => group.forEach((slot) => this.#stage.clear(slot));
      const ask = () => {
        if (isLast && answerEnds) asked = this.#askNow();
      };
      const follows = !isLast && timing.gap_ms === 0 ? groups[k + 1] : null;
      if (start) {
        stopWatch = this.#stage.watch(group);
        ask();
      }
      const exposure = await this.#presenter.expose({
        before,
        delay,
        start,
        duration: timing.image_ms ?? Infinity,
        stays: timing.image_ms === null,
        isOver: () => Boolean(asked?.given),
        draw: () => {
          show(group);
          stopWatch = this.#stage.watch(group);
          ask();
        },
        clear,
        end: () => {
          if (mask) group.forEach((slot) => this.#stage.draw(slot, mask));
          else clear();
          if (follows && !mask) show(follows);
        },
      });
      const seen = stopWatch();
      const record = async () => ({ ...(await exposure.record()), ...seen });
      group.forEach((slot) => records.push([slot, record]));
      if (asked) asked.onset = exposure.start;
      before = exposure.end;
      start = follows && !mask && exposure.isWhole ? exposure.end : null;
      if (mask && exposure.isWhole) {
        before = await this.#presenter.changeAfter(exposure.end, timing.mask_ms, () => {
          clear();
          if (follows) show(follows);
        });
        if (follows) start = before;
      }
      delay = timing.gap_ms;
    }
    const answered = () => ({ response: asked.given.response, responseMs: sinceOnset(asked) });
    const record = async () => {
      const given = asked?.given; // before the wait for the compositor: an answer that came later ended nothing
      return {
        ...Object.fromEntries(await Promise.all(records.map(async ([slot, of]) => [slot, await of()]))),
        interval_ms: this.#presenter.interval.ms,
        resolution_ms: this.#compositor.resolution,
        ...(given ? { response_ms: sinceOnset(asked) } : {}),
      };
    };
    return { end: before, answer: asked && (() => asked.answer.then(answered)), record };
  }

  /** Ask while the images are seen: the buttons are there from now on. `given` is the answer once there is one. */
  #askNow() {
    this.#state("asking");
    document.documentElement.classList.add("still");
    part(this.#screen, "question").focus({ preventScroll: true });
    const asked = { given: null, onset: null };
    asked.answer = nextAnswer(this.#screen).then((given) => {
      asked.given = given;
      this.#screen.classList.add("sending");
    });
    return asked;
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
    const stop = this.#stage.keepArranged(); // a phone that is turned meanwhile
    const { response, time } = await nextAnswer(this.#screen);
    stop();
    this.#screen.classList.add("sending");
    return { response, responseMs: Math.max(0, time - (asked.presented ?? asked.frame)) };
  }

  /** Show all images again with what they were: `fake` is told of two, `real` of several. `images` may be missing after a reload. */
  async explain({ correct, fake, real }, images, duration) {
    const slots = this.#stage.slots;
    scrollTo(0, 0);
    const start = await this.#presenter.change(() => {
      this.#state("explaining");
      part(this.#screen, "seen").hidden = true;
      part(this.#screen, correct ? "right" : "wrong").hidden = false;
      slots.forEach((slot, k) => {
        if (images) this.#stage.draw(slot, images[k]);
        this.#verdict(slot, (real ? slot === real : slot !== fake) ? "real" : "fake").hidden = false;
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
