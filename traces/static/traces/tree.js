// The list of steps as a tree (the ARIA pattern, flat, with levels), and the panel beside it.
// Without scripts the same links open the same panels, a page each.

import { SignedOut, fragment, poll } from "./live.js";

const root = document.querySelector("[data-trace]");
const said = document.querySelector("[data-said]");
const panel = document.getElementById("panel");
const BROKEN = new Set(["failed", "timed_out", "lost"]);
const TYPED_WITHIN = 700;
const FOLLOW_AFTER = 150;
// Parameters by which the server leaves nodes out; here all are needed, and hidden.
const WHOLE = { find: null, errors: null, hide: null };

const folded = new Set();
const panels = new Map();
let nodes = [];
let tree;

// The nodes

function read() {
  tree = document.getElementById("tree");
  tree.setAttribute("role", "tree");
  tree.setAttribute("aria-label", tree.dataset.label);
  nodes = [...tree.children].map((item) => {
    const link = item.firstElementChild;
    const texts = [...link.querySelectorAll(".name, .extra")].map((part) => part.textContent);
    item.setAttribute("role", "none");
    link.setAttribute("role", "treeitem");
    link.tabIndex = -1;
    return {
      item,
      link,
      id: link.id,
      level: Number(item.dataset.level),
      isParent: "parent" in link.dataset,
      isBroken: BROKEN.has(item.dataset.state),
      isNoise: "noise" in item.dataset,
      text: texts.join(" ").toLowerCase(),
      isShown: true,
    };
  });
  mark(current() ?? nodes[0]);
}

const current = () => nodes.find((node) => node.link.getAttribute("aria-current") === "true");
const nodeOf = (link) => nodes.find((node) => node.link === link);
const shown = () => nodes.filter((node) => node.isShown);

function mark(chosen) {
  for (const node of nodes) {
    const isChosen = node === chosen;
    if (isChosen || node.link.hasAttribute("aria-current")) {
      node.link.toggleAttribute("aria-current", isChosen);
      if (isChosen) node.link.setAttribute("aria-current", "true");
    }
    node.link.setAttribute("aria-selected", String(isChosen));
    node.link.tabIndex = isChosen ? 0 : -1;
  }
}

// What is shown of them

const tools = document.querySelector("[data-tree-tools]");
const wishes = () => ({
  find: tools.elements.find.value.trim().toLowerCase(),
  errors: tools.elements.errors.checked,
  hide: tools.elements.hide.checked,
});

function draw() {
  const { find, errors, hide } = wishes();
  const fits = (node) => (!errors || node.isBroken) && node.text.includes(find);
  const kept = new Set();
  // From the end: a node stays if it fits, or anything below it does.
  let needed = 0;
  for (const node of [...nodes].reverse()) {
    if (!fits(node) && node.level >= needed) continue;
    kept.add(node);
    needed = node.level;
  }
  const above = [];
  for (const node of nodes) {
    while (above.length && above.at(-1).level >= node.level) above.pop();
    const parent = above.at(-1);
    const isHidden = hide && node.isNoise && !node.isBroken;
    const isFolded = parent ? parent.isFolded : false;
    const level = (parent ? parent.shownLevel : 0) + (isHidden ? 0 : 1);
    node.isShown = kept.has(node) && !isHidden && !isFolded;
    if (node.item.hidden === node.isShown) node.item.hidden = !node.isShown;
    if (node.item.dataset.level !== String(level)) node.item.dataset.level = level;
    node.link.setAttribute("aria-level", level);
    if (node.isParent) node.link.setAttribute("aria-expanded", String(!folded.has(node.id)));
    above.push({
      level: node.level,
      shownLevel: level,
      isFolded: isFolded || (folded.has(node.id) && !isHidden),
    });
  }
  document.querySelector("[data-none]").hidden = shown().length > 0;
  const reachable = shown().find((node) => node.link.tabIndex === 0);
  if (!reachable && shown().length) shown()[0].link.tabIndex = 0;
}

function fold(node, isFolded) {
  if (isFolded) folded.add(node.id);
  else folded.delete(node.id);
  draw();
}

// The panel

let wanted = null;
let following = 0;

function choose(node, { push = true } = {}) {
  clearTimeout(following);
  mark(node);
  const url = new URL(node.link.href);
  for (const name of Object.keys(WHOLE)) {
    const value = new URL(location.href).searchParams.get(name);
    if (value) url.searchParams.set(name, value);
  }
  if (url.href !== location.href) history[push ? "pushState" : "replaceState"](null, "", url);
  return load(node);
}

async function load(node) {
  wanted?.abort();
  const asked = (wanted = new AbortController());
  const id = node.id.slice(2);
  if (panels.has(id)) return show(panels.get(id));
  panel.setAttribute("aria-busy", "true");
  const title = document.createElement("h2");
  title.textContent = node.link.querySelector(".name").textContent;
  const text = document.createElement("p");
  text.className = "muted";
  text.textContent = root.dataset.loading;
  panel.replaceChildren(title, text);
  try {
    const fresh = await fragment("panel", { node: id }, asked.signal);
    const found = fresh.querySelector(".panel");
    if (found.dataset.state !== "running") panels.set(id, found);
    show(found);
  } catch (error) {
    if (asked.signal.aborted) return;
    text.textContent = error instanceof SignedOut ? root.dataset.signedOut : root.dataset.failed;
    panel.removeAttribute("aria-busy");
  }
}

function show(found) {
  panel.removeAttribute("aria-busy");
  panel.replaceChildren(document.adoptNode(found));
}

panel.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-load-rest]");
  if (!link) return;
  event.preventDefault();
  const response = await fetch(link.href);
  if (!response.ok || response.redirected) return;
  const box = link.closest("[data-payload]");
  box.querySelector("pre").textContent = await response.text();
  link.closest("p").remove();
});

addEventListener("popstate", () => {
  const id = new URL(location.href).searchParams.get("node");
  const node = nodes.find((one) => one.id === `n-${id}`) ?? nodes[0];
  mark(node);
  load(node);
});

// The keyboard

let typed = "";
let typedAt = 0;

function focus(node) {
  if (!node) return;
  for (const one of nodes) one.link.tabIndex = one === node ? 0 : -1;
  node.link.focus();
  // Whoever walks through sees each node where they stop.
  clearTimeout(following);
  following = setTimeout(() => choose(node, { push: false }), FOLLOW_AFTER);
}

const next = (node, by) => {
  const list = shown();
  return list[list.indexOf(node) + by];
};
const parentOf = (node) =>
  nodes.slice(0, nodes.indexOf(node)).findLast((one) => one.level < node.level && one.isShown);
const isOpen = (node) => node.isParent && !folded.has(node.id);

const KEYS = {
  ArrowDown: (node) => focus(next(node, 1)),
  ArrowUp: (node) => focus(next(node, -1)),
  j: (node) => focus(next(node, 1)),
  k: (node) => focus(next(node, -1)),
  Home: () => focus(shown()[0]),
  End: () => focus(shown().at(-1)),
  ArrowRight: (node) => {
    if (node.isParent && folded.has(node.id)) fold(node, false);
    else if (node.isParent) focus(next(node, 1));
  },
  ArrowLeft: (node) => {
    if (isOpen(node)) fold(node, true);
    else focus(parentOf(node));
  },
  "*": (node) => {
    const at = nodes.indexOf(node);
    const isAbove = (one) => one.level < node.level;
    const first = nodes.slice(0, at).findLastIndex(isAbove) + 1;
    const end = nodes.slice(at).findIndex(isAbove);
    const family = nodes.slice(first, end < 0 ? undefined : at + end);
    for (const one of family) if (one.level === node.level) folded.delete(one.id);
    draw();
  },
  Enter: (node) => choose(node),
  " ": (node) => choose(node),
};

function typeAhead(node, key) {
  typed = Date.now() - typedAt < TYPED_WITHIN ? typed + key : key;
  typedAt = Date.now();
  const list = shown();
  const at = list.indexOf(node) + (typed.length === 1 ? 1 : 0);
  const round = [...list.slice(at), ...list.slice(0, at)];
  focus(round.find((one) => one.text.startsWith(typed.toLowerCase())));
}

function listen() {
  tree.addEventListener("keydown", (event) => {
    const node = nodeOf(event.target.closest("[role=treeitem]"));
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.key.length === 1 && Date.now() - typedAt < TYPED_WITHIN;
    if (KEYS[event.key] && !isTyping) {
      KEYS[event.key](node);
    } else if (event.key.length === 1) {
      typeAhead(node, event.key);
    } else return;
    event.preventDefault();
  });
  tree.addEventListener("click", (event) => {
    const node = nodeOf(event.target.closest("[role=treeitem]"));
    if (!node || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (event.target.closest(".twist") && node.isParent) return fold(node, !folded.has(node.id));
    choose(node);
    // On a phone the panel is below.
    if (panel.getBoundingClientRect().top > innerHeight) panel.scrollIntoView();
  });
}

// The tools above the tree

tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("input", () => {
  const url = new URL(location.href);
  const { find, errors, hide } = wishes();
  for (const [name, value] of [["find", find], ["errors", errors && "1"], ["hide", hide && "noise"]]) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
  draw();
});
tools.querySelector("[data-without-scripts]").hidden = true;
const foldAll = tools.querySelector("[data-fold-all]");
foldAll.hidden = false;
foldAll.addEventListener("click", () => {
  const isFolded = foldAll.getAttribute("aria-pressed") !== "true";
  foldAll.setAttribute("aria-pressed", String(isFolded));
  folded.clear();
  if (isFolded) {
    for (const node of nodes) if (node.isParent && node.level > 1) folded.add(node.id);
  }
  draw();
});

// A run that goes on

const isRunning = () => document.getElementById("trace-head").dataset.state === "running";

async function update() {
  let fresh;
  try {
    fresh = await fragment("live", WHOLE);
  } catch (error) {
    if (!(error instanceof SignedOut)) throw error;
    said.textContent = root.dataset.signedOut;
    return false;
  }
  const replace = (id) => {
    document.getElementById(id).replaceWith(document.adoptNode(fresh.getElementById(id)));
  };
  const focused = tree.contains(document.activeElement) ? document.activeElement.id : null;
  const chosen = current()?.id;
  const shownPanel = panel.querySelector(".panel");
  if (shownPanel?.dataset.state === "running" && !panel.contains(document.activeElement)) {
    const found = fresh.querySelector(".panel");
    if (found.dataset.node === shownPanel.dataset.node) show(found);
  }
  replace("trace-head");
  replace("tree");
  read();
  mark(nodes.find((node) => node.id === chosen) ?? nodes[0]);
  draw();
  listen();
  if (focused) document.getElementById(focused)?.focus();
  if (isRunning()) return true;
  replace("trace-more");
  said.textContent = root.dataset.finished;
  return false;
}

const asked = new URL(location.href).searchParams;
const isPartly = Object.keys(WHOLE).some((name) => asked.has(name));
if (isPartly) {
  const fresh = await fragment("live", WHOLE);
  document.getElementById("tree").replaceWith(document.adoptNode(fresh.getElementById("tree")));
}
read();
draw();
listen();
const opened = current();
if (opened && !isPartly && nodes.length > 1) {
  // The tree scrolls, not the page.
  const box = tree.getBoundingClientRect();
  const at = opened.link.getBoundingClientRect();
  if (at.bottom > box.bottom) tree.scrollTop += at.top - box.top - box.height / 2;
}
if (isRunning()) poll(update);
