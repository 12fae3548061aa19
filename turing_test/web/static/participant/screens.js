// Showing one screen at a time, and waiting for what its buttons say.

export class Screens {
  #root;
  #current = null;

  constructor(root) {
    this.#root = root;
  }

  /** Show a screen, hide the others; its heading gets the focus, so that screen readers begin there. */
  show(name) {
    const screen = this.#root.querySelector(`[data-screen="${name}"]`);
    if (screen === this.#current) return screen;
    for (const other of this.#root.querySelectorAll("[data-screen]")) other.hidden = other !== screen;
    this.#current = screen;
    document.documentElement.classList.remove("still");
    delete document.documentElement.dataset.level;
    scrollTo(0, 0);
    screen.querySelector("h1").focus({ preventScroll: true });
    return screen;
  }
}

export const part = (screen, name) => screen.querySelector(`[data-part="${name}"]`);

/** The name of the next action button of a screen that is pressed. */
export function nextAction(screen) {
  return new Promise((resolve) => {
    const listener = (event) => {
      const button = event.target.closest("[data-action]");
      if (!button || !screen.contains(button)) return;
      screen.removeEventListener("click", listener);
      resolve(button.dataset.action);
    };
    screen.addEventListener("click", listener);
  });
}

const SLOW_AFTER = 1000; // ms of waiting that need no word
const LOOK_EVERY = 200; // ms

/** The line at the foot of the window that says what is being waited for. */
export class Notice {
  #again;
  #offline;
  #slow;

  constructor(element) {
    this.#again = part(element, "again");
    this.#offline = part(element, "offline");
    this.#slow = part(element, "slow");
  }

  failed(attempt) {
    const offline = navigator.onLine === false || attempt > 3;
    this.#again.hidden = offline;
    this.#offline.hidden = !offline;
  }

  done() {
    this.#again.hidden = this.#offline.hidden = true;
  }

  /**
   * Wait for something that may take long on a slow line, and say so with its progress.
   * @param {Promise} what
   * @param {() => number} progress - from 0 to 1
   */
  async during(what, progress) {
    const start = performance.now();
    const timer = setInterval(() => {
      this.#slow.hidden = performance.now() - start < SLOW_AFTER;
      this.#slow.querySelector("progress").value = progress();
    }, LOOK_EVERY);
    try {
      return await what;
    } finally {
      clearInterval(timer);
      this.#slow.hidden = true;
    }
  }
}
