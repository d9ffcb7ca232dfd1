// Figures of the shipped models, by tier: `bytes`, and the results of calibration, `sentences`, `full`, `own`
// and `points`.

export const measured = fetch(new URL("../data/tiers.json", import.meta.url)).then((response) => response.json());
