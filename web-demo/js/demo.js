// The page: starts its parts, then loads the model.

import { startAnswers } from "./answer.js";
import { startBatch } from "./batch.js";
import { problem } from "./dom.js";
import { startEngines } from "./engine.js";
import { startLanguages, t } from "./i18n.js";
import { load } from "./model.js";
import { startOffline } from "./offline.js";
import { startSlider } from "./slider.js";
import { startTiers } from "./tiers.js";
import { answerGiven, startWaterfall } from "./waterfall.js";

startLanguages();
startWaterfall();
startTiers();
startEngines();
startSlider().catch((error) => problem(t("problem", { reason: error.message })));
startAnswers(answerGiven);
startBatch();
startOffline();
load();
