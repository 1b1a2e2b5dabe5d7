// Shapes that can be turned: points at a surface, drawn back to front, lit by their normals, coloured by how much they
// speak for the class.
(function () {
  const solids = JSON.parse(document.getElementById("data").textContent).solids || [];
  const low = [90, 110, 140], high = [230, 85, 13];
  function draw(canvas, one, yaw, pitch) {
    const size = canvas.width, context = canvas.getContext("2d"), n = one.speaks.length;
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    const turned = new Array(n);
    for (let i = 0; i < n; i += 1) {
      const z = one.points[3 * i] / 1000, y = one.points[3 * i + 1] / 1000, x = one.points[3 * i + 2] / 1000;
      const a = cy * x + sy * z, b = -sy * x + cy * z;
      turned[i] = [a, cp * y - sp * b, sp * y + cp * b, i];
    }
    turned.sort(function (p, q) { return p[2] - q[2]; });
    context.clearRect(0, 0, size, size);
    const dot = Math.max(2, size / 2 * 2.6 / Math.sqrt(n) * 1.3);
    turned.forEach(function (p) {
      const i = p[3], nz = one.normals[3 * i] / 100, ny = one.normals[3 * i + 1] / 100, nx = one.normals[3 * i + 2] / 100;
      const front = sp * ny + cp * (-sy * nx + cy * nz);
      const light = 0.35 + 0.65 * Math.max(0, front), told = one.speaks[i] / 100;
      const rgb = low.map(function (v, k) { return Math.round(light * (v + told * (high[k] - v))); });
      context.fillStyle = "rgb(" + rgb.join(",") + ")";
      context.fillRect(size * (0.5 + 0.42 * p[0]) - dot / 2, size * (0.5 + 0.42 * p[1]) - dot / 2, dot, dot);
    });
  }
  document.querySelectorAll("canvas[data-solid]").forEach(function (canvas) {
    const one = solids[Number(canvas.dataset.solid)];
    let yaw = 0.6, pitch = 0.4, from = null;
    function again() { draw(canvas, one, yaw, pitch); }
    canvas.addEventListener("pointerdown", function (event) {
      from = [event.clientX, event.clientY, yaw, pitch]; canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", function (event) {
      if (!from) { return; }
      yaw = from[2] + (event.clientX - from[0]) / 60; pitch = from[3] + (event.clientY - from[1]) / 60; again();
    });
    canvas.addEventListener("pointerup", function () { from = null; });
    canvas.addEventListener("keydown", function (event) {
      const step = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
      if (!step) { return; }
      yaw += step[0]; pitch += step[1]; event.preventDefault(); again();
    });
    again();
  });
})();
