// <button data-copy="id of an input" data-copied="…" data-failed="…" hidden> beside a
// [data-copy-status]. Without scripts the input alone does: it can be selected and copied.

for (const button of document.querySelectorAll("[data-copy]")) {
  const input = document.getElementById(button.dataset.copy);
  const status = button.parentElement.querySelector("[data-copy-status]");
  button.hidden = false;
  input.addEventListener("focus", () => input.select());
  button.addEventListener("click", async () => {
    try {
      // There is no clipboard outside HTTPS and localhost.
      await navigator.clipboard.writeText(input.value);
      status.textContent = button.dataset.copied;
    } catch {
      input.focus();
      status.textContent = button.dataset.failed;
    }
  });
}
