// The page Library: a grid that holds only what is on screen, filters, a map.

import { $, $$, askJson, parse, sentence } from "./common.js";

const shelf = $("#library");
const version = shelf.dataset.version;
const form = $("#filter");
const grid = $("#grid");
const dialog = $("#detail");
const BLOCK = 60; // rows asked for at once
const MARGIN = 1; // screens drawn beyond what is seen
const keys = JSON.parse(shelf.dataset.keys); // category -> its class in the style sheet
const still = matchMedia("(prefers-reduced-motion: reduce)").matches ? "&still=true" : "";
const svg = "http://www.w3.org/2000/svg";

const state = { total: 0, blocks: new Map(), like: null, near: null, name: "", turn: 0 };
const cells = new Map();
let drawn = 0;

// The conditions as parameters of the API; the page's own address has the same.
function readConditions() {
  const query = new URLSearchParams();
  const text = $("#query").value.trim();
  if (text) query.set("query", text);
  const quadrant = $('input[name="quadrant"]:checked')?.value;
  if (quadrant) query.set("quadrant", quadrant);
  for (const dual of $$(".dual")) {
    const [low, high] = readDual(dual);
    if (low > Number(dual.dataset.low) || high < Number(dual.dataset.high)) {
      query.append("range", `${dual.dataset.name}:${low}:${high}`);
    }
  }
  return query;
}

function readOrder(query) {
  if (state.like !== null) query.set("like", state.like);
  else if (state.near) query.set("near", state.near.join(","));
  else if ($("#sort").value) {
    query.set("sort", $("#sort").value);
    if ($('input[name="ascending"]').checked) query.set("descending", "false");
  }
  return query;
}

function readDual(dual) {
  const low = $(".low", dual);
  const high = $(".high", dual);
  const ends = [Number(dual.dataset.low), Number(dual.dataset.high)];
  const values = [Number(low.value), Number(high.value)].sort((a, b) => a - b);
  // "any" steps round: the ends stand for no bound at all
  const near = (ends[1] - ends[0]) / 500;
  return [
    values[0] - ends[0] < near ? ends[0] : Number(values[0].toFixed(3)),
    ends[1] - values[1] < near ? ends[1] : Number(values[1].toFixed(3)),
  ];
}

function showDual(dual) {
  const [low, high] = readDual(dual);
  const [from, to] = [Number(dual.dataset.low), Number(dual.dataset.high)];
  const isSet = low > from || high < to;
  $("output", dual).textContent = isSet ? `${low.toFixed(2)} … ${high.toFixed(2)}` : "";
  dual.classList.toggle("set", isSet);
  const share = (value) => `${to > from ? (100 * (value - from)) / (to - from) : 0}%`;
  dual.style.setProperty("--low", share(low));
  dual.style.setProperty("--high", share(high));
  for (const input of $$("input", dual)) input.setAttribute("aria-valuetext", Number(input.value).toFixed(2));
}

async function search({ keepScroll = false } = {}) {
  const turn = ++state.turn;
  const conditions = readConditions();
  const query = readOrder(new URLSearchParams(conditions));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  query.set("limit", BLOCK);
  const says = $("#query-says");
  let page;
  try {
    page = await askJson(`/api/library/rows?${query}`);
  } catch (error) {
    if (turn !== state.turn) return;
    says.textContent = sentence(error.message);
    $("#query").setAttribute("aria-invalid", "true");
    if (!state.query) $("#found").textContent = "No search yet";
    return;
  }
  if (turn !== state.turn) return; // a later search came first
  says.textContent = "";
  $("#query").removeAttribute("aria-invalid");
  state.blocks = new Map([[0, page.rows]]);
  state.query = query;
  state.total = page.total;
  for (const cell of cells.values()) cell.remove();
  cells.clear();
  tellMode();
  $("#found").textContent = `${page.total.toLocaleString("en")} ${page.total === 1 ? "row" : "rows"}`;
  if (!keepScroll && grid.getBoundingClientRect().top < 0) grid.scrollIntoView();
  lay();
  if (state.map !== conditions.toString()) {
    state.map = conditions.toString();
    drawMap(conditions, turn);
  }
}

function tellMode() {
  const mode = $("#mode");
  mode.hidden = state.like === null && !state.near;
  const place = state.near?.map((value) => value.toFixed(2));
  $("span", mode).textContent =
    state.like !== null ? `nearest first to ${state.name || `row ${state.like}`}` : place ? `nearest first to valence ${place[0]}, arousal ${place[1]}` : "";
  $(".order").hidden = !mode.hidden;
  const here = $(".here");
  if (here) {
    here.toggleAttribute("hidden", !state.near);
    if (state.near) here.setAttribute("transform", `translate(${100 * state.near[0]} ${-100 * state.near[1]})`);
  }
}

// Which cards are near the screen; only those are in the page.
function lay() {
  const width = grid.clientWidth;
  const columns = Math.max(2, Math.floor((width + 12) / 192));
  const side = (width + 12) / columns;
  const tall = side + 62;
  grid.style.height = `${Math.ceil(state.total / columns) * tall}px`;
  const top = -grid.getBoundingClientRect().top;
  const reach = innerHeight * MARGIN;
  const first = Math.max(0, Math.floor((top - reach) / tall) * columns);
  const last = Math.min(state.total, Math.ceil((top + innerHeight + reach) / tall) * columns);
  for (const [index, cell] of cells) {
    if (index < first || index >= last) {
      if (cell.contains(document.activeElement)) continue; // who is on it stays on it
      $("img", cell)?.removeAttribute("src");
      cell.remove();
      cells.delete(index);
    }
  }
  let before = null;
  for (let index = first; index < last; index++) {
    const row = state.blocks.get(Math.floor(index / BLOCK))?.[index % BLOCK];
    if (!row) {
      load(Math.floor(index / BLOCK));
      continue;
    }
    let cell = cells.get(index);
    if (!cell) {
      cell = makeCell(row, index);
      cells.set(index, cell);
      if (before) before.after(cell);
      else grid.prepend(cell);
    }
    cell.style.transform = `translate(${(index % columns) * side}px, ${Math.floor(index / columns) * tall}px)`;
    cell.style.width = `${side - 12}px`;
    cell.style.setProperty("--side", `${side - 12}px`);
    before = cell;
  }
}

async function load(block) {
  if (state.blocks.has(block)) return;
  const { turn } = state;
  state.blocks.set(block, null);
  const query = new URLSearchParams(state.query);
  query.set("offset", block * BLOCK);
  try {
    const page = await askJson(`/api/library/rows?${query}`);
    if (turn !== state.turn) return;
    state.blocks.set(block, page.rows);
    lay();
  } catch {
    if (turn === state.turn) state.blocks.delete(block); // the next scroll tries again
  }
}

const nameOf = (path) => (path || "").split("/").pop();

function tellCategory(values) {
  if (values.status !== "ok") return values.error || "failed";
  if (values.category) return values.category.replaceAll("_", "-");
  return values.valence === null || values.valence === undefined ? "" : `valence ${values.valence.toFixed(2).replace("-", "−")}`;
}

function tellStrongest(values) {
  let best = null;
  for (const dual of $$(".dual")) {
    const value = values[dual.dataset.name];
    if (typeof value === "number" && (best === null || value > best[1])) best = [dual.dataset.name, value];
  }
  return best ? `${best[0].replace(/^p_/, "")} ${best[1].toFixed(2).replace("-", "−")}` : "";
}

function makeCell(row, index) {
  const { values } = row;
  const cell = document.createElement("article");
  const key = keys[values.category];
  cell.className = `cell ${key || "q0"}`;
  cell.setAttribute("role", "listitem");
  cell.setAttribute("aria-posinset", index + 1);
  cell.setAttribute("aria-setsize", state.total);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "open";
  const frame = document.createElement("span");
  frame.className = "frame";
  if (values.status === "ok") {
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    image.addEventListener("load", () => frame.classList.add("there"));
    image.addEventListener("error", () => {
      if (image.getAttribute("src")) frame.dataset.says = "no picture";
    });
    image.src = `/api/library/thumbs/${row.row}?v=${version}${still}`;
    frame.append(image);
  } else frame.dataset.says = "failed";
  const name = document.createElement("b");
  name.textContent = nameOf(values.path);
  const mood = document.createElement("span");
  mood.className = "mood";
  if (key) mood.append(sign(key));
  mood.append(tellCategory(values));
  const more = document.createElement("span");
  more.className = "dim";
  more.textContent = row.distance === null ? tellStrongest(values) : `distance ${row.distance.toFixed(3)}`;
  button.append(frame, name, mood, more);
  button.addEventListener("click", () => open(row));
  cell.append(button);
  return cell;
}

function sign(key) {
  const mark = document.createElementNS(svg, "svg");
  mark.setAttribute("class", "sign");
  mark.setAttribute("viewBox", "-5 -5 10 10");
  mark.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(svg, "use");
  use.setAttribute("href", `#s-${key}`);
  mark.append(use);
  return mark;
}

async function open(row) {
  $("#detail-name").textContent = nameOf(row.values.path);
  $("#detail-name").title = row.values.path;
  const image = $("img", dialog);
  image.hidden = row.values.status !== "ok";
  image.onerror = () => (image.hidden = true);
  image.src = `/api/library/thumbs/${row.row}?v=${version}${still}`;
  image.alt = `Animation ${nameOf(row.values.path)}`;
  $(".detail-scores").replaceChildren();
  const like = $(".like", dialog);
  like.hidden = row.values.status !== "ok";
  like.onclick = () => {
    dialog.close();
    state.like = row.row;
    state.name = nameOf(row.values.path);
    state.near = null;
    search();
  };
  dialog.showModal();
  try {
    const told = await askJson(`/api/library/rows/${row.row}`);
    $(".detail-scores").replaceChildren(parse(told.html));
  } catch (error) {
    $(".detail-scores").textContent = sentence(error.message);
  }
}

async function drawMap(conditions, turn) {
  const spots = $(".spots");
  if (!spots) return;
  const places = await askJson(`/api/library/positions?${conditions}`).catch(() => null);
  if (!places || turn !== state.turn) return;
  // one path of tiny rounds: thousands of elements would be slow
  const size = places.row.length > 600 ? 1.6 : 2.6;
  const path = document.createElementNS(svg, "path");
  path.setAttribute("d", places.valence.map((x, k) => `M${(100 * x).toFixed(1)} ${(-100 * places.arousal[k]).toFixed(1)}h0`).join(""));
  path.setAttribute("stroke-width", 2 * size);
  path.setAttribute("opacity", places.row.length > 600 ? 0.35 : 0.7);
  spots.replaceChildren(path);
  const part = places.row.length < places.total ? `, ${places.row.length.toLocaleString("en")} of them drawn` : "";
  const told = `${places.total.toLocaleString("en")} clips have a place${part}.`;
  $("#map-says").textContent = `${told} Choose a place to see what is there.`;
  $("#map").setAttribute("aria-label", `Clips found, on the circumplex: ${told}`);
}

function showNear(valence, arousal) {
  const clip = (value) => Math.min(1, Math.max(-1, Number(value) || 0));
  state.near = [clip(valence), clip(arousal)].map((value) => Number(value.toFixed(3)));
  state.like = null;
  [$("#valence").value, $("#arousal").value] = state.near.map((value) => value.toFixed(2));
  search();
}

// The conditions of the page's address.
function restore() {
  const query = new URLSearchParams(location.search);
  $("#query").value = query.get("query") || "";
  const radio = $$('input[name="quadrant"]').find((one) => one.value === (query.get("quadrant") || ""));
  if (radio) radio.checked = true;
  $("#sort").value = query.get("sort") || "";
  $('input[name="ascending"]').checked = query.get("descending") === "false";
  for (const text of query.getAll("range")) {
    const [name, low, high] = text.split(":");
    const dual = $$(".dual").find((one) => one.dataset.name === name);
    if (!dual) continue;
    $(".low", dual).value = low;
    $(".high", dual).value = high;
    $("#sliders").open = true;
  }
  state.like = query.has("like") ? Number(query.get("like")) : null;
  state.near = query.has("near") ? query.get("near").split(",").map(Number) : null;
  for (const dual of $$(".dual")) showDual(dual);
}

let timer = 0;
const soon = (wait) => {
  clearTimeout(timer);
  timer = setTimeout(search, wait);
};

form.addEventListener("submit", (event) => event.preventDefault());
$("#query").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return; // a form without a submit button does not submit
  event.preventDefault();
  soon(0);
});
form.addEventListener("input", (event) => {
  const dual = event.target.closest(".dual");
  if (dual) {
    showDual(dual);
    soon(120);
  } else if (event.target.id === "query") soon(350);
});
form.addEventListener("change", (event) => {
  if (event.target.matches("select, input[type=radio], input[type=checkbox]")) soon(0);
});
$("#mode button").addEventListener("click", () => {
  state.like = state.near = null;
  search();
});
$("#clear").addEventListener("click", () => {
  form.reset();
  state.like = state.near = null;
  for (const dual of $$(".dual")) showDual(dual);
  search();
});
$("#map")?.addEventListener("click", (event) => {
  const box = $("#map").getBoundingClientRect();
  const scale = 244 / box.width;
  const x = ((event.clientX - box.left) * scale - 122) / 100;
  const y = -((event.clientY - box.top) * scale - 122) / 100;
  if (Math.hypot(x, y) <= 1.1) showNear(x, y);
});
$("#near")?.addEventListener("click", () => showNear($("#valence").value, $("#arousal").value));
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

const later = () => {
  if (!drawn) drawn = requestAnimationFrame(() => ((drawn = 0), lay()));
};
addEventListener("scroll", later, { passive: true });
new ResizeObserver(later).observe(grid);
if (matchMedia("(max-width: 900px)").matches) $(".filter-box").open = false;
restore();
search({ keepScroll: true });
