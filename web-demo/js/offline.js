// The page without a network: the service worker is registered when the model is here, so that it
// takes nothing from its loading.

import { element } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { onModel } from "./model.js";

let ready = false;

export function startOffline() {
  if (!("serviceWorker" in navigator)) return;
  onModel("complete", () => {
    // Where it is refused, as in some private windows, the page is as good with a network.
    register().catch(() => {});
  });
  onLanguage(show);
}

async function register() {
  await navigator.serviceWorker.register(new URL("../service-worker.js", import.meta.url));
  await navigator.serviceWorker.ready;
  ready = true;
  show();
}

function show() {
  element("offline").hidden = !ready;
  element("offline").textContent = t("offlineReady");
}
