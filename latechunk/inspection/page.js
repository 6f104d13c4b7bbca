
"use strict";

// Texts of the document come cut into pieces and are put in as text nodes. Numbers of characters count code points, which
// JavaScript's strings do not, so that they are shown and compared here, but never used to cut a string.

const N_TOP = 10;
const SVG = "http://www.w3.org/2000/svg";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const whole = (number) => number.toLocaleString("en-US");
const exact = (number) => number.toFixed(3);
const isCompared = data.arms.length > 1;
const range = (start, end) => `${whole(start)}–${whole(end)}`;

// The current chunk is the one whose figures are shown; the resting one is what it is when nothing is pointed at.
const state = { arm: data.arms.find((arm) => arm.name === data.mode), chunk: null, resting: null };
const elements = data.chunks.map(() => null); // the focusable element of each chunk
const headings = data.headings.map(() => null); // the element at which each begins
const parts = data.chunks.map(() => []); // all elements of each chunk; more than one where chunks lie within others

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Lowest and highest; there may be more scores than a call takes arguments. */
function extremes(scores) {
  return scores.reduce(([least, most], one) => [Math.min(least, one), Math.max(most, one)], [Infinity, -Infinity]);
}

/**
 * How strongly to shade a score: 0 for the lowest of the arm, 1 for the highest, by the square of its place between
 * them, as in the legend's ramp: most scores of a document lie close together, and the few high ones are of interest.
 */
function strengthIn(scores) {
  const [least, most] = extremes(scores);
  return (score) => (most > least ? ((score - least) / (most - least)) ** 2 : 1);
}

function ranking(arm) {
  const chunks = [];
  arm.ranks.forEach((rank, chunk) => { chunks[rank - 1] = chunk; });
  return chunks;
}

// The head of the page

function showFacts() {
  document.title = `${data.question} – latechunk inspect`;
  find("question").textContent = data.question;
  const windows = data.nWindows === null ? [] : [data.nWindows === 1 ? "1 window" : `${whole(data.nWindows)} windows`];
  const chunks = data.chunks.length === 1 ? "1 chunk" : `${whole(data.chunks.length)} chunks`;
  const made = data.lateWeight === null ? data.mode : `${data.mode} with late weight ${data.lateWeight}`;
  const rest = [`${whole(data.nCharacters)} characters`, chunks, ...windows, data.model, `index mode ${made}`];
  find("facts").append("in ", make("bdi", {}, data.document), ` · ${rest.filter(Boolean).join(" · ")}`);
  if (data.gold) showGold();
}

function showGold() {
  const holders = data.chunks.flatMap((chunk, number) => (chunk.isGold ? [number] : []));
  const best = (arm) => extremes(holders.map((number) => arm.ranks[number]))[0];
  const where = holders.length
    ? `best rank of a chunk that holds it: ${data.arms.map((arm) => `${arm.name} ${whole(best(arm))}`).join(", ")}. `
    : "no chunk holds it. ";
  const line = find("gold");
  line.append(`Gold span at characters ${range(...data.gold)}; ${where}`);
  if (holders.length) {
    const button = make("button", { type: "button", class: "link" }, "Go to it");
    button.addEventListener("click", () => goTo(holders[0]));
    line.append(button);
  }
  line.hidden = false;
}

// The document

function showText() {
  const text = find("text");
  let holder = text;
  let last = null;
  for (const piece of data.pieces) {
    if (piece.chunk !== last || piece.chunk === null) {
      holder = piece.chunk === null ? text : makeChunk(piece.chunk);
      if (holder !== text) text.append(holder);
      last = piece.chunk;
    }
    holder.append(...makePiece(piece));
  }
}

function makeChunk(number) {
  const isFirst = elements[number] === null;
  const attributes = isFirst ? { class: "chunk", role: "group", tabindex: "0" } : { class: "chunk part" };
  const element = make("span", { ...attributes, "data-chunk": number });
  parts[number].push(element);
  if (isFirst) elements[number] = element;
  return element;
}

function makePiece(piece) {
  const made = [];
  if (piece.page !== null) made.push(makeMark("page", piece.page, `Page ${piece.page.slice(3)} begins here`));
  if (piece.window !== null) made.push(makeMark("seam", `window ${piece.window}`, `Window ${piece.window} begins here`));
  if (piece.isGold && piece.start === data.gold[0]) made.push(makeMark("gold", "gold", "The gold span begins here"));
  if (piece.end > piece.start) {
    const span = make("span", { class: piece.isGold ? "piece gold" : "piece" }, piece.text);
    span.dataset.start = piece.start;
    span.dataset.end = piece.end;
    if (piece.heading !== null) headings[piece.heading] = span;
    made.push(span);
  }
  if (piece.isGold && piece.end === data.gold[1]) made.push(makeMark("gold", "end", "The gold span ends here"));
  return made;
}

/** A mark between two characters. Its words are the style sheet's, so that the text of the page stays the document's. */
function makeMark(kind, text, label) {
  return make("span", { class: `mark ${kind}`, role: "note", "aria-label": label, "data-text": text });
}

// Arms

function showArms() {
  find("arms").classList.toggle("single", !isCompared);
  for (const arm of data.arms) {
    const input = make("input", { type: "radio", name: "arm", value: arm.name });
    input.checked = arm === state.arm;
    input.addEventListener("change", () => { state.arm = arm; shade(); });
    find("arms").append(make("label", { class: "arm" }, input, make("span", {}, arm.name), makeMap(arm)));
  }
}

function makeMap(arm) {
  const map = makeSvg("svg", { class: "map", viewBox: `0 0 ${arm.map.length} 10`, preserveAspectRatio: "none" });
  map.setAttribute("aria-hidden", "true");
  const strength = strengthIn(arm.scores);
  arm.map.forEach((score, x) => {
    const opacity = score === null ? 0 : strength(score);
    map.append(makeSvg("rect", { class: "bar", x, y: 0, width: 1.05, height: 10, "fill-opacity": opacity.toFixed(3) }));
  });
  if (data.gold) {
    const [start, end] = data.gold.map((place) => (place / data.nCharacters) * arm.map.length);
    map.append(makeSvg("rect", { class: "answer", x: start, y: 8, width: Math.max(end - start, 2), height: 2 }));
  }
  return map;
}

function shade() {
  const strength = strengthIn(state.arm.scores);
  parts.forEach((own, chunk) => own.forEach((element) => {
    element.style.setProperty("--strength", strength(state.arm.scores[chunk]).toFixed(3));
    element.dataset.rank = state.arm.ranks[chunk];
    if (element === elements[chunk]) {
      element.toggleAttribute("data-top", state.arm.ranks[chunk] <= N_TOP);
      element.setAttribute("aria-label", describe(chunk));
    }
  }));
  const [least, most] = extremes(state.arm.scores);
  find("least").textContent = exact(least);
  find("most").textContent = exact(most);
  showBest();
  showDetail();
  const [best] = ranking(state.arm);
  find("status").textContent = `Shaded by ${state.arm.name}. Best is chunk ${best + 1} with ${exact(state.arm.scores[best])}.`;
}

function describe(number) {
  const chunk = data.chunks[number];
  return [
    `Chunk ${number + 1} of ${data.chunks.length}`,
    `rank ${state.arm.ranks[number]} by ${state.arm.name}, score ${exact(state.arm.scores[number])}`,
    `characters ${chunk.start} to ${chunk.end}`,
    ...(chunk.shift === null ? [] : [`context shift ${exact(chunk.shift)}`]),
    ...(chunk.isGold ? ["holds the gold span"] : []),
  ].join("; ");
}

function showLegend() {
  const keys = [[make("span", { class: "chunk", "data-top": "", "data-rank": "1" }), `rank in the document, of the first ${N_TOP}`]];
  keys.push([make("span", { class: "chunk" }, "text"), "here begins a chunk"]);
  if (data.gold) keys.push([make("span", { class: "piece gold" }, "answer"), "gold span"]);
  const hasShared = data.chunks.some((chunk, number) => number > 0 && chunk.start < data.chunks[number - 1].end);
  if (hasShared) keys.push([make("span", { class: "piece shared" }, "text"), "of the current chunk and of a later one"]);
  if (data.nWindows > 1) keys.push([makeMark("seam", "window 2", ""), "from here on read in this window"]);
  if (data.pieces.some((piece) => piece.page !== null)) keys.push([makeMark("page", "p. 2", ""), "here begins this page"]);
  if (isCompared) keys.push(["Shift", "1 − cosine of the late and the naive vector: what the context adds"]);
  keys.push(["Strips", "the document from its start to its end", "wide"]);
  for (const [sign, meaning, kind = "any"] of keys) {
    find("keys").append(make("li", { class: kind }, make("span", { "aria-hidden": "true" }, sign), make("span", {}, meaning)));
  }
}

function showBest() {
  const others = data.arms.filter((arm) => arm !== state.arm);
  const items = ranking(state.arm).slice(0, N_TOP).map((number, place) => {
    const elsewhere = others.map((arm) => ` · ${arm.name} ${whole(arm.ranks[number])}`).join("");
    const button = make(
      "button",
      { type: "button", "data-go": number },
      make("span", { class: "rank" }, String(place + 1)),
      make("span", {}, exact(state.arm.scores[number])),
      make("span", { class: "opening" }, data.chunks[number].opening),
      make("span", { class: "elsewhere" }, `chunk ${whole(number + 1)}${elsewhere}${data.chunks[number].isGold ? " · gold" : ""}`),
    );
    button.addEventListener("click", () => goTo(number));
    return make("li", {}, button);
  });
  find("best-title").textContent = `Best chunks by ${state.arm.name}`;
  find("best").replaceChildren(...items);
}

function showOutline() {
  find("outline-box").hidden = !data.headings.length;
  find("outline").append(...data.headings.map(({ level, title }, number) => {
    const button = make("button", { type: "button", class: "link" }, title);
    button.addEventListener("click", () => goToHeading(number));
    const item = make("li", {}, button);
    item.style.setProperty("--level", Math.min(level, 6) - 1);
    return item;
  }));
}

// The current chunk

function showDetail() {
  const chunk = data.chunks[state.chunk];
  const [first, last] = chunk.windows;
  const windows = first === last ? `window ${first}` : `windows ${first}–${last}`;
  const read = data.nWindows > 1 ? ` · ${windows}` : "";
  const tokens = `${whole(chunk.nTokens)} ${chunk.nTokens === 1 ? "token" : "tokens"}`;
  const row = (name, value) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...data.arms.map((arm) => make("td", onIf(arm), value(arm))));
  const head = make("tr", {}, make("td"), ...data.arms.map((arm) => make("th", { scope: "col", ...onIf(arm) }, arm.name)));
  find("detail").replaceChildren(
    make("h2", {}, `Chunk ${whole(state.chunk + 1)} of ${whole(data.chunks.length)}${chunk.isGold ? " · gold" : ""}`),
    ...(chunk.citation ? [make("p", { dir: "auto", class: "citation" }, chunk.citation)] : []),
    make("p", {}, `characters ${range(chunk.start, chunk.end)}`),
    make("p", {}, `${tokens}${read}`),
    ...(chunk.shift === null ? [] : [make("p", {}, `context shift ${exact(chunk.shift)}`)]),
    make(
      "table",
      {},
      make("thead", {}, head),
      make(
        "tbody",
        {},
        row("Score", (arm) => exact(arm.scores[state.chunk])),
        row("Rank", (arm) => whole(arm.ranks[state.chunk])),
      ),
    ),
    make("p", { class: "hint" }, "Point at a chunk, or press Tab, ← and →."),
  );
}

const onIf = (arm) => (arm === state.arm ? { class: "on" } : {});

/** Make a chunk the current one, whose figures are shown. */
function choose(number) {
  if (number === state.chunk) return;
  for (const element of document.querySelectorAll("#text .current")) element.classList.remove("current");
  for (const element of document.querySelectorAll("#text .shared")) element.classList.remove("shared");
  state.chunk = number;
  parts[number].forEach((element) => element.classList.add("current"));
  markShared(number);
  showDetail();
}

/** Mark what the current chunk holds beside its own element: text that is shown in a later chunk, too. */
function markShared(number) {
  const { start, end } = data.chunks[number];
  const others = (element) => Number(element.closest("[data-chunk]").dataset.chunk) !== number;
  for (let next = number + 1; next < data.chunks.length && data.chunks[next].start < end; next += 1) {
    for (const element of parts[next].flatMap((part) => [...part.querySelectorAll(".piece[data-start]")])) {
      const isWithin = start <= Number(element.dataset.start) && Number(element.dataset.end) <= end;
      element.classList.toggle("shared", isWithin && others(element));
    }
  }
}

function goTo(number) {
  elements[number].focus({ preventScroll: true });
  elements[number].scrollIntoView({ block: "center" });
}

/** The heading comes to the top, and the chunk that shows it, or the next that there is, becomes the current one. */
function goToHeading(number) {
  const start = headings[number];
  const after = [...document.querySelectorAll("#text [data-chunk]")].find(
    (element) => element.contains(start) || start.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING,
  );
  if (after) elements[Number(after.dataset.chunk)].focus({ preventScroll: true });
  start.scrollIntoView({ block: "start" });
}

/** Bring the beginning of the best chunk into sight, unless it is there already with the question above it. */
function openAtBest() {
  const { top } = elements[state.resting].getBoundingClientRect();
  if (top > innerHeight / 2) scrollBy(0, top - innerHeight / 4);
}

function chunkOf(event) {
  const element = event.target.closest("[data-chunk]");
  return element ? Number(element.dataset.chunk) : null;
}

function listen() {
  const text = find("text");
  // Not mouseover, which comes, too, when the text is scrolled below a mouse that rests.
  text.addEventListener("mousemove", (event) => choose(chunkOf(event) ?? state.resting));
  text.addEventListener("mouseleave", () => choose(state.resting));
  text.addEventListener("focusin", (event) => {
    state.resting = chunkOf(event) ?? state.resting;
    choose(state.resting);
  });
  text.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const number = chunkOf(event);
    if (!step || number === null || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (elements[number + step]) goTo(number + step);
  });
}

showFacts();
showText();
showArms();
showLegend();
showOutline();
find("best-box").open = matchMedia("(min-width: 60.01rem)").matches;
state.resting = ranking(state.arm)[0];
choose(state.resting);
shade();
listen();
openAtBest();
