// What is known of the shipped models, by tier: `bytes`, and what calibration found, `sentences`, `full`,
// `own` and `points`.

export const measured = fetch(new URL("../data/tiers.json", import.meta.url)).then((response) => response.json());
