// The page Vote: a pair, an answer, the next pair. What is not on the server's disk yet is kept here.

import { $, $$, askJson, sendJson, sentence, wait } from "./common.js";

const KEPT = "moodreel-votes";
const emotion = $("#emotion");
const says = $("#says");
const left = $("#left");
const right = $("#right");
const undo = $("#undo");
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const svg = "http://www.w3.org/2000/svg";
const done = []; // votes of this visit that can be taken back
let pair = null;
let turn = 0;
let isSending = false;

const readKept = () => {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) || [];
  } catch {
    return [];
  }
};
const keep = (votes) => {
  try {
    localStorage.setItem(KEPT, JSON.stringify(votes));
  } catch {
    // a browser that keeps nothing: the vote is still on its way
  }
};
let pending = readKept();

const picture = (item, small = false) =>
  `/api/votes/picture?${new URLSearchParams({ item, small, still: calm })}`;

const setReady = (isReady) => {
  for (const button of $$("[data-choice]")) button.disabled = !isReady;
};

async function show(item, button) {
  const image = $("img", button);
  const frame = $(".frame", button);
  frame.classList.remove("there");
  delete frame.dataset.says;
  await new Promise((over) => {
    image.onload = () => (frame.classList.add("there"), over());
    image.onerror = () => ((frame.dataset.says = "no picture: skip it"), over());
    image.src = picture(item);
  });
}

async function next() {
  const now = ++turn;
  setReady(false);
  const query = new URLSearchParams({ emotion: emotion.value });
  history.replaceState(null, "", `?${query}`);
  $("#what").textContent = emotion.value;
  try {
    pair = await askJson(`/api/votes/next?${query}`);
  } catch (error) {
    says.textContent = sentence(error.message);
    return;
  }
  if (now !== turn) return;
  if (!pair) {
    says.textContent = "There are too few clips to ask about.";
    return;
  }
  await Promise.all([show(pair.left, left), show(pair.right, right)]);
  if (now === turn) setReady(true);
}

function cast(choice) {
  if (!pair || left.disabled) return;
  pending.push({ ...pair, choice, token: crypto.randomUUID?.() || `${Date.now()}-${Math.random()}` });
  keep(pending);
  says.textContent = "";
  send().then(next);
}

// Sends what is kept, oldest first; each is forgotten when the server has it on its disk.
async function send() {
  if (isSending) return;
  isSending = true;
  try {
    while (pending.length) {
      try {
        const vote = await sendJson("/api/votes", pending[0]);
        done.push(vote);
      } catch (error) {
        if (error.status === 0 || error.status >= 500 || error.status === 429) {
          says.textContent = `${sentence(error.message)} ${pending.length} ${pending.length === 1 ? "vote is" : "votes are"} kept in this browser and sent again.`;
          await wait(2000);
          continue;
        }
        says.textContent = sentence(error.message); // it will never be taken
        if (error.status === 403) return;
      }
      pending = pending.slice(1);
      keep(pending);
      if (!pending.length) refresh();
    }
  } finally {
    isSending = false;
    undo.disabled = !done.length;
  }
}

async function takeBack() {
  const vote = done.pop();
  if (!vote) return;
  undo.disabled = true;
  try {
    await sendJson("/api/votes/undo", { number: vote.number });
    emotion.value = vote.emotion;
    pair = { emotion: vote.emotion, left: vote.left, right: vote.right };
    turn++;
    $("#what").textContent = vote.emotion;
    setReady(false);
    await Promise.all([show(pair.left, left), show(pair.right, right)]);
    setReady(true);
    says.textContent = "";
    refresh("Taken back. ");
  } catch (error) {
    done.push(vote);
    says.textContent = sentence(error.message);
  } finally {
    undo.disabled = !done.length;
  }
}

async function refresh(lead = "") {
  const name = emotion.value;
  try {
    const [counts, ranks] = await Promise.all([
      askJson("/api/votes/counts"),
      askJson(`/api/votes/ranking?${new URLSearchParams({ emotion: name, limit: 20 })}`),
    ]);
    const own = Object.values(counts.own).reduce((sum, count) => sum + count, 0);
    const people = `${counts.voters} ${counts.voters === 1 ? "person" : "people"}`;
    $("#tally").textContent =
      `${lead}Your votes: ${counts.own[name] || 0} on ${name}, ${own} in all. ` +
      `Everybody's: ${counts.emotions[name] || 0} on ${name}, ${counts.votes} in all, by ${people}.`;
    if (name === emotion.value) showRanks(ranks);
  } catch {
    // the next vote shows it
  }
}

function showRanks(ranks) {
  $(".ranking").hidden = !ranks.length;
  $("#ranks").replaceChildren(
    ...ranks.map((rank, k) => {
      const row = document.createElement("tr");
      const cell = (text, kind = "number") => {
        const one = document.createElement("td");
        one.className = kind;
        one.append(text);
        return one;
      };
      const name = document.createElement("th");
      name.scope = "row";
      const image = new Image(40, 40);
      image.alt = "";
      image.loading = "lazy";
      image.src = picture(rank.item, true);
      const text = document.createElement("bdi");
      text.textContent = rank.item.split("/").pop();
      name.append(image, text);
      const bar = cell(drawBar(rank), "bar");
      row.append(cell(`${k + 1}`), name, bar, cell(signed(rank.score)), cell((rank.sigma / 25).toFixed(2)), cell(`${rank.votes}`));
      return row;
    }),
  );
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

function drawBar({ score, sigma }) {
  const chart = document.createElementNS(svg, "svg");
  chart.setAttribute("viewBox", "0 0 200 12");
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("aria-hidden", "true");
  const place = (value) => 100 * (Math.min(1, Math.max(-1, value)) + 1);
  const bar = document.createElementNS(svg, "rect");
  for (const [key, value] of Object.entries({ x: 0, y: 1.5, height: 9, width: Math.max(0.8, place(score)) })) bar.setAttribute(key, value);
  const line = document.createElementNS(svg, "path");
  line.setAttribute("d", `M${place(score - (2 * sigma) / 25)} 6H${place(score + (2 * sigma) / 25)}`);
  chart.append(bar, line);
  return chart;
}

for (const button of $$("[data-choice]")) button.addEventListener("click", () => cast(button.dataset.choice));
$("#skip").addEventListener("click", next);
undo.addEventListener("click", takeBack);
emotion.addEventListener("change", () => {
  next();
  refresh();
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("select, input, textarea")) return;
  const act = {
    ArrowLeft: () => cast("left"),
    ArrowRight: () => cast("right"),
    ArrowDown: () => cast("neither"),
    n: () => cast("neither"),
    s: next,
    u: takeBack,
    Backspace: takeBack,
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

const asked = new URLSearchParams(location.search).get("emotion");
if (asked && [...emotion.options].some((option) => option.value === asked)) emotion.value = asked;
await send();
next();
refresh();
