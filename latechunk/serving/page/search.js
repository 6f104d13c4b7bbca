
"use strict";

// Texts of documents are put in as text nodes. Numbers of characters count code points and are only shown.

const CONTEXT = 280; // characters of the chunks before and after a passage
const find = (id) => document.getElementById(id);
const whole = (number) => number.toLocaleString("en-US");
const counted = (number, name) => `${whole(number)} ${name}${number === 1 ? "" : "s"}`;
let newest = 0; // number of the newest search: an answer to an older one is not shown

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function say(text, isWrong = false) {
  find("status").textContent = text;
  find("status").classList.toggle("wrong", isWrong);
}

async function ask(path, body) {
  const key = find("key").value.trim();
  const headers = { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...(body ? { "Content-Type": "application/json" } : {}) };
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 401) {
    find("key-line").hidden = false;
    throw new Error(key ? "The server does not know this API key." : "This server asks for an API key.");
  }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

async function showIndexes() {
  const { indexes, has_reranker: hasReranker } = await ask("indexes");
  find("facts").textContent = indexes.length
    ? indexes.map((one) => `${one.name}: ${counted(one.n_documents, "document")}, ${counted(one.n_chunks, "chunk")}`).join(" · ")
    : "This server has no index; start it with one to search.";
  find("index").replaceChildren(make("option", { value: "" }, "all"), ...indexes.map((one) => make("option", { value: one.name }, one.name)));
  find("index-line").hidden = indexes.length < 2;
  find("rerank-line").hidden = !hasReranker;
}

function requestOf() {
  const request = { query: find("question").value, k: Number(find("k").value) || 10, neighbours: true };
  if (find("index").value) request.index = find("index").value;
  if (find("mode").value) request.mode = find("mode").value;
  if (find("per-document").checked) request.per_document = true;
  if (find("rerank").checked) request.rerank = true;
  return request;
}

async function search() {
  const request = requestOf();
  if (!request.query.trim()) return;
  newest += 1;
  const own = newest;
  say("Searching …");
  try {
    if (!find("facts").textContent) await showIndexes();
    const { passages } = await ask("search", request);
    if (own !== newest) return;
    showPassages(passages, request.query);
    say(passages.length ? counted(passages.length, "passage") : "Nothing was found.");
    history.replaceState(null, "", `?q=${encodeURIComponent(request.query)}`);
    document.title = `${request.query.slice(0, 80)} – latechunk`;
    if (passages.length) find("results").focus({ preventScroll: true });
  } catch (error) {
    if (own === newest) say(error.message, true);
  }
}

function showPassages(passages, question) {
  const scores = passages.map((one) => one.score);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  const strengthOf = (score) => (most > least ? (score - least) / (most - least) : 1);
  find("results").replaceChildren(...passages.map((one, place) => makePassage(one, place + 1, strengthOf(one.score), question)));
}

function makePassage(one, rank, strength, question) {
  const passage = make("mark", { class: "passage" }, one.after ? one.text : one.text.trimEnd());
  passage.style.setProperty("--strength", strength.toFixed(3));
  const before = one.before ? [make("span", { class: "context" }, tail(one.before))] : [];
  const after = one.after ? [make("span", { class: "context" }, start(one.after).trimEnd())] : [];
  const figures = [
    `score ${one.score.toFixed(3)}`,
    ...(one.dense === null ? [] : [`vectors ${one.dense.toFixed(3)}`]),
    ...(one.lexical === null ? [] : [`words ${one.lexical.toFixed(2)}`]),
    `characters ${whole(one.start)}–${whole(one.end)}`,
  ];
  return make(
    "li",
    {},
    make("h3", { class: "place" }, make("span", { class: "rank" }, String(rank)), make("bdi", {}, one.citation)),
    make("p", { class: "figures" }, figures.join(" · ")),
    make("p", { class: "text", dir: "auto" }, ...before, passage, ...after),
    makeInspect(one, question),
  );
}

/** A form, so that the page of the document opens in a tab of its own. */
function makeInspect(one, question) {
  const form = make("form", { class: "inspect actions", method: "post", action: "inspect", target: "_blank" });
  const fields = { question, document_id: one.document_id, index: one.index };
  for (const [name, value] of Object.entries(fields)) {
    const field = make("input", { type: "hidden", name });
    field.value = value;
    form.append(field);
  }
  form.append(make("input", { type: "hidden", name: "key" }), make("button", { type: "submit" }, "Show in the document"));
  form.addEventListener("submit", () => { form.elements.namedItem("key").value = find("key").value.trim(); });
  return form;
}

const characters = (text) => Array.from(text);
const tail = (text) => (text.length > CONTEXT ? `… ${characters(text).slice(-CONTEXT).join("")}` : text);
const start = (text) => (text.length > CONTEXT ? `${characters(text).slice(0, CONTEXT).join("")} …` : text);

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest && event.target.closest("input, select, textarea");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  find("question").focus();
});
// An address with ?q= asks at once, and each search makes one, to keep or to pass on.
const given = new URLSearchParams(location.search).get("q");
showIndexes().catch((error) => say(error.message, true)).finally(() => {
  if (!given) return;
  find("question").value = given;
  search();
});
