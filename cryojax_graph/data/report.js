"use strict";
(async () => {
  const INK = "#1d2733", MUTED = "#5f6b7a", LINE = "#e9ecef";
  const COLOURS = ["#17677f", "#d9693f", "#5b8e4b", "#7d5fb2", "#c19a1b", "#3f68d8", "#b2476b", "#6b7280"];
  const RAINBOW = [[0, "#2b59c3"], [0.25, "#2aa1b3"], [0.5, "#5bb45b"], [0.75, "#e9b949"], [1, "#d1495b"]];
  const CONFIG = { displaylogo: false, displayModeBar: "hover", responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const FONT = { family: getComputedStyle(document.body).fontFamily, size: 13, color: INK };
  const MODEBAR = { bgcolor: "rgba(0,0,0,0)", color: "#a9b2bd", activecolor: "#17677f" };
  const RADIUS = 0.9;

  async function loadPlotly() {
    const packed = atob(document.getElementById("plotly").textContent);
    const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  const specOf = (element) => JSON.parse(element.querySelector("script[type='application/json']").textContent);

  function floats(typed) {
    const bytes = Uint8Array.from(atob(typed.bdata), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  // Python names colours by number, so that the palette stands here alone.
  function named(key, value) {
    const match = typeof value === "string" && /^(colour|faint)(\d+)$/.exec(value);
    if (!match) return value;
    const colour = COLOURS[Number(match[2]) % COLOURS.length];
    return match[1] === "faint" ? colour + "2e" : colour;
  }

  const axis = (own) => ({
    gridcolor: LINE, linecolor: "#c9ced6", tickcolor: "#c9ced6", zeroline: false, showline: true, ticks: "outside",
    ticklen: 4, automargin: true, ...own, title: { standoff: 10, font: { color: MUTED }, ...own.title },
  });

  function drawPlot(element) {
    const spec = JSON.parse(JSON.stringify(specOf(element)), named);
    const { xaxis, yaxis, shapes = [], annotations = [], ...rest } = spec.layout;
    const legend = spec.data.filter((t) => t.name && t.showlegend !== false).length > 1;
    Plotly.newPlot(element, spec.data, {
      font: FONT, colorway: COLOURS, modebar: MODEBAR, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 16, t: legend ? 34 : 12, b: 48 }, hovermode: "closest", showlegend: legend,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
      xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
      shapes: shapes.map((s) => ({ ...s, line: { color: MUTED, ...s.line } })),
      annotations: annotations.map((a) => ({ font: { size: 12, color: MUTED }, ...a })),
    }, CONFIG);
  }

  // Catmull-Rom spline through the points a … b-1 of a frame, smooth points per bond.
  function spline(xyz, a, b, smooth) {
    const points = [];
    const at = (i) => { const j = 3 * Math.min(Math.max(i, a), b - 1); return [xyz[j], xyz[j + 1], xyz[j + 2]]; };
    for (let i = a; i < b; i++) {
      const [p, q, r, s] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
      for (let k = 0; k < (i === b - 1 ? 1 : smooth); k++) {
        const t = k / smooth;
        points.push([0, 1, 2].map((c) => 0.5 * (2 * q[c] + (r[c] - p[c]) * t
          + (2 * p[c] - 5 * q[c] + 4 * r[c] - s[c]) * t * t + (3 * (q[c] - r[c]) + s[c] - p[c]) * t * t * t)));
      }
    }
    return points;
  }

  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((v) => v / n); };

  // Rings of vertices around the spline; the normal is carried along, so that the tube does not twist.
  function ring(points, out, sides) {
    let normal = null;
    points.forEach((point, i) => {
      const tangent = unit([0, 1, 2].map((c) => points[Math.min(i + 1, points.length - 1)][c] - points[Math.max(i - 1, 0)][c]));
      if (!normal) normal = unit(cross(tangent, Math.abs(tangent[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0]));
      const along = dot(normal, tangent);
      normal = unit(normal.map((v, c) => v - along * tangent[c]));
      const binormal = cross(tangent, normal);
      for (let s = 0; s < sides; s++) {
        const cos = RADIUS * Math.cos((2 * Math.PI * s) / sides), sin = RADIUS * Math.sin((2 * Math.PI * s) / sides);
        out.x.push(point[0] + cos * normal[0] + sin * binormal[0]);
        out.y.push(point[1] + cos * normal[1] + sin * binormal[1]);
        out.z.push(point[2] + cos * normal[2] + sin * binormal[2]);
      }
    });
  }

  function drawBackbone(element) {
    const spec = specOf(element), all = floats(spec.frames), size = all.length / spec.frame_count;
    const values = spec.values && floats(spec.values), scene = element.querySelector(".scene");
    const stretches = spec.stretches.slice(0, -1).map((a, i) => [a, spec.stretches[i + 1]]);
    const chains = spec.chain_names.map((name, c) => ({ name, parts: stretches.filter(([a]) => spec.chains[a] === c) }));
    // A large complex gets a coarser tube, so that it still moves smoothly.
    const [smooth, sides] = spec.chains.length > 1200 ? [2, 5] : [4, 8];
    const frame = (f) => all.subarray(f * size, (f + 1) * size);

    const positions = (f) => chains.map(({ parts }) => {
      const out = { x: [], y: [], z: [] };
      parts.forEach(([a, b]) => ring(spline(frame(f), a, b, smooth), out, sides));
      return out;
    });
    const tubes = positions(0).map((xyz, c) => {
      const faces = { i: [], j: [], k: [] }, intensity = [];
      let base = 0;
      chains[c].parts.forEach(([a, b]) => {
        const rings = (b - a - 1) * smooth + 1;
        for (let r = 0; r < rings; r++) {
          for (let s = 0; s < sides; s++) {
            if (values) intensity.push(values[a + Math.floor(r / smooth)]);
            if (r === rings - 1) continue;
            const p = base + r * sides + s, q = base + r * sides + ((s + 1) % sides);
            faces.i.push(p, q); faces.j.push(q, q + sides); faces.k.push(p + sides, p + sides);
          }
        }
        base += rings * sides;
      });
      const colour = values
        ? { intensity, coloraxis: "coloraxis" }
        : { color: COLOURS[c % COLOURS.length] };
      return {
        type: "mesh3d", name: chains[c].name, showlegend: chains.length > 1, hoverinfo: "name", ...xyz, ...faces, ...colour,
        lighting: { ambient: 0.55, diffuse: 0.75, specular: 0.25, roughness: 0.5, fresnel: 0.1 },
        lightposition: { x: 2000, y: 3000, z: 4000 },
      };
    });
    const ghost = { type: "scatter3d", mode: "lines", name: "first frame", hoverinfo: "skip", showlegend: false,
      line: { color: "#b8c0ca", width: 2 }, x: [], y: [], z: [] };
    stretches.forEach(([a, b]) => [...spline(frame(0), a, b, smooth), [null, null, null]].forEach((p) => {
      ghost.x.push(p[0]); ghost.y.push(p[1]); ghost.z.push(p[2]);
    }));

    const ends = [0, 1, 2].map((c) => {
      let low = Infinity, high = -Infinity;
      for (let i = c; i < all.length; i += 3) { low = Math.min(low, all[i]); high = Math.max(high, all[i]); }
      return [low - 2, high + 2];
    });
    const hidden = (c) => ({ visible: false, range: ends[c] });
    const [low, high] = spec.value_range || [null, null];
    Plotly.newPlot(scene, [...tubes, ghost], {
      font: FONT, modebar: MODEBAR, paper_bgcolor: "rgba(0,0,0,0)", margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "keep",
      legend: { orientation: "h", x: 0, y: 1 },
      coloraxis: { colorscale: RAINBOW, cmin: low, cmax: high, colorbar: { title: { text: spec.value_title, side: "right" }, thickness: 12, len: 0.6, outlinewidth: 0 } },
      scene: { xaxis: hidden(0), yaxis: hidden(1), zaxis: hidden(2), aspectmode: "data", dragmode: "orbit",
        camera: { eye: { x: 1.1, y: 1.1, z: 0.65 }, projection: { type: "perspective" } } },
    }, CONFIG);

    const [button, slider, label] = ["button", "input", "output"].map((tag) => element.querySelector(tag));
    const indices = tubes.map((_, c) => c);
    const show = () => {
      label.textContent = spec.labels[slider.value];
      const xyz = positions(Number(slider.value));
      return Plotly.restyle(scene, { x: xyz.map((t) => t.x), y: xyz.map((t) => t.y), z: xyz.map((t) => t.z) }, indices);
    };
    label.textContent = spec.labels[0];
    slider.addEventListener("input", show);
    let playing = false, forward = true;
    const advance = async () => {
      if (!playing) return;
      const last = spec.frame_count - 1, now = Number(slider.value);
      if (now >= last) forward = false;
      if (now <= 0) forward = true;
      slider.value = now + (forward ? 1 : -1);
      await show();
      setTimeout(() => requestAnimationFrame(advance), 40);
    };
    button.addEventListener("click", () => {
      playing = !playing;
      button.textContent = playing ? "❚❚" : "▶";
      advance();
    });
  }

  try {
    await loadPlotly();
  } catch (error) {
    document.querySelectorAll(".plot, .scene").forEach((e) => { e.textContent = "Figures need a browser of 2023 or later."; });
    throw error;
  }
  document.querySelectorAll(".plot").forEach(drawPlot);
  document.querySelectorAll(".backbone").forEach(drawBackbone);
})();
