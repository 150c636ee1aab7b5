(() => {
  "use strict";
  const form = document.getElementById("filter");
  const search = form.querySelector("input[type=search]");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const output = form.querySelector("output");
  // A node is found by its own text, and by the headings of the wheel and the target that it belongs to.
  const items = [...document.querySelectorAll("[data-o]")].map((node) => {
    let text = node.textContent;
    for (let up = node.parentElement.closest("details"); up; up = up.parentElement.closest("details")) {
      text += " " + up.querySelector("summary").textContent;
    }
    return { node, state: node.dataset.o, text: text.toLowerCase() };
  });
  const groups = [...document.querySelectorAll("main details:not([data-o]), main section")].reverse();
  const parents = new Map(groups.map((group) => [group, group.querySelectorAll("[data-o]").length > 0]));
  const opened = new Set();

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const states = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const item of items) {
      const visible = states.has(item.state) && words.every((word) => item.text.includes(word));
      item.node.hidden = !visible;
      shown += visible;
    }
    // A closed group with a match is opened as long as there are words.
    opened.forEach((group) => (group.open = false));
    opened.clear();
    for (const group of groups) {
      if (!parents.get(group)) continue;
      const visible = group.querySelector("[data-o]:not([hidden])") !== null;
      group.hidden = !visible;
      if (words.length && visible && group.tagName === "DETAILS" && !group.open) {
        group.open = true;
        opened.add(group);
      }
    }
    const all = !words.length && states.size === boxes.length;
    document.body.classList.toggle("filtered", !all);
    output.textContent = all ? "" : shown ? `${shown} of ${items.length} shown` : "nothing matches";
  };
  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=search], textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && event.target === search) {
      search.value = "";
      filter();
      search.blur();
    }
  });

  const open = () => {
    const found = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let up = found; up; up = up.parentElement.closest("details")) {
      if (up.tagName === "DETAILS") up.open = true;
    }
    if (found) found.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();

  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return "copied";
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy") ? "copied" : "selected";
    }
  };
  document.querySelectorAll(".cmd").forEach((line) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => {
      button.textContent = await copy(line.firstElementChild);
      setTimeout(() => (button.textContent = "copy"), 2000);
    });
    line.append(button);
  });
  form.hidden = false;
})();
