// <ls-feedback> round the form of feedback/_feedback.html, which works without this too. A click
// is saved at once and shown before it is; a second one takes it back. Words come translated
// in data attributes.

class LsFeedback extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    if (!this.form || this.isReady) return;
    this.isReady = true;
    this.thumbs = [...this.form.querySelectorAll("[data-score]")];
    this.status = this.form.querySelector("[role=status]");
    this.retry = this.form.querySelector("[data-retry]");
    this.box = this.form.querySelector("[data-box]");
    this.reasons = this.form.querySelector("[data-reasons]");
    this.skip = this.form.querySelector("[data-skip]");
    this.isSaving = false;
    this.isStale = false;
    for (const thumb of this.thumbs) thumb.addEventListener("click", (event) => this.press(event, thumb));
    this.form.addEventListener("submit", (event) => this.submit(event));
    this.retry.addEventListener("click", () => this.save());
    if (this.skip) {
      this.skip.hidden = false;
      this.skip.addEventListener("click", () => this.leave());
    }
    // What was said before a reload is shown by the thumb; the box opens again with a click.
    this.open(false);
  }

  get score() {
    const pressed = this.thumbs.find((thumb) => thumb.ariaPressed === "true");
    return pressed ? Number(pressed.dataset.score) : null;
  }

  press(event, pressed) {
    event.preventDefault();
    const removes = pressed.ariaPressed === "true";
    for (const thumb of this.thumbs) thumb.ariaPressed = String(thumb === pressed && !removes);
    if (removes) this.clear();
    if (this.reasons && this.score !== 0) {
      for (const chip of this.reasons.querySelectorAll("input")) chip.checked = false;
    }
    this.open(!removes);
    this.save();
  }

  async submit(event) {
    event.preventDefault();
    if (await this.save()) this.leave();
  }

  leave() {
    this.open(false);
    this.thumbs.find((thumb) => thumb.ariaPressed === "true")?.focus();
  }

  open(isOpen) {
    if (!this.box) return;
    this.box.hidden = !isOpen;
    if (this.reasons) this.reasons.hidden = this.score !== 0;
  }

  clear() {
    for (const text of this.form.querySelectorAll("textarea")) text.value = "";
    for (const chip of this.form.querySelectorAll("input[name=reasons]")) chip.checked = false;
  }

  // One request at a time: the last word is what is kept, however quick the fingers.
  async save() {
    if (this.isSaving) {
      this.isStale = true;
      return false;
    }
    this.isSaving = true;
    this.say(this.dataset.saving);
    let isSaved;
    do {
      this.isStale = false;
      isSaved = await this.send();
    } while (this.isStale);
    this.isSaving = false;
    this.retry.hidden = isSaved;
    this.classList.toggle("feedback-failed", !isSaved);
    this.say(!isSaved ? this.dataset.failed : this.score === null ? this.dataset.removed : this.dataset.saved);
    return isSaved;
  }

  async send() {
    const fields = new FormData(this.form);
    const payload = { run_id: fields.get("run_id"), key: fields.get("key"), score: this.score };
    if (this.score !== null) {
      payload.comment = (fields.get("comment") || "").trim();
      payload.correction = (fields.get("correction") || "").trim() || null;
      payload.reasons = fields.getAll("reasons");
    }
    try {
      const response = await fetch(this.form.action, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Accept: "application/json",
          "X-CSRFToken": fields.get("csrfmiddlewaretoken"),
        },
        body: JSON.stringify(payload),
      });
      // Who was signed out is sent to a page, which is no answer.
      if (!response.ok || response.redirected) return false;
      const saved = await response.json();
      this.dispatchEvent(new CustomEvent("feedback", { bubbles: true, detail: saved }));
      return true;
    } catch {
      return false;
    }
  }

  say(text) {
    this.status.textContent = text;
  }
}

customElements.define("ls-feedback", LsFeedback);
