import { SignedOut, fragment, poll } from "./live.js";

// Empty fields stay out of the address.
const filters = document.querySelector("[data-filters]");
const fields = [...filters.querySelectorAll("input, select")];
filters.addEventListener("submit", () => {
  for (const field of fields) field.disabled = field.value === "";
});
addEventListener("pageshow", () => {
  for (const field of fields) field.disabled = false;
});

const list = document.querySelector("[data-list]");
if (list) {
  const said = list.querySelector("[data-said]");
  const rows = () => [...list.querySelectorAll("tr[data-run]")];

  // Ticks

  const all = list.querySelector("[data-tick-all]");
  const ticks = () => rows().map((row) => row.querySelector("input[name=run]"));
  const count = () => {
    const ticked = ticks().filter((tick) => tick.checked).length;
    const shown = list.querySelector("[data-bulk-count]");
    shown.hidden = ticked === 0;
    shown.textContent = String(ticked);
    all.checked = ticked > 0 && ticked === ticks().length;
    all.indeterminate = ticked > 0 && !all.checked;
  };
  all.hidden = false;
  list.addEventListener("change", (event) => {
    if (event.target === all) for (const tick of ticks()) tick.checked = all.checked;
    count();
  });
  addEventListener("pageshow", count);

  // j and k, while a row has the focus

  list.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[data-run]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { j: row.nextElementSibling, k: row.previousElementSibling }[event.key];
    if (to) to.querySelector(".run-link").focus();
  });

  // New runs are announced, never moved in; running ones change in place

  const isFirst = list.dataset.first === "yes" && list.dataset.sort === "newest";
  const button = list.querySelector("[data-new-runs]");
  const update = async () => {
    let fresh;
    try {
      fresh = await fragment("rows");
    } catch (error) {
      if (!(error instanceof SignedOut)) throw error;
      said.textContent = list.dataset.signedOut;
      return false;
    }
    const known = new Map(rows().map((row) => [row.dataset.run, row]));
    const found = [...fresh.querySelectorAll("tr[data-run]")];
    for (const row of found) {
      const old = known.get(row.dataset.run);
      if (old && old.dataset.state === "running" && !old.contains(document.activeElement)) {
        row.querySelector("input[name=run]").checked = old.querySelector("input[name=run]").checked;
        old.replaceWith(document.adoptNode(row));
      }
    }
    const [first] = known.keys();
    const at = found.findIndex((row) => row.dataset.run === first);
    const number = at < 0 ? found.length : at;
    if (isFirst && number > 0) {
      const text = number === 1 ? list.dataset.newOne : list.dataset.new.replace("#", at < 0 ? `${number}+` : number);
      if (button.textContent !== text) said.textContent = button.textContent = text;
      button.hidden = false;
    }
    return isFirst || rows().some((row) => row.dataset.state === "running");
  };
  if (isFirst || rows().some((row) => row.dataset.state === "running")) poll(update);
}
