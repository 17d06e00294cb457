// What makes the pages quicker; all of them work without it.
"use strict";

const status = document.createElement("p");
status.className = "hidden";
status.setAttribute("role", "status");
document.body.append(status);

// Pages that change step by step are changed in place, so that neither the focus nor the place on the page is lost.
let asked = 0;

async function swap(address, remember) {
  const turn = ++asked;
  const main = document.getElementById("main");
  main.setAttribute("aria-busy", "true");
  let text;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    text = await answer.text();
  } catch {
    // As without this script: the browser says what is wrong.
    location.assign(address);
    return;
  }
  if (turn !== asked) return;
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("main");
  const focused = main.contains(document.activeElement) ? name(document.activeElement) : null;
  const opened = [...main.querySelectorAll("details.filters")].map((each) => each.open);
  main.replaceChildren(...fresh.childNodes);
  main.removeAttribute("aria-busy");
  main.querySelectorAll("details.filters").forEach((each, place) => { each.open = opened[place] || each.open; });
  document.title = page.title;
  if (remember) history.pushState(null, "", address);
  status.textContent = fresh.dataset.said;
  const again = focused && [...main.querySelectorAll("a, button, input, summary")].find((each) => name(each) === focused);
  if (again) again.focus({ preventScroll: true });
  else main.focus({ preventScroll: true });
  main.querySelectorAll("[data-suggest]").forEach(suggest);
}

// What people know an element by: the same star of the same film after a change.
function name(element) {
  return element.id || element.name || element.textContent.trim().replace(/\s+/g, " ");
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  swap(link.href, true);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-swap]");
  if (!form) return;
  event.preventDefault();
  const given = [...new FormData(form)].filter(([, value]) => value !== "");
  swap(`${form.action}?${new URLSearchParams(given)}`, true);
});

addEventListener("popstate", () => swap(location.href, false));

// Titles for what is being typed: a combobox with a list, as screen readers know it.
const PAUSE_MS = 120;
let lists = 0;

function suggest(input) {
  const list = document.createElement("ul");
  list.id = `suggestions-${++lists}`;
  list.className = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Titles");
  list.hidden = true;
  input.after(list);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  let timer, turn = 0, chosen = -1;

  function show(titles) {
    chosen = -1;
    input.removeAttribute("aria-activedescendant");
    list.replaceChildren(...titles.map((title, place) => {
      const item = document.createElement("li");
      item.id = `${list.id}-${place}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      const text = document.createElement("bdi");
      text.textContent = title;
      item.append(text);
      // Before the field loses the focus.
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(title); });
      return item;
    }));
    list.hidden = !titles.length;
    input.setAttribute("aria-expanded", String(titles.length > 0));
  }

  function take(title) {
    input.value = title;
    close();
    input.form.requestSubmit();
  }

  function close() {
    clearTimeout(timer);
    turn++;
    show([]);
  }

  function move(step) {
    const items = [...list.children];
    if (!items.length) return;
    // One place more than titles: none of them, where the words are those that were typed.
    chosen = (chosen + 1 + step + items.length + 1) % (items.length + 1) - 1;
    items.forEach((item, place) => item.setAttribute("aria-selected", String(place === chosen)));
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", items[chosen].id);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    const mine = ++turn, typed = input.value;
    if (!typed.trim()) { show([]); return; }
    timer = setTimeout(async () => {
      try {
        const answer = await fetch(`${input.dataset.suggest}?${new URLSearchParams({ q: typed })}`);
        const found = answer.ok ? (await answer.json()).titles : [];
        if (mine === turn) show(found);
      } catch {
        if (mine === turn) show([]);
      }
    }, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); move(1); }
    else if (event.key === "ArrowUp") { event.preventDefault(); move(-1); }
    else if (event.key === "Escape") close();
    else if (event.key === "Enter" && chosen >= 0) { event.preventDefault(); take(list.children[chosen].textContent); }
  });
  input.addEventListener("blur", close);
}

document.querySelectorAll("[data-suggest]").forEach(suggest);
