// Offline use: the service worker is registered after the model has arrived, so that it does not slow the
// download.

import { element } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { onModel } from "./model.js";

/** True once the page is stored, and once the model in use is complete. */
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
    // If registration is refused, as in some private windows, the page works with a network only.
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
