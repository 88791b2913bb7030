"use strict";
// Unpacks plotly.js, draws each chart when it comes into sight, and keeps its text readable in
// light and dark.
(function () {
  const specs = JSON.parse(document.getElementById("chart-data").textContent);
  const places = Object.keys(specs).map((id) => document.getElementById(id));
  const drawn = new Set();
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
    return {
      text: read("--text"),
      quiet: read("--quiet"),
      grid: read("--line"),
      ground: read("--ground"),
    };
  }

  // On a phone a legend of many names has one a line; the chart below it keeps its height.
  function roomForLegend(spec, width) {
    const named = spec.data.filter((trace) => trace.showlegend !== false).length;
    const shown = spec.layout.showlegend !== false && width < 600;
    return shown ? 19 * Math.max(0, named - 4) : 0;
  }

  function themed(spec, width) {
    const { text, quiet, grid, ground } = colours();
    const layout = Object.assign({}, spec.layout, {
      autosize: true,
      height: spec.layout.height + roomForLegend(spec, width),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: quiet, activecolor: text },
      font: { color: text, size: 12, family: "system-ui, sans-serif" },
      dragmode: touch ? false : "zoom",
    });
    // Names inside a chart stay readable where lines cross them.
    layout.annotations = (spec.layout.annotations || []).map((note) =>
      Object.assign({ bgcolor: ground, borderpad: 1 }, note),
    );
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

  async function draw(place) {
    drawn.add(place);
    try {
      const { data, layout } = themed(specs[place.id], place.clientWidth);
      await Plotly.react(place, data, layout, config);
      place.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = "This chart could not be drawn: " + error.message;
      console.error(place.id, error);
    }
    const ready = document.querySelectorAll(".chart[data-drawn]").length;
    document.documentElement.dataset.charts = ready + "/" + places.length;
  }

  async function unpack() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) =>
      c.charCodeAt(0),
    );
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  async function start() {
    await unpack();
    document.documentElement.dataset.charts = "0/" + places.length;
    const watch = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
        }
      },
      { rootMargin: "800px 0px" },
    );
    places.forEach((place) => watch.observe(place));
    dark.addEventListener("change", () => drawn.forEach(draw));
    window.addEventListener("beforeprint", () => {
      document.querySelectorAll("details.run").forEach((part) => (part.open = true));
      places.filter((place) => !drawn.has(place)).forEach(draw);
    });
  }

  start().catch((error) => {
    places.forEach((place) => (place.textContent = "The charts need a browser of 2023 or newer."));
    console.error(error);
  });
})();
