// A PNG with a palette in place of true colours: a picture of a page then takes half the bytes.

import { decode, encode } from "fast-png";

const COLOURS = 256;

/** A PNG of 8 bits a channel as one of at most 256 colours. */
export function withPalette(png) {
  const { width, height, channels, data } = decode(png);
  const colours = Array.from({ length: width * height }, (_, i) => {
    const [r, g, b] = data.subarray(channels * i, channels * i + 3);
    return (r << 16) | (g << 8) | b;
  });
  const counts = new Map();
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS).map(([colour]) => channelsOf(colour));
  const places = new Map([...counts.keys()].map((colour) => [colour, nearest(channelsOf(colour), palette)]));
  const indexed = Uint8Array.from(colours, (colour) => places.get(colour));
  return encode({ width, height, channels: 1, data: indexed, palette }, { zlib: { level: 9 } });
}

function channelsOf(colour) {
  return [colour >> 16, (colour >> 8) & 255, colour & 255];
}

/** The place of the colour in the palette that differs least. */
function nearest([r, g, b], palette) {
  const distances = palette.map((other) => (r - other[0]) ** 2 + (g - other[1]) ** 2 + (b - other[2]) ** 2);
  return distances.indexOf(Math.min(...distances));
}
