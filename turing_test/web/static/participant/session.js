// A session from consent to thanks. The server's view says where it stands; this page shows that and reports back.

import { Api, Refused } from "./api.js";
import { Compositor, nextFrame, visibility } from "./browser_clock.js";
import { describeDisplay, isCapable } from "./display.js";
import { showEnding } from "./ending.js";
import { Images } from "./images.js";
import { Keeping } from "./keeping.js";
import { showPause } from "./pause.js";
import { readPlates } from "./plates.js";
import { Presenter } from "./presentation.js";
import { nextAction, Notice, part, Screens } from "./screens.js";
import { hasRoom, Stage, whenRoom, windowSize } from "./stage.js";
import { TrialScreen } from "./trial.js";

const PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"; // what MTurk sends instead of an assignment while a worker looks

export async function startSession(root) {
  const session = new Session(root);
  try {
    await session.run();
  } catch (error) {
    await session.fail(error);
  }
}

/** Why the server refused, in the page's language; its sentence, in English, is for who looks into what went wrong. */
function tellWhy(place, error) {
  const texts = [...place.querySelectorAll("[data-reason]")];
  const textOf = (reason) => texts.find((text) => text.dataset.reason === reason);
  (textOf(error.reason) ?? textOf("unexpected")).hidden = false;
  console.warn(error.message);
}

class Session {
  #root;
  #keeping;
  #screens;
  #api;
  #images;
  #presenter;
  #notice;
  #trials = null;
  #calibrated = false;
  #described = 0; // the ratio of pixels that the server was told; 0 before
  #compositor;

  constructor(root) {
    this.#root = root;
    this.#screens = new Screens(root);
    this.#notice = new Notice(part(document, "notice"));
    this.#keeping = new Keeping(root.dataset.root);
    this.#api = new Api(root.dataset.root, this.#keeping.find(root.dataset.session), this.#notice);
    this.#images = new Images((url, onProgress) => this.#api.image(url, onProgress));
    this.#compositor = new Compositor(part(document, "mark"));
    this.#presenter = new Presenter(nextFrame, this.#compositor, visibility);
  }

  async run() {
    if (!isCapable()) {
      // Without what a session needs, none is begun that could end with the platform's code.
      showEnding(this.#screens.show("incompatible"), { give_back: Object.keys(this.#given()).length > 0 });
      return;
    }
    if (this.#root.dataset.session && !this.#api.token) {
      this.#screens.show("elsewhere");
      return;
    }
    let view = this.#api.token ? await this.#api.view() : await this.#consent();
    if (!view) return;
    this.#offerWithdrawal(view);
    if (view.phase === "device") view = await this.#device(view);
    if (view.phase === "vision") view = await this.#vision(view);
    if (view.phase !== "done") view = await this.#allTrials(view);
    this.#finish(view);
  }

  async fail(error) {
    if (!(error instanceof Refused)) console.error(error);
    // Most often the session ended meanwhile (it expired, say): then that is what to tell.
    const view = error instanceof Refused && this.#api.token ? await this.#api.view().catch(() => null) : null;
    if (view?.phase === "done") {
      this.#finish(view);
      return;
    }
    this.#withdrawButton.hidden = true;
    // Refused before there is a session: trying again would not help.
    const screen = this.#screens.show(error instanceof Refused && !this.#api.token ? "refused" : "error");
    if (error instanceof Refused) tellWhy(part(screen, "sentence"), error);
    if (error.ending) showEnding(screen, error.ending);
    part(screen, "safe").hidden = !this.#api.token || error.status === 404;
    await nextAction(screen);
    location.reload();
  }

  /** Of what the address carries, what recruiting platforms put there; the rest (campaigns, trackers) is nobody's business. */
  #given() {
    const given = new URLSearchParams(location.search);
    const names = this.#root.dataset.queryNames.split(" ").filter((name) => given.has(name));
    return Object.fromEntries(names.map((name) => [name, given.get(name)]));
  }

  // --- before the trials ------------------------------------------------------------------------------------------

  /** The first view of a new session; null in a platform's preview, where nothing is asked or sent. */
  async #consent() {
    const screen = this.#screens.show("consent");
    const query = this.#given();
    if (query.assignmentId === PREVIEW) {
      part(screen, "choice").hidden = true;
      part(screen, "preview").hidden = false;
      return null;
    }
    const consent = (await nextAction(screen)) === "agree";
    const { link, opened, consentHash } = this.#root.dataset;
    const view = await this.#api.start({
      query,
      link: link || null,
      consent,
      consent_hash: consentHash,
      opened,
      attempt: this.#api.load, // a consent that is sent again begins no second session
    });
    if (this.#api.token && view.phase !== "done") {
      const name = encodeURIComponent(this.#keeping.keep(this.#api.token));
      history.replaceState(null, "", `${this.#root.dataset.root}/s/${name}`); // a reload resumes
    }
    return view;
  }

  async #device({ window }) {
    const screen = this.#screens.show("device");
    const next = screen.querySelector('[data-action="next"]');
    await this.#calibrate();
    part(screen, "measuring").hidden = true;
    part(screen, "measured").hidden = false;
    next.disabled = false;
    await nextAction(screen);
    for (;;) {
      const stays = await this.#room(window, { mayLeave: true });
      const view = await this.#describe(stays ? {} : { give_up: true });
      if (view.phase !== "device") return view; // else the window became smaller on the way
    }
  }

  /**
   * Wait until the window has the room that the study needs; at once if it has.
   * @param {{mayLeave: boolean}} how - whether to offer an end to who has no larger window
   * @returns {Promise<boolean>} false when that was chosen
   */
  async #room(needed, { mayLeave = false } = {}) {
    if (hasRoom(needed)) return true;
    const screen = this.#screens.show("window");
    part(screen, "leave").hidden = !mayLeave;
    const tell = () => {
      const { width, height } = windowSize();
      part(screen, "now").textContent = `${width} × ${height}`;
    };
    tell();
    addEventListener("resize", tell);
    const stays = await Promise.race([
      whenRoom(needed).then(() => true),
      ...(mayLeave ? [nextAction(screen).then(() => false)] : []),
    ]);
    removeEventListener("resize", tell);
    return stays;
  }

  async #describe(more = {}) {
    const view = await this.#api.device({ ...describeDisplay(this.#presenter.interval.ms), ...more });
    this.#described = devicePixelRatio;
    return view;
  }

  async #vision(view) {
    const plates = await this.#fetched(view.plates); // first, or somebody types a number before there is a plate
    return this.#api.vision(await readPlates(this.#screens.show("vision"), plates));
  }

  // --- trials -----------------------------------------------------------------------------------------------------

  async #allTrials(view) {
    const begun = view.trial.number > 1 || view.trial.mode === "answer_only";
    if (view.pause) await this.#pause(view);
    else await this.#interlude(begun ? "resume" : "instructions", view);
    let first = true;
    while (view.phase !== "done") {
      const { phase } = view.trial;
      const next = await this.#trial(view, first);
      first = false;
      if (phase === "practice" && next.trial?.phase === "test") await this.#interlude("ready", next);
      if (next.pause) {
        await this.#pause(next);
        first = true;
      }
      view = next;
    }
    return view;
  }

  /** A sheet between trials; the display is measured while it is read, if it was not yet. */
  async #interlude(name, view) {
    const pressed = nextAction(this.#screens.show(name));
    if (!this.#calibrated) await this.#calibrate();
    await pressed;
    if (this.#described) return;
    await this.#room(view.window);
    await this.#describe(); // the session goes on in another window, perhaps on another device
  }

  async #pause(view) {
    const screen = this.#screens.show("pause");
    const stop = showPause(screen, view.pause, view.progress);
    await this.#interlude("pause", view);
    stop();
  }

  /** Decoded images; says what is waited for where the line is slow. */
  #fetched(urls) {
    return this.#notice.during(this.#images.get(urls), () => this.#images.progress(urls));
  }

  /** Get ready what comes next while the participant thinks; further ahead on a slow line. */
  async #prepare(urls) {
    this.#images.prepare(urls);
    if (!this.#images.slow) return;
    const ahead = await this.#api.ahead();
    this.#images.prepare([...urls, ...ahead.filter((url) => !urls.includes(url))]);
  }

  /** Play one trial; the view that comes after it. */
  async #trial(view, first) {
    const { trial, timing } = view;
    try {
      if (trial.mode === "show") await this.#fetched(trial.images);
    } catch (error) {
      if (error instanceof Refused && error.status === 410) return this.#api.view(); // damaged: another one takes its place
      throw error;
    }
    await this.#room(view.window);
    if (devicePixelRatio !== this.#described) await this.#describe(); // zoomed, or moved to another display
    const screen = this.#screens.show("trial");
    this.#trials ??= new TrialScreen(screen, new Stage(screen, view.size), this.#presenter, this.#compositor);
    this.#trials.progress(trial.phase, view.progress);
    let images = null;
    let end = null;
    let shown = Promise.resolve();
    let asked = () => this.#trials.ask(end, timing.answer_delay_ms, { seen: images === null });
    await this.#trials.ready();
    if (trial.mode === "show") {
      images = await this.#images.get(trial.images);
      const begun = await this.#api.begin(trial.number);
      // The answer "replaced" may have been lost on the way: what is on the page must be what is on record.
      if (begun.replaced || begun.first !== trial.images[0]) return begun.view ?? (await this.#api.view());
      const presented = await this.#trials.present(images, timing, { first, ...view.presentation });
      end = presented.end;
      asked = presented.answer ?? asked;
      const proofs = this.#images.proofs(trial.images);
      shown = presented.record().then((record) => this.#api.shown(trial.number, { ...record, proofs }));
      shown.catch(() => {}); // awaited below, after the answer
      this.#prepare([...trial.images, ...(view.next_images ?? [])]).catch(() => {}); // asked for again when needed
    }
    const { response, responseMs } = await asked();
    await shown;
    const next = await this.#api.answer(trial.number, response, responseMs);
    if (next.feedback && timing.feedback_ms) {
      await this.#trials.explain(next.feedback, images, timing.feedback_ms);
    }
    return next;
  }

  async #calibrate() {
    await this.#presenter.calibrate();
    this.#calibrated = true;
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  #finish(view) {
    this.#withdrawButton.hidden = true;
    showEnding(this.#screens.show(view.outcome.outcome), view.outcome);
  }

  get #withdrawButton() {
    return document.querySelector('[data-action="withdraw"]');
  }

  #offerWithdrawal(view) {
    const button = this.#withdrawButton;
    const dialog = part(document, "withdraw-dialog");
    button.hidden = view.phase === "done";
    button.addEventListener("click", () => dialog.showModal());
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      await this.#api.withdraw().catch((error) => this.fail(error));
      location.reload(); // whatever was going on here ends, and the page shows how the session ended
    });
  }
}
