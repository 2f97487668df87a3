// The filter picker: everything is drawn here, from the faces and the small maps that came with the page.
function mulibFilterPicker(root, data) {
  "use strict";
  const { width: W, height: H, rows: h, columns: w, filters: C, shown: N, groups, names } = data;
  const bytes = Uint8Array.from(atob(data.maps), (c) => c.charCodeAt(0));
  const map = (f, n) => bytes.subarray((f * N + n) * h * w, (f * N + n + 1) * h * w);
  const all = (query) => [...root.querySelectorAll(query)];
  const one = (query) => root.querySelector(query);
  const state = { filter: data.filter, threshold: data.threshold, picture: 0 };

  // The paper's enlargement, in two bilinear steps: to half of the picture, and to the whole.
  function resize(source, sh, sw, th, tw) {
    const out = new Float32Array(th * tw);
    for (let y = 0; y < th; y++) {
      const fy = Math.max(0, ((y + 0.5) * sh) / th - 0.5), y0 = Math.min(fy | 0, sh - 1), y1 = Math.min(y0 + 1, sh - 1), ay = fy - y0;
      for (let x = 0; x < tw; x++) {
        const fx = Math.max(0, ((x + 0.5) * sw) / tw - 0.5), x0 = Math.min(fx | 0, sw - 1), x1 = Math.min(x0 + 1, sw - 1), ax = fx - x0;
        const top = source[y0 * sw + x0] * (1 - ax) + source[y0 * sw + x1] * ax;
        const low = source[y1 * sw + x0] * (1 - ax) + source[y1 * sw + x1] * ax;
        out[y * tw + x] = top * (1 - ay) + low * ay;
      }
    }
    return out;
  }
  const enlarge = (small) => {
    const mh = Math.max(h, H >> 1), mw = Math.max(w, W >> 1);
    return resize(resize(small, h, w, mh, mw), mh, mw, H, W);
  };
  const mean = (members, n) => {
    const sum = new Float32Array(h * w);
    for (const f of members) map(f, n).forEach((v, i) => (sum[i] += v / members.length));
    return sum;
  };

  // A perceptually uniform colour map (viridis), from its 32 stops.
  const stops = data.colours.match(/.{6}/g).map((c) => [0, 2, 4].map((i) => parseInt(c.slice(i, i + 2), 16)));
  function colour(value) {
    const at = (Math.max(0, Math.min(255, value)) / 255) * (stops.length - 1), i = Math.min(at | 0, stops.length - 2);
    return stops[i].map((c, k) => c + (at - i) * (stops[i + 1][k] - c));
  }
  function painted(values, ph, pw, opacity) {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    canvas.width = pw; canvas.height = ph;
    const image = context.createImageData(pw, ph);
    values.forEach((v, i) => image.data.set([...colour(v), opacity === null ? 255 : v * opacity], 4 * i));
    context.putImageData(image, 0, 0);
    return canvas;
  }
  function outline(context, large, scale) {
    const limit = 255 * state.threshold, inside = (x, y) => x >= 0 && y >= 0 && x < W && y < H && large[y * W + x] > limit;
    const path = new Path2D(), edge = (a, b, c, d) => { path.moveTo(a * scale, b * scale); path.lineTo(c * scale, d * scale); };
    for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) if (inside(x, y)) {
      if (!inside(x - 1, y)) edge(x, y, x, y + 1);
      if (!inside(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
      if (!inside(x, y - 1)) edge(x, y, x + 1, y);
      if (!inside(x, y + 1)) edge(x, y + 1, x + 1, y + 1);
    }
    for (const [width, ink] of [[4, "#000"], [2, "#fff"]]) { context.lineWidth = width; context.strokeStyle = ink; context.stroke(path); }
  }
  function draw(canvas, n, what) {
    const scale = Math.max(1, Math.round(224 / W)), context = canvas.getContext("2d");
    canvas.width = W * scale; canvas.height = H * scale;
    context.drawImage(faces[n], 0, 0, canvas.width, canvas.height);
    if (what === "face") return;
    const large = enlarge(map(what, n));
    context.drawImage(painted(large, H, W, 0.8), 0, 0, canvas.width, canvas.height);
    outline(context, large, scale);
  }
  const bare = (canvas, values) => {
    canvas.width = w; canvas.height = h;
    canvas.getContext("2d").drawImage(painted(values, h, w, null), 0, 0);
  };
  function thumb(canvas, f) {
    const large = enlarge(map(f, state.picture)), context = canvas.getContext("2d");
    canvas.width = W; canvas.height = H;
    context.filter = "grayscale(1) brightness(0.55)";  // so that a small picture shows what is marked at a glance
    context.drawImage(faces[state.picture], 0, 0, W, H);
    context.filter = "none";
    context.drawImage(painted(large.map((v) => 16 * Math.sqrt(v)), H, W, 1), 0, 0);
  }

  // In words: how much it marks, where, and on how many pictures.
  function words() {
    const f = state.filter, limit = 255 * state.threshold, group = groups[f], members = names[group].members;
    let area = 0, on = 0, x = 0, y = 0;
    for (let n = 0; n < N; n++) {
      let here = 0;
      enlarge(map(f, n)).forEach((v, i) => { if (v > limit) { here++; x += (i % W) / W; y += ((i / W) | 0) / H; } });
      area += here; on += here > 0.005 * W * H;  // less is a speck
    }
    const third = (v, a, b, c) => (v < 0.4 ? a : v > 0.6 ? c : b);
    const place = `${third(y / area, "upper", "middle", "lower")} ${third(x / area, "left", "centre", "right")}`;
    const head = `Filter ${f}, in ${names[group].name.toLowerCase()} with ${members.length - 1} other${members.length === 2 ? "" : "s"}. Above ${state.threshold.toFixed(2)} it marks `;
    return head + (area ? `${((100 * area) / (N * W * H)).toFixed(1)} % of the pictures, on ${on} of ${N}, on average in their ${place}.` : "nothing.");
  }
  function truth() {
    const k = data.thresholds.findIndex((t) => Math.abs(t - state.threshold) < 1e-6), ious = data.truth.iou[k];
    const rank = 1 + ious.filter((v) => v > ious[state.filter]).length;
    return `Overlap with the ${data.truth.name} (IoU) over ${data.truth.pictures} pictures, above ${state.threshold.toFixed(2)}: ${ious[state.filter].toFixed(2)}, rank ${rank} of ${C}; ` +
      `one mask for all pictures: ${data.truth.constant.toFixed(2)}.`;
  }

  const faces = data.images.map((source) => Object.assign(new Image(), { src: source }));
  const buttons = all(".group button");
  function show() {
    const f = state.filter, members = names[groups[f]].members;
    all(".marked canvas").forEach((canvas, n) => draw(canvas, n, f));
    all(".bare canvas").forEach((canvas, n) => bare(canvas, map(f, n)));
    all(".mean canvas").forEach((canvas, n) => bare(canvas, mean(members, n)));
    for (const button of buttons) {
      const chosen = Number(button.value) === f;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
    }
    one(".number").value = f;
    one(".threshold").value = state.threshold;
    one(".reading").textContent = state.threshold.toFixed(2);
    one(".said").textContent = words();
    if (data.truth) one(".truth").textContent = truth();
    root.dataset.filter = f; root.dataset.threshold = state.threshold;
  }
  function tell() {  // the kernel, where there is one
    const wire = document.querySelector(`.mulib-wire-${root.id} input`);
    if (!wire) return;
    wire.value = `${state.filter} ${state.threshold}`;
    for (const kind of ["input", "change"]) wire.dispatchEvent(new Event(kind, { bubbles: true }));
  }
  function sheet() { for (const button of buttons) thumb(button.querySelector("canvas"), Number(button.value)); }
  function choose(filter, focus) {
    if (!Number.isInteger(filter) || filter < 0 || filter >= C) { one(".number").value = state.filter; return; }
    state.filter = filter; show(); tell();
    if (focus) buttons.find((button) => Number(button.value) === filter).focus();
  }

  one(".number").addEventListener("input", (event) => { if (event.target.checkValidity() && event.target.value) choose(event.target.valueAsNumber); });
  one(".number").addEventListener("change", (event) => choose(event.target.valueAsNumber));
  one(".threshold").addEventListener("input", (event) => { state.threshold = Math.round(event.target.value * 100) / 100; show(); tell(); });
  one(".picture").addEventListener("change", (event) => { state.picture = Number(event.target.value); sheet(); });
  for (const button of buttons) {
    button.addEventListener("click", () => choose(Number(button.value)));
    button.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(button), across = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const box = (b) => b.getBoundingClientRect(), middle = (b) => box(b).left + box(b).width / 2;
      let next = { Home: buttons[0], End: buttons[C - 1] }[event.key] || (across && buttons[(at + across + C) % C]);
      if (event.key === "ArrowUp" || event.key === "ArrowDown") {  // the nearest in the next line
        const down = event.key === "ArrowDown", here = box(button).top;
        const others = buttons.filter((b) => (down ? box(b).top > here + 8 : box(b).top < here - 8));
        const line = others.length && others.map((b) => box(b).top).reduce((a, b) => (down ? Math.min(a, b) : Math.max(a, b)));
        next = others.filter((b) => Math.abs(box(b).top - line) < 8).sort((a, b) => Math.abs(middle(a) - middle(button)) - Math.abs(middle(b) - middle(button)))[0];
      }
      if (next) { choose(Number(next.value), true); event.preventDefault(); }
      else if (event.key.startsWith("Arrow")) event.preventDefault();
      event.stopPropagation();  // or a notebook moves its cells, and a book its pages
    });
  }
  Promise.all(faces.map((face) => face.decode())).then(() => {
    one(".waiting").remove();
    all(".asis canvas").forEach((canvas, n) => draw(canvas, n, "face"));
    one(".body").hidden = false;
    sheet(); show();
    root.dataset.ready = "yes";
  });
}
