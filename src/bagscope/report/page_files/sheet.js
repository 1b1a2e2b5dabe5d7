"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const fields = [...document.querySelectorAll(".share")];
  const rows = data.rows.map((_, at) => fields.filter((field) => Number(field.dataset.at) === at));
  const said = document.getElementById("said");
  const number = /^(\d+([.,]\d*)?|[.,]\d+)$/;
  // What was typed outlives a closed tab, where the browser lets a page keep something.
  const place = "bagscope-form:" + data.head + data.rows.join("\n");
  let saved = true;

  function share(field) {
    const text = field.value.trim();
    const bare = text.replace("%", "").trim();
    const value = number.test(bare) ? Number(bare.replace(",", ".")) : NaN;
    const isFraction = value > 0 && value < 1 && !text.includes("%");
    return {
      empty: text === "",
      value,
      wrong: text === "" ? "" : !(value >= 0 && value <= 100) ? "A number from 0 to 100, please."
        : isFraction ? "In per cent, please: 75, not 0.75 (or 0.5% with its sign)." : "",
    };
  }

  function judge(at) {
    const shares = rows[at].map(share);
    const sum = shares.reduce((total, one) => total + (one.empty ? 0 : one.value), 0);
    const empty = shares.every((one) => one.empty);
    const unfinished = !empty && shares.some((one) => one.empty);
    const wrong = shares.map((one) => one.wrong).find((text) => text)
      || (sum > 100.1 ? "These shares add up to more than 100." : "");
    const rest = empty || unfinished || wrong ? NaN : Math.max(0, Number((100 - sum).toFixed(4)));
    return { shares, empty, unfinished, wrong, rest };
  }

  function show(at, strict) {
    const found = judge(at);
    const isSum = found.wrong !== "" && found.shares.every((one) => one.wrong === "");
    rows[at].forEach((field, k) => {
      const one = found.shares[k];
      const isWrong = one.wrong !== "" || (isSum && !one.empty) || (strict && found.unfinished && one.empty);
      field.setAttribute("aria-invalid", String(isWrong));
    });
    document.querySelector(`[data-rest="${at}"]`).textContent = Number.isNaN(found.rest) ? "\u2013" : `${found.rest} %`;
    return found;
  }

  function count() {
    const done = rows.filter((_, at) => !Number.isNaN(judge(at).rest)).length;
    document.getElementById("done").textContent = `${done} of ${rows.length} blocks done`;
  }

  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(fields.map((field) => field.value)));
    } catch { /* then only saving keeps it */ }
  }

  function kept() {
    try {
      const texts = JSON.parse(localStorage.getItem(place) || "null");
      return Array.isArray(texts) && texts.length === fields.length ? texts : null;
    } catch {
      return null;
    }
  }

  function save() {
    const found = rows.map((_, at) => show(at, true));
    const bad = found.findIndex((one) => one.wrong !== "" || one.unfinished);
    if (bad >= 0) {
      said.textContent = found[bad].wrong || "A block has a share missing: fill it, or empty the block.";
      const field = rows[bad].find((one) => one.getAttribute("aria-invalid") === "true") || rows[bad][0];
      field.focus();
      return;
    }
    const lines = found.map((one, at) => {
      const values = one.empty ? Array(data.classes).fill("") : [one.rest, ...one.shares.map((s) => s.value)].map((v) => `${v}%`);
      return [data.rows[at], ...values].join(",");
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[data.head, ...lines, ""].join("\n")], { type: "text/csv" }));
    link.download = "form.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
    said.textContent = "";
    document.getElementById("done").textContent = `${found.filter((one) => !one.empty).length} of ${rows.length} blocks saved as form.csv in your downloads`;
  }

  const before = kept();
  fields.forEach((field, k) => {
    field.value = before ? before[k] : data.values[Number(field.dataset.at)][Number(field.dataset.column)];
    field.addEventListener("input", () => {
      saved = false;
      said.textContent = show(Number(field.dataset.at), false).wrong;
      keep();
      count();
    });
    field.addEventListener("focus", () => field.select());
    field.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowDown" || (event.key === "Enter" && !event.shiftKey) ? 1
        : event.key === "ArrowUp" || event.key === "Enter" ? -1 : 0;
      if (!step) return;
      event.preventDefault();
      const next = fields[k + step];
      if (!next) return;
      next.focus();
      next.closest(".block").scrollIntoView({ block: "nearest" });
    });
  });
  rows.forEach((_, at) => show(at, false));
  count();
  document.getElementById("save").addEventListener("click", save);
  document.getElementById("size").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--edge", `${event.target.value}px`);
  });
  const outlines = document.getElementById("outlines");
  if (outlines) outlines.addEventListener("change", () => document.body.classList.toggle("plain", !outlines.checked));
  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
})();
