// What pages that change by themselves have in common: they ask every three seconds while
// somebody looks and is there, once a minute otherwise, and never while text is selected.

const OFTEN = 3_000;
const SELDOM = 60_000;
const THERE = 5 * 60_000;

let lastUsed = Date.now();
for (const name of ["pointermove", "keydown", "scroll", "focus"]) {
  addEventListener(name, () => (lastUsed = Date.now()), { passive: true, capture: true });
}

const isWatched = () => document.visibilityState === "visible" && Date.now() - lastUsed < THERE;
const isSelecting = () => !getSelection().isCollapsed;

// Calls `update` again and again, until it answers false.
export function poll(update) {
  let timer = 0;
  let isBusy = false;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(now, isWatched() ? OFTEN : SELDOM);
  };
  const now = async () => {
    if (isBusy) return;
    isBusy = true;
    let goesOn = true;
    try {
      if (!isSelecting()) goesOn = await update();
    } catch {
      // The server may be restarting: the next time will tell.
    }
    isBusy = false;
    if (goesOn) later();
    else document.removeEventListener("visibilitychange", wake);
  };
  const wake = () => {
    if (document.visibilityState === "visible") later();
  };
  document.addEventListener("visibilitychange", wake);
  later();
}

export class SignedOut extends Error {}

// A piece of this page, as the server draws it now: its text was escaped there. A parameter
// that is null is left out.
export async function fragment(name, params = {}, signal = undefined) {
  const url = new URL(location.href);
  url.hash = "";
  for (const [key, value] of Object.entries({ ...params, fragment: name })) {
    if (value === null) url.searchParams.delete(key);
    else url.searchParams.set(key, value);
  }
  const response = await fetch(url, { signal, headers: { Accept: "text/html" } });
  if (response.redirected) throw new SignedOut();
  if (!response.ok) throw new Error(String(response.status));
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// Durations of what still runs, once a second.
function tick() {
  for (const element of document.querySelectorAll("[data-ticking]")) {
    const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(element.dataset.ticking)) / 1000));
    const text =
      seconds < 60
        ? element.dataset.seconds.replace("#s", seconds)
        : element.dataset.minutes
            .replace("#m", Math.floor(seconds / 60))
            .replace("#s", String(seconds % 60).padStart(2, "0"));
    if (element.textContent !== text) element.textContent = text;
  }
}

tick();
setInterval(tick, 1000);
