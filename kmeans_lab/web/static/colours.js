// Colours of clusters: Petroff's ten, and evenly spread hues beyond.
const TEN = [
  "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd",
  "#a96b59", "#e76300", "#b9ac70", "#717581", "#94a4a2",
];
const GOLDEN = 137.50776405;

const byte = value => {
  const gamma = value <= 0.0031308 ? 12.92 * value : 1.055 * Math.max(value, 0) ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, gamma)));
};

/** OKLCH (Ottosson, 2020): equally light to the eye at every hue, which HSL is not. */
function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue * Math.PI / 180);
  const b = chroma * Math.sin(hue * Math.PI / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    byte(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function many(cluster, dark) {
  // Three shades in turns: neighbours in hue differ in lightness, too.
  const shade = (dark ? 0.74 : 0.62) + [0, -0.09, 0.07][cluster % 3];
  return oklch(shade, 0.145, 25 + cluster * GOLDEN);
}

const hex = text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));

/** Red, green and blue (0…255) of each of `clusters` clusters. */
export function palette(clusters, dark) {
  return Array.from({ length: clusters }, (_, cluster) =>
    clusters <= TEN.length ? hex(TEN[cluster]) : many(cluster, dark));
}

export function isDark() {
  const kept = document.documentElement.dataset.theme;
  return kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
