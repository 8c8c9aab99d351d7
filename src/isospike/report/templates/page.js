"use strict";
(function () {
  const root = document.documentElement;
  root.classList.add("js");
  const data = JSON.parse(document.getElementById("data").textContent);

  function fill(cell, value) {
    const [text, exact] = value;
    if (exact === null) {
      cell.textContent = text;
      return;
    }
    const shown = document.createElement("data");
    shown.value = exact;
    shown.textContent = text;
    cell.replaceChildren(shown);
  }

  function showStep(slider, readout) {
    const step = Number(slider.value);
    const words = [];
    document.querySelectorAll("#readout tbody tr").forEach(function (row, index) {
      const steps = readout.runs[index];
      const values = steps[Math.min(step, steps.length) - 1];
      row.querySelectorAll("td").forEach((cell, column) => fill(cell, values[column]));
      const ended = step > steps.length;
      row.classList.toggle("ended", ended);
      row.title = ended ? "this run ended after step " + steps.length : "";
      words.push(row.querySelector("th").textContent + " " + values[0][0]);
    });
    document.querySelectorAll(".cursor").forEach(function (line) {
      const places = line.dataset.places.split(" ");
      line.classList.toggle("on", step <= places.length);
      if (step <= places.length) {
        line.setAttribute("x1", places[step - 1]);
        line.setAttribute("x2", places[step - 1]);
      }
    });
    const taus = readout.taus.filter((tau) => tau > 0);
    const all = taus.length === readout.taus.length && new Set(taus).size === 1;
    const whose = all ? " with the steps before them)" : " in all, where steps come before them)";
    const latency = taus.length ? " (" + (all ? "" : "up to ") + (step + Math.max(...taus)) + whose : "";
    document.getElementById("step-shown").textContent = step + " of " + readout.steps;
    document.getElementById("step-words").textContent = "step " + step + latency;
    slider.setAttribute("aria-valuetext", "step " + step + ": " + words.join(", "));
  }

  const slider = document.getElementById("step");
  if (slider && data.readout) {
    slider.addEventListener("input", () => showStep(slider, data.readout));
    showStep(slider, data.readout);
  }

  function read(row, column) {
    const cell = row.cells[column];
    const exact = cell.querySelector("data");
    return exact ? Number(exact.value) : cell.textContent.trim();
  }

  function compare(a, b, sign) {
    const numbers = [a, b].map((value) => typeof value === "number");
    if (numbers[0] && numbers[1]) return sign * (a - b);
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    if (a === "–" || b === "–") return (a === "–") - (b === "–");
    return sign * a.localeCompare(b, "en", { numeric: true });
  }

  document.querySelectorAll("table.sortable").forEach(function (table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        const falling = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = Array.from(body.rows).map((row) => [read(row, column), row]);
        rows.sort((one, other) => compare(one[0], other[0], falling ? -1 : 1));
        body.replaceChildren(...rows.map((pair) => pair[1]));
      });
    });
  });

  document.querySelectorAll(".layer-choice").forEach(function (choice) {
    function show() {
      Array.from(choice.options).forEach(function (option) {
        document.getElementById("panel-" + option.value).classList.toggle("off", option.value !== choice.value);
      });
    }
    choice.addEventListener("change", show);
    show();
  });

  document.querySelectorAll(".confusion-step").forEach(function (control) {
    const run = Number(control.dataset.run);
    const cells = Array.from(document.querySelectorAll("#matrix-" + run + " tbody td"));
    control.addEventListener("input", function () {
      const matrices = data.confusions[run];
      matrices[Number(control.value) - 1].flat().forEach(function (pair, index) {
        cells[index].textContent = pair[0];
        cells[index].className = "heat" + pair[1];
      });
      control.nextElementSibling.textContent = control.value + " of " + matrices.length;
      control.setAttribute("aria-valuetext", "step " + control.value);
    });
  });
})();
