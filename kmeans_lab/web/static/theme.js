// Runs before the first paint, so that a page kept dark never flashes white.
const kept = localStorage.getItem("theme");
if (kept) document.documentElement.dataset.theme = kept;
