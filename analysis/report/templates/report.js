// The comforts of the report. Everything that it says can be read without them.
"use strict";
(() => {
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  // Tables: a click on a heading sorts by it, a second one turns the order, a third brings back the first order.
  const cellText = (row, column) => {
    const copy = row.cells[column].cloneNode(true);
    copy.querySelectorAll("sup, .published").forEach((mark) => mark.remove());
    return copy.textContent.trim();
  };
  const firstNumber = (text) => {
    const match = /[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i.exec(text.replaceAll("\u2212", "-"));
    return match ? Number(match[0].replaceAll(",", "")) : NaN;
  };
  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = element("button", { className: "sort", type: "button" });
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const before = heading.getAttribute("aria-sort");
        [...heading.parentNode.cells].forEach((other) => other.removeAttribute("aria-sort"));
        const order = before === null ? "ascending" : before === "ascending" ? "descending" : "";
        if (!order) {
          body.append(...original);
          return;
        }
        heading.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const words = new Map(original.map((row) => [row, cellText(row, column)]));
        const numbers = new Map(original.map((row) => [row, column ? firstNumber(words.get(row)) : NaN]));
        const numeric = original.some((row) => !Number.isNaN(numbers.get(row)));
        const missing = (row) => (numeric ? Number.isNaN(numbers.get(row)) : !words.get(row));
        body.append(...[...original].sort((one, two) => {
          if (missing(one) || missing(two)) return missing(one) - missing(two);  // what is missing stays last
          if (numeric) return sign * (numbers.get(one) - numbers.get(two));
          return sign * words.get(one).localeCompare(words.get(two), "en", { numeric: true });
        }));
      });
    });
  };
  document.querySelectorAll("table").forEach((table) => {
    if (table.tHead && table.tBodies.length && table.tBodies[0].rows.length > 1) makeSortable(table);
  });

  // Pictures by image: those of the galleries, and those that only the scatter needs.
  const pictures = new Map();
  const photos = [];
  document.querySelectorAll(".row[data-image]").forEach((row) => {
    const shown = [...row.querySelectorAll("img")].map((img) => ({ heading: img.dataset.heading, source: img.src }));
    if (!shown.length) return;
    const photo = { image: row.dataset.image, note: row.querySelector(".row-note").textContent, shown };
    photos.push(photo);
    if (!pictures.has(photo.image)) pictures.set(photo.image, shown);
    row.querySelectorAll("img").forEach((img, number) => {
      const button = element("button", { type: "button" });
      img.replaceWith(button);
      button.append(img);
      button.addEventListener("click", () => openViewer(photo, number));
    });
  });
  const stored = document.getElementById("scatter-pictures");
  Object.entries(stored ? JSON.parse(stored.textContent) : {}).forEach(([image, shown]) => {
    pictures.set(image, shown.map(([heading, source]) => ({ heading, source })));
  });

  // The viewer: truth, input and methods in the same place.
  let viewer = null;
  const makeViewer = () => {
    const title = element("h2", { id: "viewer-title" });
    const stage = element("div", { className: "stage" });
    const choices = element("div", { className: "choices" });
    const words = element("p", { className: "soft" });
    words.setAttribute("role", "status");
    const close = element("button", { type: "button" }, "Close");
    const help = element("p", { className: "soft" }, "Left and right: the same photo by the next method. Up and down: the next photo.");
    const dialog = element("dialog", { className: "viewer" }, title, stage, choices, words, help,
      element("div", { className: "choices" }, close));
    dialog.setAttribute("aria-labelledby", "viewer-title");
    document.body.append(dialog);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      if (step[0]) show(viewer.number + step[0]);
      else fill(nextPhoto(step[1]), viewer.number);
    });
    return { dialog, title, stage, choices, words, photo: null, number: 0 };
  };
  const nextPhoto = (step) => {
    const place = photos.indexOf(viewer.photo);
    return place < 0 ? viewer.photo : photos[(place + step + photos.length) % photos.length];
  };
  const show = (number) => {
    const count = viewer.photo.shown.length;
    viewer.number = (number + count) % count;
    [...viewer.stage.children].forEach((img, k) => img.classList.toggle("shown", k === viewer.number));
    [...viewer.choices.children].forEach((button, k) => button.setAttribute("aria-pressed", String(k === viewer.number)));
    if (viewer.dialog.open) viewer.choices.children[viewer.number].focus();
    viewer.words.textContent = `${viewer.photo.shown[viewer.number].heading} (${viewer.number + 1} of ${count})`;
  };
  const fill = (photo, number) => {
    viewer.photo = photo;
    viewer.title.textContent = photo.note || photo.image;
    viewer.stage.replaceChildren(...photo.shown.map(({ heading, source }) =>
      element("img", { src: source, alt: `${heading} of ${photo.image}` })));
    viewer.choices.replaceChildren(...photo.shown.map(({ heading }, k) => {
      const button = element("button", { type: "button" }, heading);
      button.addEventListener("click", () => show(k));
      return button;
    }));
    show(Math.min(number, photo.shown.length - 1));
  };
  const openViewer = (photo, number) => {
    viewer ??= makeViewer();
    fill(photo, number);
    viewer.dialog.showModal();
    viewer.choices.children[viewer.number].focus();
  };

  // Points of a scatter: pointer, touch or arrow keys show the pictures behind one, a click or Enter opens them.
  const NEAR = 12;  // pixels of the screen
  document.querySelectorAll("svg[data-points]").forEach((svg) => {
    const points = [...svg.querySelectorAll("use[data-image]")];
    if (!points.length) return;
    const tip = element("div", { className: "tip", hidden: true });
    tip.setAttribute("role", "status");
    document.body.append(tip);
    svg.setAttribute("role", "group");
    svg.setAttribute("tabindex", "0");
    let current = -1;
    const label = points.map((point) => {
      const title = point.querySelector("title");  // the browser's own tip would cover ours
      const words = title.textContent;
      title.remove();
      return words;
    });
    const leave = () => {
      if (current >= 0) points[current].classList.remove("current");
      current = -1;
      tip.hidden = true;
    };
    const choose = (number) => {
      if (number === current) return;
      leave();
      current = number;
      const point = points[number];
      point.classList.add("current");
      const shown = pictures.get(point.dataset.image) ?? [];
      tip.replaceChildren(element("p", {}, label[number]), element("div", { className: "strip" }, ...shown.map(
        ({ heading, source }) => element("div", {}, element("img", { src: source, alt: heading }), heading))));
      tip.hidden = false;
      const place = point.getBoundingClientRect();
      const left = Math.max(4, Math.min(place.left, document.documentElement.clientWidth - tip.offsetWidth - 4));
      const below = place.bottom + 10;
      const top = below + tip.offsetHeight > window.innerHeight && place.top > tip.offsetHeight + 10
        ? place.top - tip.offsetHeight - 10 : below;
      tip.style.left = `${left + window.scrollX}px`;
      tip.style.top = `${top + window.scrollY}px`;
    };
    const nearest = (event) => {
      const screen = svg.getScreenCTM();
      let best = -1;
      let least = NEAR;
      points.forEach((point, k) => {
        const x = screen.a * Number(point.getAttribute("x")) + screen.e - event.clientX;
        const y = screen.d * Number(point.getAttribute("y")) + screen.f - event.clientY;
        if (Math.hypot(x, y) < least) [best, least] = [k, Math.hypot(x, y)];
      });
      return best;
    };
    const open = (number) => {
      const image = points[number].dataset.image;
      const shown = pictures.get(image);
      if (!shown) return;
      leave();
      openViewer({ image, note: image, shown }, 0);
    };
    svg.addEventListener("pointermove", (event) => {
      const near = nearest(event);
      if (near < 0) leave(); else choose(near);
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("click", (event) => {
      const near = nearest(event);
      if (near >= 0) open(near);
    });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (step) {
        event.preventDefault();
        choose(current < 0 ? 0 : (current + step + points.length) % points.length);
      } else if (event.key === "Enter" && current >= 0) open(current);
      else if (event.key === "Escape") leave();
    });
  });
})();
