// The page without a network: the service worker is registered when the model is here, so that it
// takes nothing from its loading.

import { element } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { onModel } from "./model.js";

/** Whether the page is kept, and whether the model in use is. */
let registered = false;
let complete = false;

export function startOffline() {
  if (!("serviceWorker" in navigator)) return;
  onModel("begin", () => {
    complete = false;
    show();
  });
  onModel("complete", () => {
    complete = true;
    show();
    // Where it is refused, as in some private windows, the page is as good with a network.
    register().catch(() => {});
  });
  onLanguage(show);
}

async function register() {
  await navigator.serviceWorker.register(new URL("../service-worker.js", import.meta.url));
  await navigator.serviceWorker.ready;
  registered = true;
  show();
}

function show() {
  element("offline").hidden = !(registered && complete);
  element("offline").textContent = t("offlineReady");
}
