// What pages do beyond links and forms: theme, copying, refreshing, keys. Without it everything is still there.
"use strict";

const home = document.body.dataset.home;
const remember = (name, value) => {
  document.cookie = `${name}=${value}; path=${home}; max-age=31536000; samesite=lax`;
};
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function toast(text) {
  const place = document.querySelector(".toast");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => place.classList.remove("shown"), 1600);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context there is no clipboard: the old way.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "vh";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  toast("Copied");
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
}

function go(url) {
  if (window.htmx) {
    const link = document.createElement("a");
    link.href = url;
    link.hidden = true;
    document.getElementById("page").append(link);
    htmx.process(link);
    link.click();
  } else {
    location.href = url;
  }
}
window.keytrail = { go, isDark };

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-copy], [data-theme-switch], [data-refresh], [data-help], [data-table]");
  if (!target) return;
  if ("copy" in target.dataset) {
    copy(target.dataset.copy);
  } else if ("themeSwitch" in target.dataset) {
    event.preventDefault();
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remember("keytrail_theme", theme);
    document.dispatchEvent(new Event("keytrail:theme"));
  } else if ("refresh" in target.dataset) {
    const on = target.getAttribute("aria-pressed") !== "true";
    target.setAttribute("aria-pressed", String(on));
    remember("keytrail_refresh", on ? "on" : "off");
    if (on) refresh();
  } else if ("help" in target.dataset) {
    document.getElementById("help").showModal();
  } else if ("table" in target.dataset) {
    const panel = document.getElementById(target.dataset.table);
    const shown = panel.querySelector(".data").classList.toggle("shown");
    panel.querySelector(".canvas").classList.toggle("off", shown);
    target.textContent = shown ? "Show as a chart" : "Show as a table";
    reachable(panel);
    target.closest("details").open = false;
    document.dispatchEvent(new Event("keytrail:theme"));
  }
});

// A menu closes when something else is clicked or the key Escape is pressed.
document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});

// A hidden table must not hold the focus.
function reachable(within) {
  for (const data of all(".data", within)) {
    const shown = data.classList.contains("shown");
    data.tabIndex = shown ? 0 : -1;
    for (const link of all("a", data)) link.tabIndex = shown ? 0 : -1;
  }
}

// Data's age: counted on between two answers of the server.
let seen = performance.now();
function countAge() {
  const age = document.getElementById("age");
  const text = age && age.querySelector("[data-ago] time");
  if (!text || !age.dataset.age) return;
  const passed = Number(age.dataset.age) + performance.now() - seen;
  if (passed < 10000) text.textContent = `${(passed / 1000).toFixed(1)} s ago`;
  else if (passed < 60000) text.textContent = `${Math.floor(passed / 1000)} s ago`;
}

// Refreshing: panels that are in sight, not those that somebody points at or works in; not in a hidden tab.
const EVERY = 10000;
function inUse(panel) {
  return panel.matches(":hover") || panel.contains(document.activeElement) || panel.querySelector(".data.shown");
}
// Who has begun to while the answer was under way keeps what is there, such as an open menu.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, requestConfig } = event.detail;
  if (requestConfig.elt.matches(".reload") && !target.ariaBusy && inUse(target)) event.detail.shouldSwap = false;
});
// An answer without what was asked for, such as a proxy's that does not reach us: what is there stays, what was to come says so.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, requestConfig, serverResponse } = event.detail;
  if (!requestConfig.elt.matches(".reload, #age, .failed a") || serverResponse.includes(`id="${target.id}"`)) return;
  event.detail.shouldSwap = false;
  failed(target);
});
document.addEventListener("htmx:sendError", (event) => failed(event.detail.target));
function failed(panel) {
  if (!panel.ariaBusy) return;
  panel.removeAttribute("aria-busy");
  const text = document.createElement("div");
  text.className = "failed";
  text.role = "alert";
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "Try again";
  text.append("This could not be loaded. ", again);
  panel.querySelector(".panel-body").replaceChildren(text);
}
function refresh() {
  if (!window.htmx || document.hidden) return;
  htmx.trigger("#age", "refresh");
  for (const leaf of all(".reload[data-live='1']")) {
    const panel = leaf.parentElement;
    const box = panel.getBoundingClientRect();
    if (!inUse(panel) && !panel.ariaBusy && box.bottom > 0 && box.top < innerHeight) htmx.trigger(leaf, "refresh");
  }
}
function refreshes() {
  const button = document.querySelector("[data-refresh]");
  return button && button.getAttribute("aria-pressed") === "true";
}
setInterval(() => refreshes() && refresh(), EVERY);
setInterval(countAge, 500);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && refreshes()) refresh();
});

// Panels that come after the page: once they are in sight or near it, and all of them before it is printed.
function arrive(panel) {
  const leaf = panel.querySelector(".reload");
  // Once: an answer replaces the panel, and who asked from within it would be gone when the second one comes.
  if (!leaf || "asked" in panel.dataset) return;
  panel.dataset.asked = "";
  nearby.unobserve(panel);
  htmx.trigger(leaf, "refresh");
}
const nearby = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) arrive(entry.target);
  },
  { rootMargin: "300px" },
);
function expectPanels(within) {
  const panels = within.matches?.(".panel[aria-busy]") ? [within] : all(".panel[aria-busy]", within);
  for (const panel of panels) nearby.observe(panel);
}
addEventListener("beforeprint", () => all(".panel[aria-busy]").forEach(arrive));

// Keys.
const PAGES = { o: "/", w: "/changes", u: "/consumers", k: "/keys", c: "/clients", a: "/apis", e: "/endpoints", x: "/errors", l: "/requests", p: "/pipeline" };
let went = 0;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of all("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    return;
  }
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const row = event.target.closest("tbody tr");
  if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    const link = next && next.querySelector("a");
    if (link) {
      event.preventDefault();
      link.focus();
    }
    return;
  }
  const page = performance.now() - went < 1200 && PAGES[event.key];
  if (page) {
    const link = all(".pages a").find((one) => new URL(one.href).pathname === home.replace(/\/$/, "") + page);
    if (link) link.click();
    went = 0;
    return;
  }
  if (event.key === "g") went = performance.now();
  else if (event.key === "?") document.getElementById("help")?.showModal();
  else if (event.key === "r") refresh();
  else if (event.key === "t") {
    event.preventDefault();
    (document.querySelector("#ranges [aria-current]") || document.querySelector("#ranges a"))?.focus();
  } else if (event.key === "/") {
    const search = document.getElementById("search");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

// Swaps: a link to another page starts at its top, a filter stays where one is.
let toTop = false;
let scrolled = 0;
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.boosted) {
    document.documentElement.classList.add("busy");
    toTop = "top" in (event.detail.elt.dataset || {});
  }
});
document.addEventListener("htmx:afterRequest", () => document.documentElement.classList.remove("busy"));
document.addEventListener("htmx:afterSwap", (event) => {
  seen = performance.now();
  const swapped = event.detail.target;
  // The first record has come.
  if (document.querySelector("#first-steps") && !document.querySelector("#age.none")) location.reload();
  if (swapped && swapped.id === "page" && toTop) {
    scrollTo(0, 0);
    document.getElementById("main")?.focus({ preventScroll: true });
  }
  if (swapped && swapped.id === "page" && scrolled) scrollTo(0, scrolled);
  toTop = false;
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target && event.detail.target.id === "page" && scrolled) scrollTo(0, scrolled);
});
// Back and forward: only the page that was asked for last may come, and it comes where one left it.
const places = new Map();
let going = null;
addEventListener("scroll", () => places.set(location.href, scrollY), { passive: true });
document.addEventListener("htmx:historyCacheMiss", (event) => {
  going?.abort();
  going = event.detail.xhr;
  document.documentElement.classList.add("busy");
  going.addEventListener("loadend", () => document.documentElement.classList.remove("busy"));
});
document.addEventListener("htmx:historyCacheMissLoadError", () => location.reload());
document.addEventListener("htmx:historyRestore", () => {
  seen = performance.now();
  scrollTo(0, places.get(location.href) || 0);
});
// A page without the frame (an error, the sign-in form) takes the whole window.
document.addEventListener("htmx:beforeSwap", (event) => {
  scrolled = event.detail.boosted && !toTop ? scrollY : 0;
  if (event.detail.boosted && !event.detail.serverResponse.includes('id="page"')) {
    event.preventDefault();
    location.href = event.detail.pathInfo.finalRequestPath;
  }
});
// On a narrow screen, what is chosen is in sight.
const CHOSEN = ".pages [aria-current], .segments [aria-current], .cards thead :is([aria-sort=ascending], [aria-sort=descending])";
function inSight(within) {
  for (const chosen of all(CHOSEN, within)) {
    const row = chosen.parentElement;
    row.scrollLeft = chosen.offsetLeft - row.offsetLeft - (row.clientWidth - chosen.offsetWidth) / 2;
  }
}
// A row or a table that is wider than its place says at which of its edges it goes on.
const SIDEWAYS = ".scroll, .segments, .pages, .cards thead tr";
function edges(place) {
  place.classList.toggle("more-left", place.scrollLeft > 1);
  place.classList.toggle("more-right", place.scrollLeft + place.clientWidth < place.scrollWidth - 1);
}
const sized = new ResizeObserver((entries) => entries.forEach((entry) => edges(entry.target)));
function watchEdges(within) {
  for (const place of all(SIDEWAYS, within)) sized.observe(place);
}
document.addEventListener("scroll", (event) => event.target.matches?.(SIDEWAYS) && edges(event.target), {
  capture: true,
  passive: true,
});
document.addEventListener("htmx:load", (event) => {
  reachable(event.detail.elt);
  expectPanels(event.detail.elt);
  watchEdges(event.detail.elt);
  inSight(event.detail.elt);
});
reachable(document);
watchEdges(document);
inSight(document);
countAge();
