"use strict";
const videos = [...document.querySelectorAll("video")];
const pause = document.querySelector(".pause");
const toggle = (play) => {
  videos.forEach((video) => (play ? video.play().catch(() => {}) : video.pause()));
  pause.textContent = play ? "Pause videos" : "Play videos";
  pause.dataset.play = play ? "" : "1";
};
videos.forEach((video) => {
  video.removeAttribute("controls");
  video.addEventListener("click", () => (video.paused ? video.play() : video.pause()));
});
if (videos.length) {
  pause.hidden = false;
  pause.addEventListener("click", () => toggle(pause.dataset.play === "1"));
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) toggle(false);
}

document.querySelectorAll(".copy").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
});

document.querySelectorAll(".chart").forEach((chart) => {
  const [low, high, start, end] = chart.dataset.x.split(",").map(Number);
  const output = chart.parentElement.querySelector("output");
  const cursor = chart.querySelector(".cursor");
  const lines = [...chart.querySelectorAll(".line")].map((line) => ({
    label: line.dataset.label,
    points: line.dataset.v.split(" ").map((point) => point.split(",").map(Number)),
  }));
  const steps = [...new Set(lines.flatMap((line) => line.points.map((point) => point[0])))].sort((a, b) => a - b);
  const nearest = (list, step, of) => list.reduce((a, b) => (Math.abs(of(b) - step) < Math.abs(of(a) - step) ? b : a));
  let shown = steps[steps.length - 1];
  const show = (wanted) => {
    shown = nearest(steps, wanted, (step) => step);
    const text = [`step ${shown.toLocaleString("en")}`];
    for (const { label, points } of lines) {
      const point = nearest(points, shown, (p) => p[0]);
      text.push(`${label} ${point[1].toLocaleString("en", { maximumSignificantDigits: 4 })}`);
    }
    const x = start + ((shown - low) / (high - low)) * (end - start);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: 6, y2: 190 })) line.setAttribute(name, value);
    cursor.replaceChildren(line);
    output.textContent = text.join("\n");
    output.className = x > (start + end) / 2 ? "leftside" : "";
    output.hidden = false;
  };
  const hide = () => {
    output.hidden = true;
    cursor.replaceChildren();
  };
  const pointed = (event) => {
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
    show(low + ((x - start) / (end - start)) * (high - low));
  };
  chart.addEventListener("pointermove", pointed);
  chart.addEventListener("pointerdown", pointed);
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    show(output.hidden ? shown : steps[Math.min(Math.max(steps.indexOf(shown) + by, 0), steps.length - 1)]);
  });
});
