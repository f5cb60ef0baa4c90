// The box on a deployment's tracing page: what would be kept of a text, while one types.

const WAIT = 400;

const form = document.querySelector("form[data-try]");
if (form) follow(form);

function follow(form) {
  const kept = form.querySelector("#kept");
  const problem = form.querySelector("[data-problem]");
  let timer = 0;
  let latest = 0;

  async function ask() {
    const number = ++latest;
    const answer = await tried(form, problem.dataset.failed);
    // One that took longer must not overwrite a later one.
    if (number !== latest) return;
    kept.textContent = answer.kept;
    problem.textContent = answer.problem;
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  form.querySelector("button[value=try]").addEventListener("click", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    ask();
  });
  if (form.elements.sample.value) ask();
}

async function tried(form, failed) {
  try {
    const response = await fetch(form.dataset.try, {
      method: "POST",
      body: new FormData(form),
      credentials: "same-origin",
    });
    if (!response.ok) return { kept: "", problem: failed };
    return await response.json();
  } catch {
    return { kept: "", problem: failed };
  }
}
