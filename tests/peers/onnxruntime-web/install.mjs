// Installs what the benchmark imports: onnxruntime-web here, what drives Chromium beside the browser tests.

import { npmInstall } from "../../../wasm/build/npm.mjs";
import { ensureChromium } from "../../browser/lib/chromium.mjs";
import { HERE as BROWSER } from "../../browser/lib/paths.mjs";
import { HERE } from "./paths.mjs";

for (const folder of [HERE, BROWSER]) npmInstall(folder);
ensureChromium();
