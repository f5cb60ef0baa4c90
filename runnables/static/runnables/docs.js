// Starts Swagger UI. A file of its own, as the page's policy allows no script inside it.

const boot = JSON.parse(document.getElementById("boot").textContent);
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

// Swagger UI has a dark dress, and leaves it to the page when to wear it.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

function csrfToken() {
  const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
  const found = cookies.find(([name]) => name === boot.csrfCookie);
  return found ? found[1] : boot.csrfToken;
}

// A session alone may not write. To other hosts the token must not go.
function withCsrfToken(request) {
  const method = (request.method || "GET").toUpperCase();
  const isOurs = new URL(request.url, location.href).origin === location.origin;
  if (isOurs && !SAFE.has(method)) {
    request.headers[boot.csrfHeader] = csrfToken();
  }
  return request;
}

// The document shows what its reader may use: who gives a token may see more.
async function reload(system, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(boot.url, { headers });
  if (response.ok) {
    system.specActions.updateSpec(await response.text());
  }
}

const reloading = {
  authorize: (original, system) => (given) => {
    const token = given.token?.value || given.apiKey?.value;
    if (token) reload(system, token);
    return original(given);
  },
  logout: (original, system) => (names) => {
    reload(system, "");
    return original(names);
  },
};

// Without the files of Swagger UI the page keeps its text and the link in it.
if (window.SwaggerUIBundle) {
  SwaggerUIBundle({
    url: boot.url,
    dom_id: "#docs",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [() => ({ statePlugins: { auth: { wrapActions: reloading } } })],
    deepLinking: true,
    docExpansion: "none",
    // The models of fifty deployments are shown where they are used, not all at once.
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    filter: true,
    requestInterceptor: withCsrfToken,
    // The curl line is for elsewhere, where this page's CSRF token is worth nothing.
    showMutatedRequest: false,
    tryItOutEnabled: true,
    // Nothing is told to other hosts.
    validatorUrl: null,
  });
}
