// The page Look: files in, a card each.

import { $, $$, Refusal, ask, askJson, parse, save, sentence, wait } from "./common.js";
import { Player } from "./player.js";

const AT_ONCE = 2; // clips that this page has read at one time
const form = $("#ask");
const input = $("#files");
const drop = $("#drop");
const says = $("#says");
const most = Number(form.dataset.bytes);
const queue = [];
let active = 0;

const chosen = () => $$('input[name="model"]:checked').map((box) => box.value);
const steps = { open: "Opening", draw: "Drawing" };

class Card {
  constructor(file) {
    this.file = file;
    this.results = new Map();
    this.wanted = new Set();
    this.isRemoved = false;
    this.root = $("#card").content.firstElementChild.cloneNode(true);
    $(".name", this.root).textContent = file.name;
    $("h2", this.root).id = `clip-${(Card.count = (Card.count || 0) + 1)}`;
    this.root.setAttribute("aria-labelledby", $("h2", this.root).id);
    const remove = $(".remove", this.root);
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => this.remove());
    $(".save", this.root).addEventListener("click", () => this.save());
    $(".overlay", this.root).addEventListener("click", (event) => this.saveOverlay(event.currentTarget));
    this.work = $(".work", this.root);
    this.bar = $("progress", this.root);
    $("#clips").prepend(this.root);
  }

  // Has the models that are chosen and have not read the clip yet read it.
  want(models) {
    const missing = models.filter((name) => !this.wanted.has(name));
    this.showChosen();
    if (!missing.length) return;
    missing.forEach((name) => this.wanted.add(name));
    this.say("Waiting");
    queue.push({ card: this, models: missing });
    pump();
  }

  say(text, share = null) {
    this.work.hidden = !text;
    $("span", this.work).textContent = text ? `${text}${share === null ? "" : ` ${Math.round(100 * share)} %`}` : "";
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  fail(text) {
    const place = $(".stage + .reason, :scope > .reason", this.root);
    place.hidden = false;
    place.textContent = sentence(text);
  }

  async read(models) {
    const isDrawn = !this.player;
    if (this.file.size > most) throw new Refusal(413, "limit", `larger than ${Math.floor(most / 1048576)} MB`);
    this.say("Sending");
    const body = new FormData();
    body.append("files", this.file, this.file.name);
    const query = new URLSearchParams(models.map((name) => ["model", name]));
    query.append("draw", isDrawn);
    let job = await askJson(`/api/jobs?${query}`, { method: "POST", body });
    const path = `/api/jobs/${job.id}`;
    try {
      const got = new Set();
      for (let pause = 120; ; pause = Math.min(1000, pause * 1.3)) {
        if (this.isRemoved) return;
        if (isDrawn && job.preview && !this.player) {
          await this.show(job.preview, await (await ask(`${path}/frames`)).arrayBuffer());
        }
        for (const name of job.results.filter((one) => !got.has(one))) {
          got.add(name);
          this.take(await askJson(`${path}/results/${name}`));
        }
        if (job.state === "failed") throw new Refusal(0, job.error, job.reason);
        if (job.state === "done" && got.size === job.results.length) return;
        const isReading = job.state === "working" && !steps[job.step];
        const text = job.state === "waiting" ? "Waiting" : steps[job.step] || `Reading with ${job.step}`;
        this.say(text, job.state === "waiting" || (isReading && job.progress === 0) ? null : job.progress);
        await wait(pause);
        job = await askJson(path);
      }
    } finally {
      ask(path, { method: "DELETE" }).catch(() => {});
    }
  }

  async show(preview, packed) {
    $(".stage", this.root).hidden = false;
    const facts = [`${preview.frames} ${preview.frames === 1 ? "picture" : "pictures"}`];
    facts.push(`${preview.source_width} × ${preview.source_height} px`);
    if (preview.duration_s > 0) facts.push(`${preview.duration_s.toFixed(2)} s`);
    $(".facts", this.root).textContent = facts.join(", ");
    this.player = new Player($(".player", this.root), preview, packed, this.file.name);
  }

  take(result) {
    const panel = parse(result.html);
    delete result.html;
    this.results.set(result.model, result);
    const place = $(".models", this.root);
    const names = $$('input[name="model"]').map((box) => box.value);
    const after = [...place.children].find((one) => names.indexOf(one.dataset.model) > names.indexOf(result.model));
    place.insertBefore(panel, after || null);
    this.player?.add(result, panel);
    $(".card-foot", this.root).hidden = false;
    this.showChosen();
  }

  showChosen() {
    const names = chosen();
    for (const panel of $$(".model", this.root)) panel.hidden = names.length > 0 && !names.includes(panel.dataset.model);
    const shown = $$(".model:not([hidden])", this.root).length;
    $(".models", this.root).dataset.count = Math.min(4, shown);
    this.player?.fillChoice();
  }

  save() {
    const results = [...this.results.values()].map(({ frame_boxes, ...rest }) => rest);
    const text = JSON.stringify({ schema: 1, results }, null, 1);
    save(new Blob([text], { type: "application/json" }), `${this.file.name}.json`);
  }

  async saveOverlay(button) {
    const panel = $(".model:not([hidden])", this.root);
    const model = this.player?.whose.value || panel.dataset.model;
    const label = button.textContent;
    button.disabled = true;
    button.textContent = "Drawing …";
    try {
      const body = new FormData();
      body.append("files", this.file, this.file.name);
      const query = new URLSearchParams({ model });
      const response = await ask(`/api/overlay?${query}`, { method: "POST", body });
      save(await response.blob(), response.headers.get("x-filename") || "overlay.gif");
    } catch (error) {
      this.fail(`no overlay: ${error.message}`);
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  }

  remove() {
    this.isRemoved = true;
    this.player?.stop();
    const next = this.root.nextElementSibling || input;
    this.root.remove();
    ($(".remove", next) || input).focus();
  }
}

const cards = () => all.filter((card) => !card.isRemoved);
const all = [];

async function pump() {
  if (active >= AT_ONCE || !queue.length) return;
  const { card, models } = queue.shift();
  active++;
  try {
    if (!card.isRemoved) await card.read(models);
  } catch (error) {
    models.forEach((name) => card.wanted.delete(name));
    card.fail(error.message);
  } finally {
    active--;
    card.say("");
    pump();
  }
}

function add(files) {
  const found = [...files];
  const models = chosen();
  says.textContent = "";
  if (!models.length) {
    says.textContent = "Choose at least one model to read with.";
    return;
  }
  for (const file of found) {
    const card = new Card(file);
    all.push(card);
    card.want(models);
  }
  if (found.length) drop.classList.add("small");
}

input.addEventListener("change", () => {
  add(input.files);
  input.value = "";
});

form.addEventListener("submit", (event) => event.preventDefault());
for (const box of $$('input[name="model"]')) {
  box.addEventListener("change", () => cards().forEach((card) => card.want(chosen())));
}

if (input.files.length) input.dispatchEvent(new Event("change")); // chosen before this script was there

let depth = 0;
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  depth++;
  drop.classList.add("over");
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) drop.classList.remove("over");
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  if (event.dataTransfer?.files.length) add(event.dataTransfer.files);
  else says.textContent = "That was no file: save it first, then drop it here.";
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) {
    event.preventDefault();
    add(event.clipboardData.files);
  }
});
