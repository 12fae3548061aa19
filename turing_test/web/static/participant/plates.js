// The screen for colour vision: plates of dots, one after the other.

import { part } from "./screens.js";
import { drawCrisp } from "./stage.js";

const SIDE = 300; // CSS pixels of a plate; participant.css has the same

/** What is read on each plate: the number typed, or "" for none. */
export async function readPlates(screen, plates) {
  const form = part(screen, "answer");
  const canvas = part(screen, "plate");
  canvas.width = canvas.height = Math.round(SIDE * devicePixelRatio);
  const answers = [];
  for (const plate of plates) {
    drawCrisp(canvas, plate);
    form.reset();
    form.elements.number.focus();
    answers.push(await plateAnswer(form));
  }
  return answers;
}

function plateAnswer(form) {
  return new Promise((resolve) => {
    const stop = new AbortController();
    const done = (answer) => {
      stop.abort();
      resolve(answer);
    };
    const { signal } = stop;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done(form.elements.number.value.trim());
    }, { signal });
    form.querySelector('[data-action="none"]').addEventListener("click", () => done(""), { signal });
  });
}
