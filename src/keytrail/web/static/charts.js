// Draws the charts from the tables that are in the page.
"use strict";
{
  const charts = new Map();
  const probe = document.createElement("span");
  probe.hidden = true;

  // Custom properties hold light-dark(): what they come to is only told of a colour in use.
  function colour(name) {
    // Going back replaces the whole body; what is in no page has no colour.
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  }
  const tone = (name) => colour({ "by-upstream": "upstream", "by-gateway": "gateway", before: "muted" }[name] || name);
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  // Of a few days the hours are shown, of more the days alone.
  const clock = (labels) => {
    // A bucket of times begins at its bar.
    if (labels.some((label) => label.includes("–"))) return { formatter: (label) => label.replace(/–\S+/, "") };
    const days = new Set(labels.filter((label) => / \d\d:\d\d$/.test(label)).map((label) => label.slice(0, -6)));
    if (days.size < 4) return { formatter: (label) => label.replace(/^(\d+ \w+) (?!00:00)/, "") };
    return {
      interval: (_, label) => label.endsWith(" 00:00"),
      formatter: (label) => label.replace(/ 00:00$/, ""),
    };
  };
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

  function axis(value, unit) {
    // As figures in words: `1.5 k`, `2 M`.
    if (!unit || !value) return short.format(value).replace(/[KMB]$/, (power) => ` ${{ K: "k", M: "M", B: "G" }[power]}`);
    return value >= 1000 ? `${number.format(value / 1000)} s` : `${number.format(value)} ${unit}`;
  }

  // One request that timed out must not press all others to the ground: then each line of the grid is ten times the one below.
  function logarithmic(data) {
    const values = data.series.flatMap((one) => (one.kind === "bar" ? [0] : one.values.filter((value) => value !== null)));
    return values.length > 0 && Math.min(...values) > 0 && Math.max(...values) > 40 * Math.min(...values);
  }

  // A pattern beside the colour for those who cannot tell colours apart.
  const pattern = (name) => ({
    c4: { symbol: "rect", symbolSize: 1, dashArrayX: [1, 0], dashArrayY: [1.5, 3.5], rotation: Math.PI / 4, color: colour("bg") },
    c5: { symbol: "rect", symbolSize: 1, dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: -Math.PI / 4, color: colour("bg") },
  })[name];

  function read(place) {
    const rows = [...place.querySelectorAll("tbody tr")];
    const value = (cell) => (cell.dataset.v === "" ? null : Number(cell.dataset.v));
    return {
      unit: place.dataset.unit,
      open: place.dataset.open === "1",
      zoom: place.dataset.zoom,
      labels: rows.map((row) => row.cells[0].textContent.trim().replace(/ not collected:.*/, "")),
      edges: rows.map((row) => [row.dataset.from, row.dataset.to]),
      links: rows.map((row) => row.cells[0].querySelector("a")?.getAttribute("href")),
      gaps: rows.flatMap((row, index) => (row.dataset.gap ? [[index, row.dataset.gap]] : [])),
      series: [...place.querySelectorAll("thead th")].slice(1).map((head, index) => ({
        name: head.textContent.trim().replace(/, ms$/, ""),
        tone: head.dataset.tone,
        kind: head.dataset.kind,
        href: head.dataset.href,
        values: rows.map((row) => value(row.cells[index + 1])),
      })),
    };
  }

  function tip(data, items) {
    const box = document.createElement("div");
    box.className = "tip";
    const index = items[0].dataIndex;
    const title = box.appendChild(document.createElement("b"));
    title.textContent = data.labels[index];
    for (const one of [...data.series].reverse()) {
      const value = one.values[index];
      if (value === null || value === undefined) continue;
      const line = box.appendChild(document.createElement("div"));
      const swatch = line.appendChild(document.createElement("i"));
      swatch.className = `swatch ${one.tone} ${one.kind === "bar" ? "" : one.kind}`;
      line.appendChild(document.createElement("span")).textContent = one.name;
      line.appendChild(document.createElement("span")).textContent = number.format(value) + (data.unit ? ` ${data.unit}` : "");
    }
    const note = data.gaps.find(([at]) => at === index);
    if (note) box.appendChild(document.createElement("em")).textContent = `not all was collected: ${note[1]}`;
    if (data.open && index === data.labels.length - 1) {
      box.appendChild(document.createElement("em")).textContent = "still under way";
    }
    return box;
  }

  function series(data, one) {
    const base = {
      name: one.name,
      data: one.values,
      color: tone(one.tone),
      animation: false,
      emphasis: { focus: "none", disabled: one.kind !== "bar" },
      cursor: one.href || data.links[0] ? "pointer" : "default",
    };
    if (one.kind === "bar") {
      const last = one.values.length - 1;
      return {
        ...base,
        type: "bar",
        stack: "all",
        barCategoryGap: data.labels.length > 60 ? "12%" : "18%",
        itemStyle: { decal: pattern(one.tone) },
        data: one.values.map((value, index) =>
          data.open && index === last ? { value, itemStyle: { opacity: 0.65 } } : value),
      };
    }
    return {
      ...base,
      type: "line",
      showSymbol: data.labels.length < 3,
      symbolSize: 4,
      step: one.kind === "dashed" ? "middle" : false,
      connectNulls: false,
      z: one.kind === "dashed" ? 4 : 3,
      lineStyle: one.kind === "dashed" ? { width: 1.25, type: [3, 3] } : { width: 1.5 },
    };
  }

  function options(data) {
    const line = colour("line");
    const text = { color: colour("muted"), fontSize: 11 };
    const drawn = data.series.map((one) => series(data, one));
    const log = logarithmic(data);
    if (data.gaps.length) {
      const gone = new Set(data.gaps.map(([at]) => at));
      const hatch = { symbol: "rect", symbolSize: 1, dashArrayX: [1, 0], dashArrayY: [1, 5], rotation: Math.PI / 4, color: colour("line-strong") };
      drawn.push({
        name: "nothing was collected",
        type: "bar",
        // Axes of its own, or it would take its share of the other bars' room.
        xAxisIndex: 1,
        yAxisIndex: 1,
        // Over the bars: what was counted in such a step is not all.
        z: 5,
        silent: true,
        animation: false,
        barWidth: "100%",
        data: data.labels.map((_, at) => (gone.has(at) ? 1 : null)),
        itemStyle: { color: "rgba(127, 127, 127, 0.14)", decal: hatch },
      });
    }
    return {
      animation: false,
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { left: 44, right: 4, top: 10, bottom: 22 },
      xAxis: [{
        type: "category",
        data: data.labels,
        axisTick: { show: false },
        axisLine: { lineStyle: { color: colour("line-strong") } },
        axisLabel: { ...text, hideOverlap: true, margin: 8, ...clock(data.labels) },
      }, { type: "category", data: data.labels, show: false }],
      yAxis: [{
        type: log ? "log" : "value",
        // Whole powers of ten, from the one below the least.
        ...(log ? { min: ({ min }) => 10 ** Math.floor(Math.log10(min)) } : {}),
        splitNumber: 3,
        minInterval: data.unit ? 0 : 1,
        splitLine: { lineStyle: { color: line } },
        axisLabel: { ...text, formatter: (value) => axis(value, data.unit) },
      }, { type: "value", max: 1, show: false }],
      tooltip: {
        trigger: "axis",
        axisPointer: { type: "shadow", shadowStyle: { color: colour("line"), opacity: 0.4 } },
        confine: true,
        transitionDuration: 0,
        padding: [8, 10],
        backgroundColor: colour("raised"),
        borderColor: colour("line-strong"),
        textStyle: { color: colour("text"), fontSize: 12 },
        extraCssText: "box-shadow: none;",
        formatter: (items) => tip(data, items),
      },
      toolbox: { show: true, itemSize: 0, top: -100, feature: { dataZoom: { xAxisIndex: 0, yAxisIndex: "none", brushStyle: { color: colour("accent-soft"), opacity: 0.6, borderColor: colour("accent") } } } },
      series: drawn,
    };
  }

  function draw(place) {
    const canvas = place.querySelector(".canvas");
    const data = read(place);
    if (!canvas.clientWidth) return;
    const chart = echarts.init(canvas, null, { renderer: "canvas" });
    chart.setOption(options(data));
    // Painted at once: a refreshed panel must not flash.
    chart.getZr().flush();
    charts.set(canvas, chart);
    if (data.zoom) {
      chart.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
      chart.on("datazoom", (event) => {
        const batch = (event.batch || [event])[0];
        if (batch.startValue === undefined) return;
        const first = Math.max(0, batch.startValue);
        const last = Math.min(data.edges.length - 1, batch.endValue);
        if (last <= first && data.edges.length > 1 && batch.startValue === batch.endValue) return;
        const at = (moment) => encodeURIComponent(moment);
        keytrail.go(data.zoom.replace("=FROM", `=${at(data.edges[first][0])}`).replace("=TO", `=${at(data.edges[last][1])}`));
      });
    }
    chart.on("click", (event) => {
      const one = data.series[event.seriesIndex];
      const href = one && one.kind === "bar" && (one.href || data.links[event.dataIndex]);
      if (href) keytrail.go(href);
    });
    // A point of a line is too small to hit: a click anywhere above or below it means its step.
    if (data.series.some((one) => one.kind === "line")) {
      chart.getZr().on("click", (event) => {
        const place = [event.offsetX, event.offsetY];
        if (!chart.containPixel({ gridIndex: 0 }, place)) return;
        const href = data.links[chart.convertFromPixel({ xAxisIndex: 0, yAxisIndex: 0 }, place)[0]];
        if (href) keytrail.go(href);
      });
    }
  }

  function drawAll(within) {
    if (!window.echarts) {
      for (const canvas of within.querySelectorAll(".canvas")) canvas.classList.add("off");
      for (const table of within.querySelectorAll(".data")) table.classList.add("shown");
      return;
    }
    for (const [canvas, chart] of charts) {
      if (!canvas.isConnected) {
        chart.dispose();
        charts.delete(canvas);
      }
    }
    const places = within.matches && within.matches("[data-chart]") ? [within] : within.querySelectorAll("[data-chart]");
    for (const place of places) {
      if (!charts.has(place.querySelector(".canvas"))) draw(place);
    }
  }

  function redraw() {
    for (const [canvas, chart] of charts) {
      chart.dispose();
      charts.delete(canvas);
    }
    drawAll(document);
  }

  document.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
  document.addEventListener("keytrail:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resizing = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => charts.forEach((chart) => chart.resize()));
  });
  drawAll(document);
}
