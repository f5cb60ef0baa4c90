// Keys for who reviews many runs, and a draft of what is not sent yet. All of it is there
// without us, too.

const OFF = "langserve-keys-off";
const form = document.querySelector("[data-answers]");
const asked = [...form.querySelectorAll("[data-asked]")];
const said = form.querySelector("[data-said]");
const dialog = document.querySelector("#keys");
const draftKey = `review ${location.pathname} ${form.elements.item.value}`;

// Storage may be forbidden: then nothing is remembered.
const stored = (storage, key) => {
  try {
    return storage()[key];
  } catch {
    return undefined;
  }
};
const store = (storage, key, value) => {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // As above.
  }
};
const local = () => localStorage;
const session = () => sessionStorage;

// Which question the digits answer.

const radios = (question) => [...question.querySelectorAll("input[type=radio]")];
const isAnswered = (question) =>
  radios(question).some((radio) => radio.checked && radio.value !== "");
const scored = asked.filter((question) => radios(question).length);

const mark = (question) => {
  for (const one of asked) one.toggleAttribute("data-current", one === question);
};
const current = () => asked.find((question) => question.hasAttribute("data-current"));
const markNext = () => mark(scored.find((question) => !isAnswered(question)) ?? current());

const answer = (digit) => {
  const question = current();
  const radio = question && radios(question).find((one) => one.dataset.digit === digit);
  if (!radio) return;
  radio.checked = !radio.checked;
  const title = question.querySelector("legend").textContent;
  said.textContent = radio.checked
    ? `${title}: ${radio.parentElement.querySelector("span").textContent}`
    : `${title}: –`;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
  if (radio.checked) markNext();
};

// A second click takes an answer back, which radio buttons alone cannot. Arrow keys click
// as well, but on one that was not checked before.
let wasChecked = null;
form.addEventListener("pointerdown", (event) => {
  const radio = event.target.closest(".rate")?.querySelector("input");
  wasChecked = radio?.checked ? radio : null;
});
form.addEventListener("click", (event) => {
  if (event.target === wasChecked) {
    event.target.checked = false;
    event.target.dispatchEvent(new Event("change", { bubbles: true }));
    wasChecked = null;
  }
});
form.addEventListener("focusin", (event) => {
  const question = event.target.closest("[data-asked]");
  if (scored.includes(question)) mark(question);
});

// The draft.

const isAnswer = (field) => field.name.startsWith("key-");
const answers = () => [...form.elements].filter(isAnswer);

const keepDraft = () => {
  const values = answers().map((field) =>
    field.type === "radio" ? [field.name, field.value, field.checked] : [field.name, field.value],
  );
  store(session, draftKey, JSON.stringify(values));
};
const restoreDraft = () => {
  const draft = stored(session, draftKey);
  if (!draft) return;
  for (const [name, value, checked] of JSON.parse(draft)) {
    for (const field of answers().filter((one) => one.name === name)) {
      if (field.type !== "radio") field.value = value;
      else if (field.value === value) field.checked = checked;
    }
  }
};
form.addEventListener("input", keepDraft);
form.addEventListener("change", keepDraft);
form.addEventListener("submit", () => store(session, draftKey, null));

// Keys.

const isOn = () => stored(local, OFF) !== "1";
const showWhetherOn = () => {
  document.documentElement.dataset.keys = isOn() ? "on" : "off";
  dialog.querySelector("[data-keys-on]").checked = isOn();
};
const press = (selector) => {
  const button = form.querySelector(selector);
  if (button instanceof HTMLAnchorElement) button.click();
  else if (button) form.requestSubmit(button);
};
const comment = () => {
  const question = current() ?? asked[0];
  const field =
    question?.querySelector("textarea[name$=comment]") ?? form.querySelector("textarea");
  field?.focus();
};
const actions = {
  c: comment,
  n: () => press("[data-done]"),
  s: () => press("[data-skip]"),
  p: () => press("[data-previous]"),
  "?": () => dialog.showModal(),
};

const isTyping = (element) =>
  element.isContentEditable ||
  element.matches("textarea, select, input:not([type=radio], [type=checkbox])");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  if (event.defaultPrevented || dialog.open) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!isOn() || document.querySelector("details[data-menu][open]")) return;
  if (/^[0-9]$/.test(event.key)) {
    answer(event.key);
    return;
  }
  const act = actions[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

dialog.querySelector("[data-keys-on]").addEventListener("change", (event) => {
  store(local, OFF, event.target.checked ? null : "1");
  showWhetherOn();
});
const help = document.querySelector("[data-help]");
help.hidden = false;
help.addEventListener("click", () => dialog.showModal());

restoreDraft();
if (scored.length) mark(scored[0]);
markNext();
showWhetherOn();
