// Runs before the first paint, which is why it is no module: a page must not flash in the
// wrong colours. The key and the attribute are those of Django's admin, so that both agree.
"use strict";
{
  const KEY = "theme";
  const THEMES = ["auto", "light", "dark"];

  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage is closed to this page: the system decides.
    }
  };

  const apply = (theme) => {
    document.documentElement.dataset.theme = THEMES.includes(theme) ? theme : "auto";
    for (const button of document.querySelectorAll("[data-set-theme]")) {
      const isOn = button.dataset.setTheme === document.documentElement.dataset.theme;
      button.setAttribute("aria-pressed", String(isOn));
    }
  };

  const choose = (theme) => {
    apply(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It counts for this page, then.
    }
  };

  apply(stored());
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });
  addEventListener("DOMContentLoaded", () => {
    for (const group of document.querySelectorAll("[data-theme-switch]")) {
      group.hidden = false;
      group.addEventListener("click", (event) => {
        const button = event.target.closest("[data-set-theme]");
        if (button) choose(button.dataset.setTheme);
      });
    }
    apply(stored());
  });
}
