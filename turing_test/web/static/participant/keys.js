// Waiting for an answer by mouse, touch or keyboard.

const FIRST = ["ArrowLeft", "ArrowUp"];
const SECOND = ["ArrowRight", "ArrowDown"];

/**
 * The participant's choice among two buttons. F and J (their places on the keyboard, whatever is printed there) answer
 * at once; arrows move between the buttons, and Enter or the space bar presses the one in focus.
 * @param {HTMLElement} screen - holds two buttons with data-answer
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
      if (event.code === "KeyF") choose(buttons[0], event.timeStamp);
      else if (event.code === "KeyJ") choose(buttons[1], event.timeStamp);
      else if (FIRST.includes(event.key)) focus(event, buttons[0]);
      else if (SECOND.includes(event.key)) focus(event, buttons[1]);
    });
  });
}

function focus(event, button) {
  event.preventDefault(); // no scrolling
  button.focus({ preventScroll: true });
}
