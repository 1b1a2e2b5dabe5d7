"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const panel = document.getElementById("panel");
  const wells = Array.from(document.querySelectorAll(".well"));
  let chosen = null;

  // Pictures are set from the data once, so that each is in the file a single time.
  document.querySelectorAll("img[data-key]").forEach(function (image) {
    const found = data.pictures[image.dataset.key];
    if (found) { image.src = found; image.loading = "lazy"; }
  });

  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  function colour(share) {
    const at = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1), low = Math.floor(at), part = at - low;
    return stops[low].map(function (v, i) { return Math.round(v + part * (stops[low + 1][i] - v)); });
  }
  function show(name) {
    const scale = document.getElementById("scale"), calls = document.getElementById("calls");
    const is_call = name === "call";
    scale.hidden = is_call; calls.hidden = !is_call;
    const range = is_call ? null : data.ranges[name];
    if (range) {
      document.getElementById("low").textContent = range[0].toPrecision(3);
      document.getElementById("high").textContent = range[1].toPrecision(3);
    }
    wells.forEach(function (button) {
      const value = is_call ? null : data.wells[button.dataset.well].values[name];
      if (is_call) { button.style.background = ""; button.style.color = ""; return; }
      if (value === null || value === undefined) { button.style.background = "transparent"; return; }
      const rgb = colour((value - range[0]) / (range[1] - range[0] || 1));
      button.style.background = "rgb(" + rgb.join(",") + ")";
      button.style.color = 0.3 * rgb[0] + 0.6 * rgb[1] + 0.1 * rgb[2] > 120 ? "#10151c" : "#ffffff";
    });
  }
  const select = document.getElementById("value");
  if (select) { select.addEventListener("change", function () { show(select.value); }); }

  function make(tag, text, css) {
    const node = document.createElement(tag);
    if (text !== undefined) { node.textContent = text; }
    if (css) { node.className = css; }
    return node;
  }
  function picture(site) {
    const field = make("div", undefined, "field");
    const image = make("img"); image.src = data.pictures["f" + site.row]; image.alt = "site " + site.site;
    field.appendChild(image);
    const outline = data.pictures["o" + site.row];
    if (outline) { const over = make("img", undefined, "outline"); over.src = outline; over.alt = "outlines of cells"; field.appendChild(over); }
    return field;
  }
  function open(id, from) {
    const well = data.wells[id];
    if (!well) { return; }
    wells.forEach(function (button) {
      const is_it = button.dataset.well === String(id);
      button.setAttribute("aria-pressed", is_it ? "true" : "false");
      if (is_it) { chosen = button; }
    });
    panel.replaceChildren();
    panel.appendChild(make("h3", well.plate + " " + well.well));
    panel.appendChild(make("p", well.told));
    well.sites.forEach(function (site) {
      if (data.pictures["f" + site.row]) { panel.appendChild(picture(site)); }
      const flags = site.flags.length ? ": " + site.flags.join("; ") : "";
      panel.appendChild(make("small", "site " + site.site + flags));
    });
    if (well.sites.some(function (site) { return data.pictures["o" + site.row]; })) {
      const label = make("label"), box = make("input");
      box.type = "checkbox"; box.checked = !panel.classList.contains("hide-outlines");
      box.addEventListener("change", function () { panel.classList.toggle("hide-outlines", !box.checked); });
      label.append(box, " outlines of cells"); panel.appendChild(make("p")).appendChild(label);
    }
    const pair = make("div", undefined, "pair");
    Object.keys(well.values).forEach(function (name) {
      const value = well.values[name], range = data.ranges[name];
      if (value === null) { return; }
      pair.appendChild(make("span", name));
      const meter = make("span", undefined, "meter"), bar = make("i");
      const share = range && range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0;
      bar.style.width = Math.round(100 * Math.min(1, Math.max(0, share))) + "%";
      meter.appendChild(bar); pair.appendChild(meter);
      pair.appendChild(make("span", Number.isInteger(value) ? String(value) : value.toFixed(3)));
    });
    panel.appendChild(pair);
    well.facts.forEach(function (fact) { panel.appendChild(make("p", fact, "hint")); });
    if (from) { panel.scrollIntoView({ block: "nearest" }); }
  }
  document.querySelectorAll("[data-well]").forEach(function (button) {
    button.addEventListener("click", function () { open(button.dataset.well, !button.classList.contains("well")); });
  });
  // Arrow keys move over a plate; only one well of a plate takes part in tabbing.
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  document.querySelectorAll(".plate").forEach(function (table) {
    table.addEventListener("keydown", function (event) {
      const move = moves[event.key], cell = event.target.closest("td");
      if (!move || !cell) { return; }
      event.preventDefault();
      let row = cell.parentElement.rowIndex, column = cell.cellIndex;
      for (;;) {
        row += move[0]; column += move[1];
        const line = table.rows[row], next = line && line.cells[column];
        if (!next) { return; }
        const button = next.querySelector(".well");
        if (button) {
          event.target.tabIndex = -1; button.tabIndex = 0; button.focus(); open(button.dataset.well, false);
          return;
        }
      }
    });
  });
  if (select) { show("call"); }
  const first = data.first;
  if (first !== null) { open(first, false); }
}());
