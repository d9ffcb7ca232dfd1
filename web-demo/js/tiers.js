// Display and choice of the model.

import { showChoice, startChoice } from "./choice.js";
import { element, make } from "./dom.js";
import { megabytes, onLanguage, t } from "./i18n.js";
import { measured } from "./measured.js";
import { TIERS, chosen, load, onModel } from "./model.js";

const NAMES = { full: "tierFull", small: "tierSmall" };

/** Bytes by tier: the shipped size, then the size that arrived. */
const sizes = {};
/** Tier that is not available, with the reason. */
let refused;

export function startTiers() {
  const labels = TIERS.map((tier) => [tier, make("span", { id: `tier-${tier}` }, t(NAMES[tier]))]);
  startChoice("tiers", Object.fromEntries(labels), (tier) => {
    refused = undefined;
    show();
    load({ tier });
  });
  onModel("begin", ({ tier }) => showChoice("tiers", tier));
  onModel("kept", ({ tier }) => showChoice("tiers", tier));
  onModel("progress", ({ totalBytes }) => {
    const { tier } = chosen();
    if (totalBytes === 0 || sizes[tier] === totalBytes) return;
    sizes[tier] = totalBytes;
    show();
  });
  onModel("refused", ({ tier, asked, error }) => {
    if (asked === "engine") return;
    refused = { tier, reason: error.message };
    show();
  });
  onLanguage(show);
  // The slider reports a failure of this request.
  measured.then(learn, () => {});
}

function learn(tiers) {
  for (const tier of TIERS) sizes[tier] ??= tiers[tier].bytes;
  show();
}

function show() {
  for (const tier of TIERS) {
    const name = t(NAMES[tier]);
    const size = sizes[tier];
    element(`tier-${tier}`).textContent = size === undefined ? name : t("tier", { name, megabytes: megabytes(size) });
  }
  const line = element("tier-reason");
  line.textContent = refused ? t("tierRefused", { name: t(NAMES[refused.tier]), reason: refused.reason }) : "";
  line.hidden = !refused;
}
