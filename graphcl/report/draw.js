"use strict";
// Draws every chart of the page and keeps its text readable in light and dark.
(function () {
  const specs = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // A finger that drags over a chart wants to scroll the page, and has no place to hover.
  const touch = !window.matchMedia("(hover: hover)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { text: read("--text"), quiet: read("--quiet"), grid: read("--line") };
  }

  function themed(spec) {
    const { text, quiet, grid } = colours();
    const layout = Object.assign({}, spec.layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: quiet, activecolor: text },
      font: { color: text, size: 12, family: "system-ui, sans-serif" },
      dragmode: touch ? false : "zoom",
    });
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = Object.assign({ gridcolor: grid, zerolinecolor: grid }, spec.layout[axis]);
    }
    const data = spec.data.map((trace) =>
      trace.meta === "text-colour"
        ? Object.assign({}, trace, { line: Object.assign({}, trace.line, { color: text }) })
        : trace,
    );
    return { data, layout };
  }

  async function draw(id, spec) {
    const place = document.getElementById(id);
    try {
      const { data, layout } = themed(spec);
      await Plotly.react(place, data, layout, config);
      return true;
    } catch (error) {
      place.textContent = "This chart could not be drawn: " + error.message;
      console.error(id, error);
      return false;
    }
  }

  async function drawAll() {
    const drawn = await Promise.all(Object.entries(specs).map(([id, spec]) => draw(id, spec)));
    document.documentElement.dataset.charts = drawn.filter(Boolean).length + "/" + drawn.length;
  }

  dark.addEventListener("change", drawAll);
  drawAll();
})();
