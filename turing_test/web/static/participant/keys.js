// Waiting for an answer by mouse, touch or keyboard.

const FIRST = ["ArrowLeft", "ArrowUp"];
const SECOND = ["ArrowRight", "ArrowDown"];

/**
 * The participant's choice among two buttons, or several. F and J (their places on the keyboard, whatever is printed there)
 * answer at once, of several the keys 1 to 9; arrows move between the buttons, and Enter or the space bar presses the one in
 * focus.
 * @param {HTMLElement} screen - holds the buttons with data-answer
 * @returns {Promise<{response: string, time: number}>} `time` is when the key or button went down, not when code ran
 */
export function nextAnswer(screen) {
  const buttons = [...screen.querySelectorAll("[data-answer]")];
  return new Promise((resolve) => {
    const stop = new AbortController();
    const choose = (button, time) => {
      stop.abort();
      button.classList.add("chosen");
      resolve({ response: button.dataset.answer, time });
    };
    const listen = (target, type, act) => target.addEventListener(type, act, { signal: stop.signal });

    for (const button of buttons) {
      let pressed = null; // a click comes when the button is let go; people answered when they pressed it
      listen(button, "pointerdown", (event) => (pressed = event.timeStamp));
      listen(button, "click", (event) => choose(button, event.detail && pressed !== null ? pressed : event.timeStamp));
    }
    listen(document, "keydown", (event) => {
      if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
      if (buttons.length > 2) {
        const number = Number(/^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1]);
        if (number <= buttons.length) choose(buttons[number - 1], event.timeStamp);
        else if (event.key in STEPS) focus(event, buttons[next(buttons, event.key, columnsOf(screen))]);
      } else if (event.code === "KeyF") choose(buttons[0], event.timeStamp);
      else if (event.code === "KeyJ") choose(buttons[1], event.timeStamp);
      else if (FIRST.includes(event.key)) focus(event, buttons[0]);
      else if (SECOND.includes(event.key)) focus(event, buttons[1]);
    });
  });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }; // columns and rows

const columnsOf = (screen) => Number(screen.querySelector("[data-columns]").dataset.columns);

/** Which button an arrow leads to: the neighbour, or the same where there is none; the first when none is in focus yet. */
function next(buttons, key, columns) {
  const now = buttons.indexOf(document.activeElement);
  if (now < 0) return 0;
  const [across, down] = STEPS[key];
  const column = (now % columns) + across;
  const to = now + across + down * columns;
  return column < 0 || column >= columns || to < 0 || to >= buttons.length ? now : to;
}

function focus(event, button) {
  event.preventDefault(); // no scrolling
  button.focus({ preventScroll: true });
}
